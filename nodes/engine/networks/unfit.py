"""How a network says that something cannot be done with it."""


class Unfit(Exception):
    """Why a stage can do nothing in this run, in words that go on from `has no effect: `."""
