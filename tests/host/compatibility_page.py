"""docs/compatibility.md, as the record has it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from cells import rows
from columns import ACROSS, EASILY, FAMILIES, LAMBDA, LONGER, STEPS
from outcomes import ABSENT, ALONE, COMMAND, FAULTS, UNKNOWN, WORKS, Cell, Outcome, Record, sentences, version

PATH = Path(__file__).resolve().parents[2] / "docs" / "compatibility.md"

# The columns that the others of a table are compared with.
GUIDER, SAMPLER = "KSampler", "euler"

OPENING = """\
# Compatibility

Which node works with which models, guiders, samplers and neighbours: tried, not promised. Every cell is what a test saw
when it sampled with the node in that place. The tests fail when a cell no longer holds, so this page cannot fall behind
the code, and they fail for a cell without effect that the log does not explain. This makes the page anew:

    COMFYUI_PATH=... {command}

| cell | meaning |
|---|---|
| yes | it works: the result is finite, and another one than without the node |
| yes (3) | it works, and the log says [sentence 3](#what-the-log-says) |
| (3) | it has no effect there and says why, or stops with that error: sentence 3 |
| – | this ComfyUI has no such thing |

The models are small and have random weights, but they are ComfyUI's own classes. What depends on the kind of model, the
shape of the latent or the wiring shows in them; how good a picture looks does not. Each run has {steps} steps from pure
noise, and each node stands at settings under which it acts. What is printed is for ComfyUI {newest}; [other
versions](#versions-of-comfyui) follow below."""

GUIDERS = """\
Each with {families}.
A cell speaks of those models with which the node works under KSampler, and names them where they differ. A sentence
that stands in the first table already is not repeated. The Dual CFG, Perp-Neg and Dual Model guiders run at cfg 5 with
every model. So does the unknown guider, a class of these tests: it reports a cfg of 9, and makes the pair at 5 by a cfg
function of its own, as the LTXV Dual CFG Guider of newer ComfyUIs does. There "yes" means the result of a CFG Guider at
cfg 5; of a packed latent it makes the other parts at 9, and the rule for all cells holds."""

SAMPLERS = """\
With CFG Guider and two models, one that predicts eps (SD 1.5) and one of flow (SD3).{elsewhere}
Each run was made twice, with the same result. Under a CFG++ sampler the cfg is lambda: {lam}, and on Flux dev 1. LCM
Upscale is ComfyUI's, to twice the size. "a look at half size" is euler that predicts every step at half the size first
and makes nothing of it. There "yes" means the result of a look at the whole size."""

NEIGHBOURS = """\
Here "yes" means that the node and its neighbour both have their effect, and "alone (3)" that the node has its own and
the neighbour none, for the reason in sentence 3. Context windows are tried on Wan, the others on SD 1.5.{elsewhere}
A node of ComfyUI's stands before ours in the wiring, or after ours.

The caches are tried with {longer} steps, and serve those in the middle. Beside EasyCache "yes" means that the cache
moves the result of the node no further than one without it, {easy:g} times as far at most. Beside LazyCache, which
repeats whole steps, it means the result of a sampler that repeats the same ones. TorchCompileModel is tried with
compilation put off, so that the wiring alone counts, and "yes" means the result without it."""


def page(record: Record) -> str:
    """The page as Markdown."""
    book = Book(record, {sentence: i for i, sentence in enumerate(sentences(record), start=1)})
    opening = OPENING.format(command=COMMAND, steps=STEPS, newest=record.newest)
    tables = [*models(book), *guiders(book), *samplers(book), *neighbours(book)]
    return "\n\n".join([opening, *tables, *what_is_said(book), *versions(book)]) + "\n"


@dataclass
class Book:
    """The record, and the numbers under which its sentences stand."""

    record: Record
    numbers: dict[str, int]

    def words(self, outcome: Outcome) -> str:
        """An outcome as it reads in a table."""
        numbers = ", ".join(str(self.numbers[sentence]) for sentence in outcome.sentences)
        if outcome.verdict in FAULTS:
            return f"**{outcome.verdict}**"
        if outcome.verdict in (WORKS, ALONE):
            return f"{outcome.verdict} ({numbers})" if numbers else outcome.verdict
        return {ABSENT: "–", UNKNOWN: "?"}.get(outcome.verdict, f"({numbers})")

    def table(self, columns: list[str], cell: Callable[[str, str], str]) -> str:
        rows = [[row, *(cell(row, column) for column in columns)] for row in self.record.rows()]
        return table(["node", *columns], rows)

    def several(self, pairs: dict[str, tuple[Cell, Cell]]) -> str:
        """One cell for several models. Each has the cell to compare with and its own; the usual ones go unnamed."""
        found = {name: (self.record.at(usual), self.record.at(here)) for name, (usual, here) in pairs.items()}
        able = {name: pair for name, pair in found.items() if pair[0].verdict == WORKS}
        groups: dict[str, list[str]] = {}
        for name, (usual, here) in (able or found).items():
            groups.setdefault(self.words(beyond(here, usual)), []).append(name)
        first, *others = sorted(groups, key=lambda words: -len(groups[words]))
        return "; ".join([first, *(f"{words} with {listed(groups[words])}" for words in others)])


def beyond(outcome: Outcome, usual: Outcome) -> Outcome:
    """An outcome that works, without what the log says in the usual place too."""
    if outcome.verdict != WORKS:
        return outcome
    return Outcome(WORKS, tuple(sentence for sentence in outcome.sentences if sentence not in usual.sentences))


# ---- the tables


def models(book: Book) -> list[str]:
    facts = [[family.name, family.shape, family.prediction, f"{family.cfg:g}"] for family in FAMILIES]

    def cell(row, family):
        return book.words(book.record.at(Cell(GUIDER, row, family)))

    return [
        "## Models and latents",
        table(["model", "latent", "predicts", "cfg"], facts),
        "With KSampler and euler:",
        book.table([family.name for family in FAMILIES], cell),
    ]


def guiders(book: Book) -> list[str]:
    families = [family.name for family in ACROSS]

    def cell(row, guider):
        return book.several({name: (Cell(GUIDER, row, name), Cell(guider, row, name)) for name in families})

    names = [name for name, columns in book.record.columns.items() if set(columns) >= set(families)]
    return ["## Guiders", GUIDERS.format(families=listed(families)), book.table(names, cell)]


def samplers(book: Book) -> list[str]:
    tables = {name.split(", ")[1]: name for name in book.record.columns if name.startswith("samplers, ")}

    def cell(row, sampler):
        return book.several({kind: (Cell(t, row, SAMPLER), Cell(t, row, sampler)) for kind, t in tables.items()})

    first = next(iter(tables.values()))
    words = SAMPLERS.format(lam=LAMBDA, elsewhere=elsewhere(lambda method: method.elsewhere))
    return ["## Samplers", words, book.table(book.record.columns[first], cell)]


def neighbours(book: Book) -> list[str]:
    def cell(row, neighbour):
        return book.words(book.record.at(Cell("neighbours", row, neighbour)))

    words = NEIGHBOURS.format(
        elsewhere=elsewhere(lambda method: method.beside or method.elsewhere), longer=LONGER, easy=EASILY
    )
    return ["## Neighbours", words, book.table(book.record.columns["neighbours"], cell)]


def elsewhere(family: Callable) -> str:
    """On which models the rows are tried that act on other ones than most."""
    homes: dict[str, list[str]] = {}
    for row, method in rows().items():
        if family(method):
            homes.setdefault(family(method), []).append(row)
    return "".join(f"\nTried on {home} instead: {listed(tried)}." for home, tried in homes.items())


# ---- what follows


def what_is_said(book: Book) -> list[str]:
    lines = [f"{number}. {sentence}" for sentence, number in book.numbers.items()]
    return ["## What the log says", '"The node" stands for the name of the row.', "\n".join(lines)]


def versions(book: Book) -> list[str]:
    newest, alike = book.record.newest, {}
    hosts = sorted(book.record.hosts, key=version)
    for host in hosts:
        if host != newest:
            alike.setdefault(differences(book, host), []).append(host)
    opening = f"All of this was run on ComfyUI {listed(hosts)}."
    return ["## Versions of ComfyUI", opening, *(compared(hosts, newest, lines) for lines, hosts in alike.items())]


def compared(hosts: list[str], newest: str, lines: str) -> str:
    if not lines:
        return f"The cells of {listed(hosts)} are those of {newest}."
    return f"On {listed(hosts)} this is another way than on {newest}:\n\n{lines}"


def differences(book: Book, host: str) -> str:
    """What is another way on a host than on the newest: one line for a row and what it is there."""
    record, absent, untried, apart = book.record, {}, {}, {}
    tried = [row for row in record.rows() if any(cell.row == row for cell in record.hosts[host])]
    for name, columns in record.columns.items():
        for column in columns:
            cells = [Cell(name, row, column) for row in tried]
            there = {cell.row: record.at(cell, host) for cell in cells if record.at(cell, host) != record.at(cell)}
            if there and all(outcome.verdict == ABSENT for outcome in there.values()):
                absent.setdefault(name, []).append(column)
                continue
            if there and all(outcome.verdict == UNKNOWN for outcome in there.values()):
                untried.setdefault(name, []).append(column)
                continue
            for row, outcome in there.items():
                apart.setdefault((row, book.words(outcome)), {}).setdefault(name, []).append(column)
    lines = [f"- {row}: not tried yet." for row in record.rows() if row not in tried]
    lines += [f"- {place(record, name, columns)}: it has no such thing." for name, columns in absent.items()]
    lines += [f"- {place(record, name, columns)}: not tried yet." for name, columns in untried.items()]
    for (row, words), places in apart.items():
        where = "; ".join(place(record, name, columns) for name, columns in places.items())
        lines.append(f"- {row}: {words} under {where}.")
    return "\n".join(lines)


def place(record: Record, name: str, columns: list[str]) -> str:
    """A table and some of its columns, which go unnamed if they are all of them."""
    return name if columns == record.columns[name] else f"{name} ({', '.join(columns)})"


def table(heads: list[str], rows: list[list[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def listed(names: list[str]) -> str:
    *most, last = names
    return f"{', '.join(most)} and {last}" if most else last
