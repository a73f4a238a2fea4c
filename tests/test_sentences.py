"""What the pack tells its users of what does not work: every sentence ends with what to do about it."""

import ast
from pathlib import Path

import pytest

NODES = Path(__file__).resolve().parents[1] / "nodes"

# Functions that return the end of a sentence, or nothing.
REASONS = {"obstacle", "no_guidance_embedding", "no_way"}

# How a remedy begins; or the sentence ends with what another place words, which is looked at there.
REMEDY = ("; ", ", so ", "{why}.", "{reason}.")


def words(node: ast.AST) -> str:
    """A literal as the user sees it, with the names of what is filled in."""
    if isinstance(node, ast.JoinedStr):
        return "".join(words(value) for value in node.values)
    if isinstance(node, ast.FormattedValue):
        return f"{{{ast.unparse(node.value)}}}"
    return str(node.value) if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""


def of_what_fails(node: ast.AST) -> list[str]:
    """The sentences of a call or function that says why something has no effect, or warns."""
    if isinstance(node, ast.FunctionDef) and node.name in REASONS:
        return [words(inner.value) for inner in ast.walk(node) if isinstance(inner, ast.Return) and words(inner.value)]
    if not isinstance(node, ast.Call) or not node.args:
        return []
    called = ast.unparse(node.func)
    if called.endswith(".say_later"):
        return [words(node.args[1])] if not isinstance(node.args[1], ast.Name) else []
    if isinstance(node.args[0], ast.Name):  # a sentence that is found where it is made
        return []
    text = words(node.args[0])
    if called == "Unfit":
        return [text]
    if called.endswith(".say"):
        level = ast.unparse(node.args[1]) if len(node.args) > 1 else ""
        warns = "WARNING" in level or not level and called in ("self.say", "predictor.say")
        return [text] if warns or "no effect" in text else []
    return []


FOUND = [
    pytest.param(text, id=f"{path.stem} {text[:60]}")
    for path in sorted(NODES.rglob("*.py"))
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
    for text in of_what_fails(node)
]


def test_the_sentences_are_found():
    assert len(FOUND) > 40 and all(param.values[0] for param in FOUND)


@pytest.mark.parametrize("sentence", FOUND)
def test_a_sentence_of_what_has_no_effect_names_the_remedy(sentence):
    assert any(part in sentence for part in REMEDY), sentence
