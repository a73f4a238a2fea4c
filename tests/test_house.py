"""The plan of the house: chapters, and imports that run one way."""

import ast
import graphlib
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
CHAPTERS = ("strength", "conditions", "negatives", "rules", "terms", "corrections", "samplers", "look")

# From the ground up: a file may import files of its own floor, but for chapters, and of those below.
FLOORS = {
    "workbench": [["workbench"]],
    "guidance": [["guidance/tensors"], ["guidance"], [f"guidance/{chapter}" for chapter in CHAPTERS[:-1]]],
    "nodes": [
        ["guidance"],
        ["nodes"],
        ["nodes/engine/networks"],
        ["nodes/engine"],
        [f"nodes/{chapter}" for chapter in CHAPTERS],
    ],
    "specimens": [["specimens"], [f"specimens/{folder}" for folder in ("tensors", *CHAPTERS)]],
    "lab": [["lab"], ["lab/models"], ["lab/measure", "lab/bench", "lab/pictures", "lab/documents"]],
}
# What finds the files of a package stands above them all, and so does the node of the lab.
ABOVE = {"__init__.py", "lab/nodes.py"}


def files(package: str) -> list[Path]:
    return sorted((ROOT / package).rglob("*.py"))


def imported(path: Path) -> set[str]:
    """The files of the repository that a file imports, at its top, in a function or for annotations alone."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.level:
            folder = path.parents[node.level - 1].joinpath(*(node.module or "").split("."))
            for name in [alias.name for alias in node.names]:
                found.add(file_of(folder, name).relative_to(ROOT).as_posix())
    return found


def file_of(folder: Path, name: str) -> Path:
    """The file that `from folder import name` reads the name from."""
    for path in (folder / f"{name}.py", folder / name / "__init__.py", folder.with_suffix(".py")):
        if path.is_file():
            return path
    return folder / "__init__.py"


def floor(package: str, path: str) -> int | None:
    """The floor of a file, counted from the ground; None for what stands above."""
    if Path(path).name in ABOVE or path in ABOVE:
        return 0 if path == "guidance/__init__.py" and package != "guidance" else None
    folder = Path(path).parent.as_posix()
    return next(i for i, folders in enumerate(FLOORS[package]) if folder in folders)


EVERY = [(package, path) for package in FLOORS for path in files(package)]
every_file = pytest.mark.parametrize(("package", "path"), EVERY, ids=lambda v: getattr(v, "stem", v))


@every_file
def test_imports_run_down(package, path):
    here = floor(package, path.relative_to(ROOT).as_posix())
    if here is None:
        return
    for other in imported(path) - {path.with_name("__init__.py").relative_to(ROOT).as_posix()}:
        there = floor(other.split("/")[0] if package == "lab" else package, other)
        assert there is not None and there <= here, f"{path.name} imports {other}"


# Ways round the imports that the tests here read: a module by its name, or by a name that only a running pack has.
BY_NAME = {"importlib", "pkgutil", "runpy", "azimuth", "nodes", "lab"}
ASKED = {"__import__", "eval", "exec", "sys.modules"}


@every_file
def test_files_of_the_house_are_imported_from_where_they_stand(package, path):
    """Only what finds or loads the files of a package goes by names."""
    if package == "lab" or path.name in ABOVE or path == ROOT / "specimens" / "packages.py":
        return
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            assert not {alias.name.split(".")[0] for alias in node.names} & BY_NAME
        elif isinstance(node, ast.ImportFrom) and not node.level:
            assert node.module.split(".")[0] not in BY_NAME
        elif isinstance(node, ast.Name | ast.Attribute):
            assert ast.unparse(node) not in ASKED


@every_file
def test_no_chapter_imports_another(package, path):
    folder = path.parent.name
    apart = {*CHAPTERS, "measure", "bench", "pictures", "documents"}
    if folder in apart:
        others = {Path(other).parent.name for other in imported(path)} - {folder}
        assert not others & apart


@pytest.mark.parametrize("package", FLOORS)
def test_no_files_import_each_other_in_a_circle(package):
    graph = {path.relative_to(ROOT).as_posix(): imported(path) for path in files(package)}
    graph = {path: {other for other in others if other.startswith(package)} for path, others in graph.items()}
    graphlib.TopologicalSorter(graph).prepare()  # raises CycleError, which names the circle


def test_no_test_file_imports_another():
    """That would load it a second time; what tests share stands in a file of its own."""
    for path in files("tests"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            names += [alias.name for alias in node.names] if isinstance(node, (ast.Import, ast.ImportFrom)) else []
            assert not any(name.split(".")[-1].startswith("test_") for name in names), path


def test_chapters_are_the_same_everywhere():
    """In the mathematics all but the last, which looks and does not count; tests where there is something to test."""
    for package, chapters in (("guidance", CHAPTERS[:-1]), ("nodes", CHAPTERS)):
        (listed,) = [
            ast.literal_eval(part.value)
            for part in ast.parse((ROOT / package / "__init__.py").read_text(encoding="utf-8")).body
            if isinstance(part, ast.Assign) and getattr(part.targets[0], "id", "") == "CHAPTERS"
        ]
        assert listed == chapters
        folders = {path.parent.relative_to(ROOT / package).parts[0] for path in (ROOT / package).rglob("*/*.py")}
        assert folders - {"engine", "tensors"} == set(chapters)
    described = {path.parent.name for path in (ROOT / "specimens").glob("*/*.py")}
    assert described <= {*CHAPTERS, "tensors"}
    tested = {path.parent.name for path in (ROOT / "tests").glob("guidance/*/test_*.py")}
    assert tested <= {*CHAPTERS, "tensors"}
    tested = {path.parent.name for path in (ROOT / "tests").glob("host/*/test_*.py")}
    assert tested <= {*CHAPTERS, "engine"}


def test_the_menu_counts_the_chapters():
    """It sorts them by name."""
    for number, chapter in enumerate(CHAPTERS, start=1):
        text = (ROOT / "nodes" / chapter / "__init__.py").read_text(encoding="utf-8")
        assert re.search(rf'^CATEGORY = "advanced/guidance/Azimuth/{number} [a-z ]+"$', text, re.MULTILINE), chapter


NODE_FILES = [
    path for chapter in CHAPTERS for path in sorted((ROOT / "nodes" / chapter).glob("*.py")) if path.name not in ABOVE
]


@pytest.mark.parametrize("path", NODE_FILES, ids=lambda path: path.stem)
def test_a_file_of_a_chapter_is_one_node_in_its_place_in_the_menu(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    assert "from . import CATEGORY" in map(ast.unparse, tree.body)
    (schema,) = [
        node for node in ast.walk(tree) if isinstance(node, ast.Call) and ast.unparse(node.func) == "io.Schema"
    ]
    assert "category=CATEGORY" in map(ast.unparse, schema.keywords)
    (node,) = [
        part.name for part in tree.body if isinstance(part, ast.ClassDef) and "io.ComfyNode" in ast.unparse(part)
    ]
    assert f"NODES = [{node}]" in map(ast.unparse, tree.body)


ARCHITECTURE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
ENGINE = ROOT / "nodes" / "engine"


def test_the_drawn_page_names_functions_files_and_hooks_that_exist():
    drawing = ARCHITECTURE.partition("```mermaid")[2].partition("```")[0]
    named = set(re.findall(r"\b([a-z_]+)\.([A-Za-z_]+)(?=[\s<:])", drawing)) - {("run", "py")}
    functions = {(file, name) for file, name in named if name != "py"}
    assert len(functions) >= 8
    for file, name in functions:
        tree = ast.parse((ENGINE / f"{file}.py").read_text(encoding="utf-8"))
        assert name in {part.name for part in tree.body if hasattr(part, "name")}, f"{file}.{name}"
    assert all((ENGINE / f"{file}.py").is_file() for file, _ in named)
    hooks = set(re.findall(r"\[([A-Z_]+)\]", drawing))
    pipeline = (ENGINE / "pipeline.py").read_text(encoding="utf-8")
    assert hooks == set(re.findall(r"WrappersMP\.([A-Z_]+):", pipeline))


def test_the_drawn_page_is_a_page():
    assert len(ARCHITECTURE.splitlines()) <= 40
