"""What is made of the documents, part by part, from the nodes, the cards and the specimens."""

import re
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

from specimens import CHAPTERS, specimens
from specimens.kinds import Row
from specimens.packages import ROOT

from .nodes import Node, all_nodes, menu_words
from .papers import Paper, papers

README, METHODS, REFERENCES = ROOT / "README.md", ROOT / "docs" / "methods.md", ROOT / "docs" / "references.md"
BEGIN, END = "<!-- made by dev.py docs: {} -->", "<!-- end of what is made -->"


def parts() -> dict[Path, tuple[str, Callable[[], str]]]:
    """For each document the name of its made part, and what makes it."""
    return {
        README: ("nodes", list_of_nodes),
        METHODS: ("methods", tables_of_methods),
        REFERENCES: ("references", list_of_papers),
    }


def made(path: Path) -> str:
    """A document with its made part made again."""
    name, make = parts()[path]
    begin, text = BEGIN.format(name), path.read_text(encoding="utf-8")
    if text.count(begin) != 1 or END not in text.partition(begin)[2]:
        raise ValueError(f"{path} needs the line {begin} once, and {END} after it.")
    before, _, rest = text.partition(begin)
    return f"{before}{begin}\n\n{make()}\n\n{END}{rest.partition(END)[2]}"


def link(words: str, target: Path, page: Path) -> str:
    """To a file of the repository, from a page of it."""
    up = "../" * len(page.parent.relative_to(ROOT).parts)
    return f"[{words}]({up}{target.relative_to(ROOT).as_posix()})"


def chapter_of(specimen: ModuleType) -> str:
    """The folder that a specimen stands in; what all chapters begin with is a rule."""
    return "rules" if specimen.__name__ == "specimens.cfg" else specimen.__name__.split(".")[1]


# ---- README.md: the nodes


def list_of_nodes() -> str:
    nodes, lines = all_nodes(), lines_of_nodes()
    if missing := [node.id for node in nodes if node.id not in lines]:
        raise ValueError(f"No specimen has the LINE of {', '.join(missing)}.")
    chapters = [
        (chapter, [f"- {link(n.name, n.page, README)}: {lines[n.id]}" for n in nodes if n.chapter == chapter])
        for chapter in CHAPTERS
    ]
    return "\n\n".join(f"### {menu_words(chapter)}\n\n" + "\n".join(lines) for chapter, lines in chapters)


def lines_of_nodes() -> dict[str, str]:
    return {specimen.NODE: specimen.LINE for specimen in specimens() if hasattr(specimen, "LINE")}


# ---- docs/methods.md: a table a chapter

HEAD = "| method | its place in the form | paper | when to use it | passes | node |\n|---|---|---|---|---|---|"


def tables_of_methods() -> str:
    nodes = {node.id: node for node in all_nodes()}
    tables = [
        (chapter, [line(row, specimen, nodes) for specimen in in_order(chapter, nodes) for row in table(specimen)])
        for chapter in CHAPTERS
    ]
    return "\n\n".join(f"### {menu_words(chapter)}\n\n" + "\n".join([HEAD, *rows]) for chapter, rows in tables if rows)


def table(specimen: ModuleType) -> list[Row]:
    return getattr(specimen, "TABLE", [])


def in_order(chapter: str, nodes: dict[str, Node]) -> list[ModuleType]:
    """The specimens of a chapter by the names of their nodes; first those without one."""

    def name(specimen):
        return nodes[specimen.NODE].name.casefold() if hasattr(specimen, "NODE") else ""

    return sorted((specimen for specimen in specimens() if chapter_of(specimen) == chapter), key=name)


def line(row: Row, specimen: ModuleType, nodes: dict[str, Node]) -> str:
    cells = [
        link(row.method, formula(row, specimen), METHODS),
        row.place,
        re.sub(r"\b\d{4}\.\d{5}\b", r"[\g<0>](https://arxiv.org/abs/\g<0>)", row.paper),
        row.use,
        row.passes,
        re.sub(r"\bAzimuth\w+", lambda found: help_page(found[0], nodes), row.node),
    ]
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def help_page(id: str, nodes: dict[str, Node]) -> str:
    if id not in nodes:
        raise ValueError(f"A row of a table names {id}, and there is no such node.")
    return link(nodes[id].name, nodes[id].page, METHODS)


def formula(row: Row, specimen: ModuleType) -> Path:
    """The file of a method's formula: the one that has the name of the specimen, unless the row names another."""
    name = row.formula or specimen.__name__.partition(".")[2].replace(".", "/")
    path = ROOT / "guidance" / f"{name}.py"
    if not path.is_file():
        raise ValueError(f"{specimen.__name__}: there is no guidance/{name}.py; give {row.method!r} its `formula`.")
    return path


# ---- docs/references.md: the papers


def list_of_papers() -> str:
    return "\n".join(map(reference, papers()))


def reference(paper: Paper) -> str:
    known_as = f" ({paper.known_as})" if paper.known_as else ""
    places = ", ".join(place(path, part) for path, part in paper.files.items())
    words = f'{paper.authors} {paper.year}, "{paper.title}"{known_as}. In {places}'
    return f"- [{paper.id}](https://arxiv.org/abs/{paper.id}): {words}"


def place(path: Path, part: str) -> str:
    words = "/".join(path.relative_to(ROOT).with_suffix("").parts[1:])
    return link(words, path, REFERENCES) + (f" ({part})" if part else "")
