"""The specimens: that all they hold is looked for, and that one can read them with little at hand."""

import ast
import sys
from collections import Counter

import pytest

from specimens import HERE, LISTS, found, kinds, packages, specimens

packages.mathematics()

KINDS = {
    "FORMULAS": kinds.Formula,
    "DEFAULTS": kinds.Defaults,
    "HELPERS": kinds.Helper,
    "SETTINGS": kinds.Setting,
    "SAMPLERS": kinds.Sampler,
    "FUNCTIONS": kinds.Function,
    "RUNS": kinds.Run,
    "WORKFLOWS": kinds.Recipe,
    "PICTURES": kinds.Picture,
    "TABLE": kinds.Row,
}
every_specimen = pytest.mark.parametrize("specimen", specimens(), ids=lambda module: module.__name__.partition(".")[2])
FILES = sorted(HERE.rglob("*.py"))


@every_specimen
def test_what_it_holds_is_looked_for(specimen):
    held = {name: value for name, value in vars(specimen).items() if isinstance(value, list)}
    assert held.keys() <= LISTS.keys()
    for name, entries in held.items():
        assert entries and {type(entry) for entry in entries} <= {KINDS[name]}


@pytest.mark.parametrize("what", [what for what in KINDS if what != "TABLE"])
def test_every_name_is_taken_once(what):
    names = Counter(entry.name for entry in found(what))
    assert [name for name, times in names.items() if times > 1] == []


@every_specimen
def test_its_pictures_show_its_node(specimen):
    """Or no guidance node at all, to compare it with."""
    shown = {picture.shows for picture in getattr(specimen, "PICTURES", ())}
    assert shown <= {getattr(specimen, "NODE", ""), ""}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(HERE).as_posix())
def test_it_needs_no_host(path):
    """At its top; what a function of it needs, it is given."""
    allowed = {"torch", "numpy", "guidance", *sys.stdlib_module_names}
    for part in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(part, ast.Import):
            assert {alias.name.split(".")[0] for alias in part.names} <= allowed
        elif isinstance(part, ast.ImportFrom):
            assert part.level <= len(path.relative_to(HERE).parts)
            assert part.level or part.module.split(".")[0] in allowed
