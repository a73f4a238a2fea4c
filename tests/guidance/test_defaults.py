"""What a function takes where it is told nothing: the paper's number, or what is neutral."""

import inspect

import pytest

import guidance as g
import specimens

DEFAULTS = {entry.name: entry.values for entry in specimens.found("DEFAULTS")}


def defaults(f) -> dict:
    parameters = inspect.signature(f).parameters.items()
    return {name: p.default for name, p in parameters if p.default not in (p.empty, None)}


@pytest.mark.parametrize("name", DEFAULTS)
def test_defaults(name):
    assert defaults(getattr(g, name)) == DEFAULTS[name]


def test_every_default_is_in_a_specimen():
    assert {name for name in g.__all__ if callable(getattr(g, name)) and defaults(getattr(g, name))} == set(DEFAULTS)
