"""What bench.py prints: text in columns, the targets among the numbers, and a line for a person who waits."""

import sys
from collections.abc import Iterator


def target(name: str, seen: float, limit: float) -> dict:
    return {"name": name, "seen": seen, "limit": limit, "met": seen <= limit}


def target_tables(targets: list[dict]) -> Iterator[str]:
    yield table(
        "Targets",
        ["", "seen", "at most", ""],
        [
            [t["name"], f"{t['seen']:.3g}", f"{t['limit']:.3g}", "met" if t["met"] else "MISSED"]
            for t in sorted(targets, key=lambda t: t["met"])
        ],
    )


def table(title: str, head: list[str], rows: list[list[str]]) -> str:
    """Text in columns, the first one to the left and the others to the right."""
    widths = [max(len(row[i]) for row in [head, *rows]) for i in range(len(head))]

    def line(row: list[str]) -> str:
        cells = zip(row, widths, strict=True)
        return "  ".join(c.rjust(w) if i else c.ljust(w) for i, (c, w) in enumerate(cells)).rstrip()

    return "\n".join([title, "", line(head), "  ".join("-" * w for w in widths), *map(line, rows)])


def micro(seconds: float) -> str:
    return f"{1e6 * seconds:.0f} us" if seconds < 1e-3 else f"{1e3 * seconds:.2f} ms"


def progress(what: str) -> None:
    """One line that is written over, for a person who waits."""
    if sys.stderr.isatty():
        sys.stderr.write(f"\r\033[K{what[:78]}")
        sys.stderr.flush()
