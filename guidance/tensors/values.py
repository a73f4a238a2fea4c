"""Values as callers and users give them: what counts as a number, and how a message repeats one.

Shapes: none; these are plain values.
"""

import math
from numbers import Number, Real

__all__ = ["MOST_QUOTED", "is_number", "quoted", "shortened"]

MOST_QUOTED = 200  # characters of a caller's own words in a message


def is_number(value) -> bool:
    """Whether the value is a finite real number, Python's or numpy's; a bool is none."""
    try:
        return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)
    except OverflowError:  # an int beyond the range of floats
        return False


def quoted(value) -> str:
    """The value as a message repeats it, in at most 200 characters: a number, a text in quotes, or what it is."""
    if value is None:
        return "nothing"
    if isinstance(value, str):
        return repr(shortened(value))
    if isinstance(value, int) and value.bit_length() > 64:
        return "a number of many digits"
    if isinstance(value, Number):
        return shortened(str(value))
    if isinstance(value, list | tuple):
        return "a list" if value else "an empty list"
    what = type(value).__name__
    return shortened(f"{'an' if what[0] in 'AEIOUaeiou' else 'a'} {what}")


def shortened(text: str) -> str:
    """The text on one line, cut to 200 characters; three dots stand for the rest."""
    line = " ".join(text[: MOST_QUOTED + 1].split())
    return line if len(text) <= MOST_QUOTED else f"{line[: MOST_QUOTED - 3]}..."
