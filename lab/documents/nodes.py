"""The nodes as their files have them, read and not run, so that no host is needed."""

import ast
from dataclasses import dataclass
from pathlib import Path

from specimens import CHAPTERS
from specimens.packages import ROOT


@dataclass(frozen=True)
class Node:
    id: str
    name: str
    chapter: str

    @property
    def page(self) -> Path:
        """Its help page."""
        return ROOT / "js" / "docs" / f"{self.id}.md"


def all_nodes() -> list[Node]:
    """Chapter by chapter in the menu's order, and in each by name."""
    return [node for chapter in CHAPTERS for node in sorted(nodes_of(chapter), key=lambda node: node.name.casefold())]


def nodes_of(chapter: str) -> list[Node]:
    files = sorted((ROOT / "nodes" / chapter).glob("*.py"))
    return [Node(*id_and_name, chapter) for path in files for id_and_name in schemas(parsed(path))]


def menu_words(chapter: str) -> str:
    """What the menu calls a chapter: "4 rules against burning"."""
    return texts(parsed(ROOT / "nodes" / chapter / "__init__.py"))["CATEGORY"].rpartition("/")[2]


def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def texts(tree: ast.Module) -> dict[str, str]:
    """The names of a file that stand for a text."""
    return {
        part.targets[0].id: part.value.value
        for part in tree.body
        if isinstance(part, ast.Assign) and isinstance(part.value, ast.Constant)
    }


def schemas(tree: ast.Module) -> list[tuple[str, str]]:
    """Id and display name of every schema in a file."""
    known, found = texts(tree), []
    for call in ast.walk(tree):
        if isinstance(call, ast.Call) and getattr(call.func, "attr", "") == "Schema":
            given = {keyword.arg: keyword.value for keyword in call.keywords}
            found.append(tuple(text(given[name], known) for name in ("node_id", "display_name")))
    return found


def text(value: ast.expr, known: dict[str, str]) -> str:
    return known[value.id] if isinstance(value, ast.Name) else ast.literal_eval(value)
