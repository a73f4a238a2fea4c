"""The picture in a help page: plain CFG at a low and a high cfg, then the node, each with a caption above four cells.

ComfyUI's Info panel shows it 272 pixels wide. It is drawn twice as wide, so that it stays sharp on dense screens.
"""

from itertools import groupby

from PIL import Image, ImageDraw

from specimens.kinds import Picture

from .drawing import FAINT, INK, PAPER, Cells, font, wrapped
from .rows import MODELS, PER_PROMPT, PROMPTS, SHORT_MODELS, SHORT_PROMPTS, models_of

WIDTH = 2 * 272
TEXT, LINE = 24, 28  # 12 pixels high in the panel, the least that is read with ease
COLUMNS, CELL, GAP, MARGIN, BELOW = 4, 128, 4, 8, 12  # a cell is four times as wide as what is sampled

Column = tuple[str, int, int]  # the model, the number of the prompt, and which picture of that prompt


def rows_of(node: str, rows: tuple[Picture, ...]) -> dict[int, Picture]:
    """The rows in the picture of a node, by their places: plain CFG on the node's models, then the node."""
    models = set(models_of([row for row in rows if row.shows == node]))
    shown = {place: row for place, row in enumerate(rows) if row.shows in ("", node) and models & set(row.models)}
    return dict(sorted(shown.items(), key=lambda item: item[1].shows != ""))


def draw_help_picture(cells: Cells, rows: dict[int, Picture]) -> Image.Image:
    """The rows by their places in `cells`, in this order."""
    columns = columns_of([model for model in MODELS if all(model in row.models for row in rows.values())])
    parts = [draw_header(columns)]
    for place, row in rows.items():
        parts.append(draw_row(row, [cells[model][place, prompt][nth] for model, prompt, nth in columns]))
    picture = Image.new("RGB", (WIDTH, sum(part.height for part in parts)), PAPER)
    top = 0
    for part in parts:
        picture.paste(part, (0, top))
        top += part.height
    return picture


def draw_row(row: Picture, samples: list[Image.Image]) -> Image.Image:
    """The caption, and below it a cell for each sample."""
    caption = wrapped(row.name, TEXT, WIDTH - 2 * MARGIN)
    top = LINE * len(caption) + GAP
    part = Image.new("RGB", (WIDTH, top + CELL + BELOW), PAPER)
    pen = ImageDraw.Draw(part)
    for line, words in enumerate(caption):
        pen.text((MARGIN, line * LINE), words, fill=INK if row.shows else FAINT, font=font(TEXT))
    for column, sample in enumerate(samples):
        part.paste(sample.resize((CELL, CELL), Image.Resampling.BICUBIC), (left_of(column), top))
    return part


def draw_header(columns: list[Column]) -> Image.Image:
    """In the middle above their columns: the models, and below them the prompts."""
    part = Image.new("RGB", (WIDTH, GAP + 2 * LINE + BELOW), PAPER)
    pen = ImageDraw.Draw(part)
    for (model,), places in alike(columns, 1):
        pen.text((middle_of(places), GAP), SHORT_MODELS[model], fill=INK, font=font(TEXT), anchor="ma")
    for (_, prompt), places in alike(columns, 2):
        pen.text((middle_of(places), GAP + LINE), SHORT_PROMPTS[prompt], fill=FAINT, font=font(TEXT), anchor="ma")
    return part


def columns_of(models: list[str]) -> list[Column]:
    """Every prompt on every model; as many pictures of each as there is room for."""
    each = min(PER_PROMPT, COLUMNS // (len(models) * len(PROMPTS)))
    return [(model, prompt, nth) for model in models for prompt in range(len(PROMPTS)) for nth in range(each)]


def left_of(column: int) -> int:
    """Two halves, with twice the gap between them."""
    return MARGIN + column * (CELL + GAP) + (GAP if column >= COLUMNS // 2 else 0)


def alike(columns: list[Column], parts: int) -> list[tuple[tuple, list[int]]]:
    """The first parts of the columns, and the places of the columns that share them."""
    places = groupby(range(len(columns)), key=lambda place: columns[place][:parts])
    return [(shared, list(group)) for shared, group in places]


def middle_of(columns: list[int]) -> float:
    return (left_of(columns[0]) + left_of(columns[-1]) + CELL) / 2
