"""The exception that says that a network does not allow something."""


class Unfit(Exception):
    """A stage can do nothing in this run. The message says why, in the words that follow "<node> has no effect: "."""
