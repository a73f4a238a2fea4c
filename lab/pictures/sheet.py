"""The contact sheet of the README: a line for each row, and a block of columns for each model."""

from PIL import Image, ImageDraw

from specimens.kinds import Picture
from specimens.pictures import HIGH

from .drawing import ACCENT, FAINT, INK, PAPER, Cells, font, wrapped
from .rows import MODELS, PER_PROMPT, PROMPTS, STEPS, models_of

TITLE = f"Azimuth: same prompts, same seeds, {STEPS} Euler steps, cfg {HIGH:g} unless noted"
# GitHub shows the sheet some 840 pixels wide, about three quarters of this.
BIG, MIDDLE, SMALL = 24, 20, 17
CELL, GAP, LABEL, BLOCK_GAP, MARGIN, HEADER = 96, 4, 240, 24, 16, 148
BLOCK = len(PROMPTS) * PER_PROMPT * (CELL + GAP) + BLOCK_GAP


def draw_sheet(cells: Cells, rows: tuple[Picture, ...]) -> Image.Image:
    """The rows by their places in `cells`."""
    models = models_of(rows)
    width = 2 * MARGIN + LABEL + len(models) * BLOCK - BLOCK_GAP - GAP
    sheet = Image.new("RGB", (width, HEADER + len(rows) * (CELL + GAP) - GAP + MARGIN), PAPER)
    pen = ImageDraw.Draw(sheet)
    pen.text((MARGIN, 12), TITLE, fill=INK, font=font(BIG))
    for place, row in enumerate(rows):
        draw_label(pen, row, HEADER + place * (CELL + GAP))
    for block, model in enumerate(models):
        left = MARGIN + LABEL + block * BLOCK
        draw_header(pen, left, MODELS[model])
        for place, row in enumerate(rows):
            if model in row.models:
                draw_cells(sheet, (left, HEADER + place * (CELL + GAP)), cells[model], place)
    return sheet


def draw_label(pen: ImageDraw.ImageDraw, row: Picture, top: int) -> None:
    colour = ACCENT if not row.shows and row.scale == HIGH else INK
    pen.text((MARGIN, top + 8), row.label, fill=colour, font=font(MIDDLE))
    note = "\n".join(wrapped(row.note, SMALL, LABEL - MARGIN))
    pen.multiline_text((MARGIN, top + 36), note, fill=FAINT, font=font(SMALL), spacing=3)


def draw_header(pen: ImageDraw.ImageDraw, left: int, title: str) -> None:
    pen.text((left, 52), title, fill=INK, font=font(MIDDLE))
    width = PER_PROMPT * (CELL + GAP)
    for prompt, words in enumerate(PROMPTS):
        lines = "\n".join(wrapped(words, SMALL, width - 2 * GAP))
        pen.multiline_text((left + prompt * width, 80), lines, fill=FAINT, font=font(SMALL), spacing=2)


def draw_cells(sheet: Image.Image, corner: tuple[int, int], cells: dict, place: int) -> None:
    """One row on one model: PER_PROMPT pictures of each prompt."""
    pictures = [picture for prompt in range(len(PROMPTS)) for picture in cells[place, prompt]]
    for column, picture in enumerate(pictures):
        cell = picture.resize((CELL, CELL), Image.Resampling.LANCZOS)
        sheet.paste(cell, (corner[0] + column * (CELL + GAP), corner[1]))
