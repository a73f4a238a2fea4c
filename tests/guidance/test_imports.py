"""guidance/ is mathematics: torch, math, and the parts of the standard library that describe values."""

import ast
from pathlib import Path

import pytest

import guidance

ALLOWED = {"torch", "math", "typing", "dataclasses", "functools", "collections"}
FILES = sorted(Path(guidance.__file__).parent.glob("**/*.py"))


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.name)
def test_imports_torch_and_math_alone(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            assert {alias.name.split(".")[0] for alias in node.names} <= ALLOWED
        elif isinstance(node, ast.ImportFrom):
            # One dot: nothing from beside or above guidance/, where the host's side of the pack lives.
            assert node.level == 1 or (node.level == 0 and node.module.split(".")[0] in ALLOWED)
        elif isinstance(node, ast.Name):
            assert node.id not in ("__import__", "eval", "exec", "open", "print")


@pytest.mark.parametrize("path", [p for p in FILES if p.name != "__init__.py"], ids=lambda p: p.name)
def test_every_file_has_its_card(path):
    card = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
    assert "Shapes:" in card or "Space:" in card
    for name in guidance.__all__:
        assert getattr(guidance, name).__doc__, name


def test_the_api_list_is_complete_and_sorted():
    assert guidance.__all__ == sorted(guidance.__all__)
    imported = {name for name in vars(guidance) if not name.startswith("_")}
    modules = {path.stem for path in FILES}
    assert imported - modules <= set(guidance.__all__) <= imported
