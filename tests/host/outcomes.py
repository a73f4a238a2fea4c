"""What was seen of every method in every place, on every host that it was tried on; and the file that keeps it."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

RECORD = Path(__file__).with_name("compatibility.json")
COMMAND = "python -m tests.host.compatibility"

# Verdicts, each with its letter in the file. The last six are faults of ours.
WORKS, ALONE, NOTHING, REFUSED, ABSENT, UNKNOWN = "yes", "alone", "no", "error", "absent", "unknown"
SILENT, CRASH, UNEQUAL, LOST, UNTRUE, MOVED = "SILENT", "CRASH", "UNEQUAL", "LOST", "UNTRUE", "MOVED"
FAULTS = (SILENT, CRASH, UNEQUAL, LOST, UNTRUE, MOVED)
LETTERS = dict(zip((WORKS, ALONE, NOTHING, REFUSED, ABSENT, UNKNOWN, *FAULTS), "yane-?SXULTM", strict=True))
VERDICTS = {letter: verdict for verdict, letter in LETTERS.items()}


class Outcome(NamedTuple):
    """A verdict, and the sentences that the log has to say with it."""

    verdict: str
    sentences: tuple[str, ...] = ()


class Cell(NamedTuple):
    table: str
    row: str
    column: str


@dataclass
class Record:
    """Every host's cells. `columns` are each table's, in their order."""

    columns: dict[str, list[str]] = field(default_factory=dict)
    hosts: dict[str, dict[Cell, Outcome]] = field(default_factory=dict)

    @property
    def newest(self) -> str:
        return max(self.hosts, key=version)

    def at(self, cell: Cell, host: str | None = None) -> Outcome:
        """A cell on a host; on one that was never tried, as on the newest of those that were."""
        return self.hosts[host if host in self.hosts else self.newest].get(cell, Outcome(UNKNOWN))

    def rows(self) -> list[str]:
        return sorted({cell.row for cells in self.hosts.values() for cell in cells}, key=str.lower)

    def lacks(self, cell: Cell, host: str) -> bool:
        """Whether nothing is recorded of a cell on a host, or a fault."""
        return self.hosts.get(host, {}).get(cell, Outcome(UNKNOWN)).verdict in (UNKNOWN, *FAULTS)

    def faults(self) -> list[Cell]:
        """The cells that no host may have."""
        every = {c: o for cells in self.hosts.values() for c, o in cells.items() if o.verdict in FAULTS}
        return sorted(every)

    def take(self, host: str, seen: dict[Cell, Outcome]) -> None:
        """Add what was seen on a host, in place of what was recorded there."""
        self.hosts[host] = {**self.hosts.get(host, {}), **seen}

    def keep(self, rows: list[str], columns: dict[str, list[str]]) -> None:
        """Drop on every host what is no longer in the lists."""
        self.columns = columns
        known = {Cell(table, row, column) for table in columns for column in columns[table] for row in rows}
        self.hosts = {host: {c: o for c, o in cells.items() if c in known} for host, cells in self.hosts.items()}


def version(host: str) -> tuple[int, ...]:
    return tuple(int(part) for part in host.split(".") if part.isdigit())


# ---- the file


def written(record: Record) -> str:
    """The record as JSON: a line for each row of a table on the newest host, and how other hosts differ from it."""
    numbers = {sentence: i for i, sentence in enumerate(sentences(record), start=1)}
    hosts, rows = sorted(record.hosts, key=version), record.rows()
    tables = {
        table: {
            "columns": columns,
            **{row: " ".join(code(record.at(Cell(table, row, c)), numbers) for c in columns) for row in rows},
        }
        for table, columns in record.columns.items()
    }
    every = [Cell(t, row, c) for t, columns in record.columns.items() for row in rows for c in columns]
    apart = {host: {} for host in hosts if host != record.newest}
    for host in apart:
        for cell in every:
            if record.at(cell, host) != record.at(cell):
                there = apart[host].setdefault(cell.table, {}).setdefault(cell.row, {})
                there[cell.column] = code(record.at(cell, host), numbers)
    facts = {"hosts": hosts, "sentences": list(numbers), "tables": tables, "differences": apart}
    return json.dumps(facts, indent=1, ensure_ascii=False) + "\n"


def read(text: str) -> Record:
    facts = json.loads(text)
    tables = {table: dict(lines) for table, lines in facts["tables"].items()}
    columns = {table: lines.pop("columns") for table, lines in tables.items()}
    newest = {
        Cell(table, row, column): decoded(word, facts["sentences"])
        for table, lines in tables.items()
        for row, line in lines.items()
        for column, word in zip(columns[table], line.split(" "), strict=True)
    }
    record = Record(columns)
    for host in facts["hosts"]:
        apart = {
            Cell(table, row, column): decoded(word, facts["sentences"])
            for table, lines in facts["differences"].get(host, {}).items()
            for row, words in lines.items()
            for column, word in words.items()
        }
        cells = {**newest, **apart}
        record.hosts[host] = {cell: outcome for cell, outcome in cells.items() if outcome.verdict != UNKNOWN}
    return record


def sentences(record: Record) -> list[str]:
    return sorted({s for cells in record.hosts.values() for outcome in cells.values() for s in outcome.sentences})


def code(outcome: Outcome, numbers: dict[str, int]) -> str:
    return LETTERS[outcome.verdict] + ",".join(str(numbers[s]) for s in outcome.sentences)


def decoded(word: str, known: list[str]) -> Outcome:
    return Outcome(VERDICTS[word[0]], tuple(known[int(n) - 1] for n in word[1:].split(",") if n))


def load() -> Record:
    return read(RECORD.read_text(encoding="utf-8")) if RECORD.is_file() else Record()
