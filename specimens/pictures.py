"""Parts of PICTURES: the two scales that pictures compare, and inputs that several of them have."""

from .kinds import Node

LOW, HIGH = 3.0, 16.0  # the cfg of plain CFG in every picture


def text(words: str) -> Node:
    return Node("CLIPTextEncode", {"text": words})


def away_from_pink(kind: str, **inputs) -> Node:
    """A node that keeps a pink background away."""
    return Node(kind, {"negative": text("on a pink background"), **inputs})


def option(name: str, chosen: str, **values) -> dict:
    """The option chosen at the input `name`, and values for the inputs that this option has of its own."""
    return {name: chosen, **{f"{name}.{key}": value for key, value in values.items()}}
