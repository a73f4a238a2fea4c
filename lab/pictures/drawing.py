"""What both kinds of pictures are drawn with."""

import re

from PIL import Image, ImageFont

# For a model, a row's number and a prompt's: the pictures sampled.
Cells = dict[str, dict[tuple[int, int], list[Image.Image]]]

PAPER, INK, FAINT, ACCENT = "#ffffff", "#1b1f24", "#596372", "#b3261e"


def font(size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.load_default(size)


def wrapped(words: str, size: int, width: int) -> list[str]:
    """The lines of a text in this font size, each at most `width` pixels wide. A number stays with the word before."""
    lines = [""]
    for word in re.split(r" (?![-\d])", words):
        longer = f"{lines[-1]} {word}".strip()
        if lines[-1] and font(size).getlength(longer) > width:
            lines.append(word)
        else:
            lines[-1] = longer
    return lines
