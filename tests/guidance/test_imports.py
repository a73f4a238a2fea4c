"""guidance/ is mathematics: torch, math, and the parts of the standard library that describe values."""

import ast
from collections import Counter
from pathlib import Path

import pytest

import guidance

ALLOWED = {"torch", "math", "numbers", "typing", "dataclasses", "functools", "collections"}
FINDS_FILES = {"importlib", "pkgutil"}  # in guidance/__init__.py alone
FOLDER = Path(guidance.__file__).parent
FILES = sorted(FOLDER.rglob("*.py"))
CARDS = [path for path in FILES if path.name != "__init__.py"]
every_card = pytest.mark.parametrize("path", CARDS, ids=lambda p: p.name)


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(FOLDER)))
def test_imports_torch_and_math_alone(path):
    allowed = ALLOWED | (FINDS_FILES if path == FOLDER / "__init__.py" else set())
    depth = len(path.relative_to(FOLDER).parts)
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            assert {alias.name.split(".")[0] for alias in node.names} <= allowed
        elif isinstance(node, ast.ImportFrom):
            # Never more dots than folders: above guidance/ the host's side of the pack lives.
            assert 1 <= node.level <= depth or (node.level == 0 and node.module.split(".")[0] in allowed)
        elif isinstance(node, ast.Name):
            assert node.id not in ("__import__", "eval", "exec", "open", "print")


@every_card
def test_every_file_has_its_card(path):
    card = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
    assert "Shapes:" in card or "Space:" in card


def test_every_public_name_has_a_docstring():
    assert [name for name in guidance.__all__ if not getattr(guidance, name).__doc__] == []


def test_every_file_of_a_chapter_gives_the_package_names_of_its_own():
    listed = Counter()
    for path in CARDS:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        exported = [
            name
            for part in tree.body
            if isinstance(part, ast.Assign) and getattr(part.targets[0], "id", "") == "__all__"
            for name in ast.literal_eval(part.value)
        ]
        assert exported or path.parent.name == "tensors", path
        listed.update(exported)
    assert sorted(listed.elements()) == guidance.__all__
