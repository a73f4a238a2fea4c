"""The papers of the cards. A line of a card names one, and what follows the id says which part of it, or how:

Paper: Sadat, Hilliges, Weber 2024, "Eliminating Oversaturation and Artifacts of High Guidance Scales in Diffusion
Models" (APG), arXiv 2410.02416, algorithm 1.
"""

import ast
import re
from dataclasses import dataclass, field, replace
from pathlib import Path

from specimens.packages import ROOT

LINE = re.compile(
    r'(?P<authors>[^"]+?) (?P<year>\d{4}), "(?P<title>[^"]+)"(?: \((?P<known_as>[^)]+)\))?, '
    r"arXiv (?P<id>\d{4}\.\d{5})(?:, (?P<part>(?:[^.]|\.(?=\d))+))?\."
)


@dataclass(frozen=True)
class Paper:
    """known_as: what else it is called. files: those whose card has it, each with the part of the paper."""

    id: str
    authors: str
    year: str
    title: str
    known_as: str = ""
    files: dict[Path, str] = field(default_factory=dict)


def papers() -> list[Paper]:
    """Each once, oldest first. Raises ValueError where two cards do not say the same of one."""
    found: dict[str, Paper] = {}
    for path in cards():
        for paper in papers_in(path):
            before = found.get(paper.id, replace(paper, files={}))
            if replace(before, files={}) != replace(paper, files={}):
                raise ValueError(f"{path} and {next(iter(before.files))} say different things of arXiv {paper.id}.")
            found[paper.id] = replace(paper, files={**before.files, **paper.files})
    return [found[key] for key in sorted(found)]


def cards() -> list[Path]:
    """The files of the mathematics, and those of the nodes, which have the papers that no formula has."""
    return [path for folder in ("guidance", "nodes") for path in sorted((ROOT / folder).rglob("*.py"))]


def papers_in(path: Path) -> list[Paper]:
    """Raises ValueError for a line that does not have the form above."""
    card = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    found = []
    for words in re.split(r"^Paper: ", card, flags=re.MULTILINE)[1:]:
        line = LINE.match(" ".join(words.split()))
        if not line:
            raise ValueError(f"{path}: this line is none that names a paper: Paper: {words.splitlines()[0]}")
        facts = {name: value or "" for name, value in line.groupdict().items()}
        part = facts.pop("part")
        found.append(Paper(**facts, files={path: part}))
    return found
