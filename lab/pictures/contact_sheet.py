"""The contact sheet: the same prompts and seeds under plain CFG and under each method, side by side.

`python dev.py demo` runs this against a ComfyUI of its own. With --update-docs it also renews the sheet of the README
and samples the rows in `MORE`, for the picture in the help page of every node that a row shows.
"""

import argparse
import asyncio
import io
import sys
from pathlib import Path

import aiohttp
from PIL import Image

from specimens.kinds import Picture

from .drawing import Cells
from .help_picture import draw_help_picture, rows_of
from .rows import MORE, ROWS
from .server import sample
from .sheet import draw_sheet
from .workflow import Trouble

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs" / "contact_sheet.png"
PICTURES = ROOT / "js" / "docs" / "pictures"
MOST_BYTES = 60_000  # of a help picture


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--url", required=True, help="address of a ComfyUI that has this pack and the lab")
    parser.add_argument("--out", type=Path, required=True, help="the PNG file to write")
    parser.add_argument("--update-docs", action="store_true", help=f"also write docs/{DOCS.name} and the help pictures")
    options = parser.parse_args(arguments)
    rows = ROWS + (MORE if options.update_docs else ())
    try:
        cells = asyncio.run(sample(options.url, rows))
    except Trouble as trouble:
        sys.stderr.write(f"contact sheet: {trouble}\n")
        return 1
    except aiohttp.ClientError as error:
        sys.stderr.write(f"contact sheet: {options.url} failed ({error}): read the server's log.\n")
        return 1
    sheet = draw_sheet(cells, ROWS)
    for path in (options.out, *([DOCS] if options.update_docs else [])):
        path.parent.mkdir(parents=True, exist_ok=True)
        sheet.save(path, optimize=True)
    if options.update_docs:
        save_help_pictures(cells, rows)
    return 0


def save_help_pictures(cells: Cells, rows: tuple[Picture, ...]) -> None:
    PICTURES.mkdir(parents=True, exist_ok=True)
    for node in sorted({row.shows for row in rows} - {""}):
        jpeg = small_jpeg(draw_help_picture(cells, rows_of(node, rows)))
        (PICTURES / f"{node}.jpg").write_bytes(jpeg)


def small_jpeg(picture: Image.Image) -> bytes:
    """The picture in the best quality that makes no more than MOST_BYTES."""
    for quality in range(80, 30, -5):
        file = io.BytesIO()
        picture.save(file, "JPEG", quality=quality, optimize=True, progressive=True)
        if file.tell() <= MOST_BYTES:
            break
    return file.getvalue()
