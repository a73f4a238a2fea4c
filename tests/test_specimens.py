"""The specimens: that all they hold is looked for, and that one can read them with little at hand."""

import ast
import sys
from collections import Counter

import pytest

from specimens import CHAPTERS, HERE, LISTS, found, kinds, packages, specimens

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


@every_specimen
def test_it_holds_something(specimen):
    assert hasattr(specimen, "NODE") or any(hasattr(specimen, name) for name in LISTS)


def schemas() -> dict[str, ast.Call]:
    """What each file of a node says of it, by the name that its specimen should have."""
    files = [path for chapter in CHAPTERS for path in sorted((packages.ROOT / "nodes" / chapter).glob("*.py"))]
    calls = {path: ast.walk(ast.parse(path.read_text(encoding="utf-8"))) for path in files}
    return {
        f"specimens.{path.parent.name}.{path.stem}": call
        for path, parts in calls.items()
        for call in parts
        if isinstance(call, ast.Call) and getattr(call.func, "attr", "") == "Schema"
    }


def given(schema: ast.Call, name: str) -> ast.expr:
    return next(keyword.value for keyword in schema.keywords if keyword.arg == name)


def test_every_node_has_its_specimen_in_its_place():
    nodes = {name: ast.literal_eval(given(schema, "node_id")) for name, schema in schemas().items()}
    assert nodes == {module.__name__: module.NODE for module in specimens() if hasattr(module, "NODE")}


def test_every_node_that_changes_a_model_is_tried():
    """What it is tried with stands in its own specimen."""
    changing = {name for name, schema in schemas().items() if "model_output" in ast.unparse(given(schema, "outputs"))}
    tried = {module.__name__ for module in specimens() if getattr(module, "SETTINGS", ())}
    assert changing == tried
    assert all(s.node == module.NODE for module in specimens() for s in getattr(module, "SETTINGS", ()))


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
