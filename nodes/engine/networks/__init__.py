"""All that knows the inside of a network: its blocks, its attention, and how to change either for one pass."""
