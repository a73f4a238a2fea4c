"""The pictures of the help pages: as wide as ComfyUI's Info panel twice over, legible there, and not older than their
rows.
"""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

PICTURES = Path(__file__).resolve().parents[2] / "js" / "docs" / "pictures"
PANEL, DENSE = 272, 2  # the width of the panel, and the pixels of the picture for one of its
LEAST_TEXT = 12  # in pixels of the panel


@pytest.fixture(scope="module")
def drawn(lab):
    """For every node that a row shows: its picture with black in place of every sample, and its rows."""
    rows, help_picture = lab("pictures.rows"), lab("pictures.help_picture")
    every = rows.ROWS + rows.MORE
    black = [Image.new("RGB", (32, 32))] * rows.PER_PROMPT
    cells = {
        model: {(place, prompt): black for place in range(len(every)) for prompt in range(len(rows.PROMPTS))}
        for model in rows.MODELS
    }
    chosen = {node: help_picture.rows_of(node, every) for node in sorted({row.shows for row in every} - {""})}
    draw = help_picture.draw_help_picture
    return {node: (draw(cells, shown), list(shown.values())) for node, shown in chosen.items()}


def grey(picture: Image.Image) -> np.ndarray:
    return np.asarray(picture.convert("L")).astype(float)


def of_cells(picture: Image.Image) -> np.ndarray:
    """For every line of pixels of a picture with black cells: whether it goes through them."""
    return (grey(picture) < 10).mean(axis=1) > 0.9


def runs(flags: np.ndarray) -> list[tuple[int, int]]:
    """The first and the last place of each run of True."""
    edges = np.flatnonzero(np.diff(np.concatenate(([0], flags.astype(int), [0]))))
    return list(zip(edges[::2].tolist(), (edges[1::2] - 1).tolist(), strict=True))


def test_every_node_of_the_rows_has_its_picture_and_no_other(drawn):
    assert {path.stem for path in PICTURES.glob("*")} == set(drawn), "run `python dev.py demo --update-docs`"


def test_pictures_are_narrow_and_small(drawn):
    for node in drawn:
        with Image.open(PICTURES / f"{node}.jpg") as picture:
            assert picture.width == PANEL * DENSE, node
        assert (PICTURES / f"{node}.jpg").stat().st_size <= 60_000, node


def in_squares(shades: np.ndarray, side: int = 4) -> np.ndarray:
    """The mean of each square of so many pixels: JPEG keeps it, and a letter that has changed does not."""
    height, width = (length // side for length in shades.shape)
    return shades[: height * side, : width * side].reshape(height, side, width, side).mean(axis=(1, 3))


def test_pictures_are_those_of_their_rows(drawn):
    """All but the cells: one letter that differs is far beyond 25, what JPEG loses is below 12."""
    for node, (today, _) in drawn.items():
        with Image.open(PICTURES / f"{node}.jpg") as picture:
            assert picture.size == today.size, f"{node}: run `python dev.py demo --update-docs`"
            difference = (grey(picture) - grey(today))[~of_cells(today)]
        assert np.abs(in_squares(difference)).max() < 25, f"{node}: run `python dev.py demo --update-docs`"


def height(ink: np.ndarray) -> int:
    """How many lines of pixels a text has from the first to the last with ink."""
    lines = np.flatnonzero(ink.any(axis=1))
    return int(lines[-1] - lines[0]) + 1


def least_height(letters: str) -> int:
    """The height of these letters in the least size."""
    paper = Image.new("L", (200, 100), 255)
    ImageDraw.Draw(paper).text((20, 20), letters, fill=0, font=ImageFont.load_default(LEAST_TEXT * DENSE))
    return height(is_ink(grey(paper)))


def is_ink(shades: np.ndarray) -> np.ndarray:
    """The pixels that are nearer to the colour of the text than to the paper."""
    return shades < (255 + shades.min()) / 2


def blocks_of_text(picture: Image.Image) -> list[np.ndarray]:
    """What is above each strip of cells, in shades of grey."""
    strips = runs(of_cells(picture))
    tops = [0, *(last + 1 for _, last in strips)]
    return [grey(picture)[top:first] for top, (first, _) in zip(tops, strips, strict=False)]


def lines_of(block: np.ndarray) -> list[np.ndarray]:
    return [block[first : last + 1] for first, last in runs(is_ink(block).any(axis=1))]


def first_letter(line: np.ndarray) -> np.ndarray:
    first, last = runs(is_ink(line).any(axis=0))[0]
    return line[:, first : last + 1]


def test_text_is_legible_in_the_panel(drawn):
    """Two lines above all, and above each strip a caption of one line or two: high, dark and inside the picture."""
    for node, (picture, rows) in drawn.items():
        top, *blocks = blocks_of_text(picture)
        models, prompts, *caption = lines_of(top)
        for line in (models, prompts):
            assert height(is_ink(line)) >= least_height("ly"), f"{node}: the header is small"
        captions = [caption, *map(lines_of, blocks)]
        assert len(captions) == len(rows), node
        for lines, row in zip(captions, rows, strict=True):
            assert len(lines) in (1, 2), f"{node}: {row.note} takes {len(lines)} lines"
            assert height(is_ink(first_letter(lines[0]))) >= least_height(row.label[0]), f"{node}: {row.note} is small"
        for line in (models, prompts, *(line for lines in captions for line in lines)):
            assert line.min() < 128, f"{node}: pale text"
            assert line[:, [0, -1]].min() > 250, f"{node}: text runs over the edge"


def test_the_lines_of_the_contact_sheet_are_numbered_from_the_top(lab):
    rows = lab("pictures.rows").ROWS
    assert rows and [row.sheet for row in rows] == list(range(1, len(rows) + 1))


def test_plain_cfg_comes_first(drawn):
    for node, (_, rows) in drawn.items():
        shows = [row.shows for row in rows]
        assert shows == sorted(shows), node
