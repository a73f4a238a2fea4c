"""The record of what works where, and the page made of it, anew. Run it in the repository's root.

COMFYUI_PATH=... python -m tests.host.compatibility              tries everything on that host
COMFYUI_PATH=... python -m tests.host.compatibility NAME [...]   the same for the methods whose row holds a NAME
COMFYUI_PATH=... python -m tests.host.compatibility --missing    tries what has no record there yet, or a faulty one
COMFYUI_PATH=... python -m tests.host.compatibility --page       tries nothing, and makes the page of the record

What other hosts said is kept. A run that was interrupted has kept the rows that it had come to the end of.
"""

import sys

from . import conftest  # noqa: F401  (opens the host, and puts this folder on the path)

# isort: split
import cells
import compatibility_page
import outcomes


def main(arguments: list[str]) -> int:
    if arguments != ["--page"]:
        missing, names = "--missing" in arguments, [name.lower() for name in arguments if name != "--missing"]
        for row in cells.rows():
            if not names or any(name in row.lower() for name in names):
                say(row)
                renew(row, missing)
    record = outcomes.load()
    compatibility_page.PATH.write_text(compatibility_page.page(record), encoding="utf-8")
    say(f"{outcomes.RECORD}\n{compatibility_page.PATH}")
    return 1 if record.faults() else 0


def renew(row: str, missing: bool) -> None:
    """Have the record say what is seen of a row on this host; where `missing`, of the cells that want it alone."""
    host, tables = cells.host_version(), cells.tables()
    record = outcomes.load()
    wanted = [cell for cell in cells.cells_of(row) if not missing or record.lacks(cell, host)]
    seen = {cell: cells.observed(cell) for cell in wanted}
    record = outcomes.load()  # as it is by now
    record.take(host, seen)
    record.keep(list(cells.rows()), {table: list(columns) for table, columns in tables.items()})
    outcomes.RECORD.write_text(outcomes.written(record), encoding="utf-8")
    for cell, outcome in seen.items():
        if outcome.verdict in outcomes.FAULTS:
            say(f"  {outcome.verdict} in {cell.table}, {cell.column} {' '.join(outcome.sentences)}")


def say(words: str) -> None:
    sys.stdout.write(words + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
