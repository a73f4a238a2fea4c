"""The record of what works where, and the page made of it, anew. Run it in the repository's root.

COMFYUI_PATH=... python -m tests.host.compatibility              tries everything on that host
COMFYUI_PATH=... python -m tests.host.compatibility NAME [...]   the same for the methods whose row holds a NAME
COMFYUI_PATH=... python -m tests.host.compatibility --missing    tries what has no record there yet, or a faulty one
COMFYUI_PATH=... python -m tests.host.compatibility --check      tries nothing, and exits 1 if there is need to
COMFYUI_PATH=... python -m tests.host.compatibility --page       tries nothing, and makes the page of the record

What other hosts said is kept. A run that was interrupted has kept the rows that it had come to the end of.
"""

import sys
from pathlib import Path

from . import conftest  # noqa: F401  (opens the host, and puts this folder on the path)

# isort: split
import cells
import compatibility_page
import outcomes


def main(arguments: list[str]) -> int:
    if arguments == ["--check"]:
        return check()
    before = text(outcomes.RECORD)
    if arguments != ["--page"]:
        missing, names = "--missing" in arguments, [name.lower() for name in arguments if name != "--missing"]
        for row in cells.rows():
            if not names or any(name in row.lower() for name in names):
                renew(row, missing)
    record = outcomes.load()
    keep(record)
    write(outcomes.RECORD, outcomes.written(record), before)
    write(compatibility_page.PATH, compatibility_page.page(record), text(compatibility_page.PATH))
    return 1 if record.faults() else 0


def check() -> int:
    """Say what a run with --missing would write."""
    record = outcomes.load()
    kept = outcomes.load()
    keep(kept)
    lacking = [row for row in cells.rows() if lacks(record, row)]
    stale = [outcomes.RECORD] if lacking or outcomes.written(kept) != text(outcomes.RECORD) else []
    stale += [compatibility_page.PATH] if compatibility_page.page(kept) != text(compatibility_page.PATH) else []
    for path in stale:
        say(f"stale: {path}")
    return 1 if stale else 0


def lacks(record: outcomes.Record, row: str) -> list[outcomes.Cell]:
    return [cell for cell in cells.cells_of(row) if record.lacks(cell, cells.host_version())]


def keep(record: outcomes.Record) -> None:
    """Drop what no list has any longer."""
    record.keep(list(cells.rows()), {table: list(columns) for table, columns in cells.tables().items()})


def renew(row: str, missing: bool) -> None:
    """Have the record say what is seen of a row on this host; where `missing`, of the cells that want it alone."""
    wanted = lacks(outcomes.load(), row) if missing else cells.cells_of(row)
    if not wanted:
        return
    say(row)
    seen = {cell: cells.observed(cell) for cell in wanted}
    record = outcomes.load()  # as it is by now
    record.take(cells.host_version(), seen)
    keep(record)
    outcomes.RECORD.write_text(outcomes.written(record), encoding="utf-8")
    for cell, outcome in seen.items():
        if outcome.verdict in outcomes.FAULTS:
            say(f"  {outcome.verdict} in {cell.table}, {cell.column} {' '.join(outcome.sentences)}")


def write(path: Path, words: str, before: str) -> None:
    if words != before:
        path.write_text(words, encoding="utf-8")
        say(str(path))


def text(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.is_file() else ""


def say(words: str) -> None:
    sys.stdout.write(words + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
