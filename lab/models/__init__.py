"""The tiny text-to-image models: their data, their networks, their training and its weights."""
