"""What a link may bring, to every input of every node: taken for what it is, or refused in one sentence that helps."""

import math
import re
from fractions import Fraction
from types import SimpleNamespace

import numpy
import pytest
import torch
from azimuth.guidance import MOST_QUOTED, quoted
from azimuth.nodes import NODES
from azimuth.nodes.look.report import GuidanceReport
from places import PLACES, AtDefaults, places
from server import PromptServer
from tiny import model

LONG = "never heard of it " * 500
BROUGHT = {
    "None": None,
    "a number": 7,
    "a huge number": 10**400,
    "nan": math.nan,
    "inf": -math.inf,
    "complex": 7j,
    "True": True,
    "text": "7",
    "words": "upside down",
    "lines": "upside\ndown",
    "long text": LONG,
    "no text": "",
    "a list": [7.0],
    "an empty list": [],
    "a list of lists": [["7", 7]],
    "a dict": {"preset": "custom"},
    "an empty dict": {},
    "numpy float": numpy.float32(7.0),
    "numpy int": numpy.int64(7),
    "numpy bool": numpy.bool_(True),
    "numpy array": numpy.ones((2, 2)),
    "a tensor": torch.ones(3, 3),
    "an object": object(),
}
REPORT = AtDefaults("report", GuidanceReport, {"cfg": 7.0, "sigmas": torch.ones(2)})
EVERY = [*PLACES, *places(REPORT)]


def once_each(places):
    """The places, each input of a node once for every option that shows it."""
    return {(p.method.node, p.name, p.group and str(option(p))): p for p in reversed(places)}.values()


def option(place):
    acting = place.method.acting[place.group]
    return acting[place.group] if isinstance(acting, dict) else acting


PYTHON = re.compile(
    r"object|attribute|None\b|NoneType|unhashable|not supported|argument|subscript|iterable|convert|<class|\bint\b"
    r"|\bstr\b|Errno|Error|tensor\(|array\(|0x[0-9a-f]"
)


@pytest.fixture(autouse=True)
def no_page(monkeypatch):
    """The report is sent to a page, and there is none."""
    monkeypatch.setattr(PromptServer, "instance", SimpleNamespace(send_progress_text=lambda *_: None), raising=False)
    monkeypatch.setattr(GuidanceReport, "hidden", SimpleNamespace(unique_id="1"), raising=False)


def brought(place, value):
    """What is said when a link brings the value; empty where the node takes it."""
    try:
        if place.name == "model":
            place.method.on(value, **({"weak_model": model()} if "weak_model" in place.method.acting else {}))
        else:
            place.on(model(), value)
    except ValueError as refused:
        return str(refused)
    return ""


def wrong(said: str, place, value) -> list[str]:
    """What a sentence lacks."""
    rest = said.replace(quoted(value), "").removeprefix(place.node)
    checks = {
        "does not begin with the node": said.startswith(f"{place.node}, input "),
        "does not name the input": re.search(rf"\b{place.name}\b", rest) is not None,
        "has no remedy": said.count(";") == 1 and said.split(";")[1].strip() != "" or "choose one of" in said,
        "is not one sentence": said.endswith(".") and re.search(r"\.\s+[A-Z]", rest) is None and "\n" not in said,
        "has words of Python": PYTHON.search(rest) is None,
        "repeats a long text": LONG[: MOST_QUOTED + 1] not in said,
    }
    return [what for what, right in checks.items() if not right]


@pytest.mark.parametrize("place", once_each(EVERY), ids=lambda place: place.id)
def test_what_a_link_brings_is_taken_or_refused_in_a_sentence_that_helps(place):
    faults = {}
    for name, value in BROUGHT.items():
        said = brought(place, value)
        if said and (found := wrong(said, place, value)):
            faults[name] = (*found, said)
    assert faults == {}


def test_every_node_is_asked():
    assert {place.method.node for place in EVERY} == set(NODES)


NUMBERS = [numpy.float32(1.0), numpy.float64(1.0), numpy.int64(1), numpy.float16(1.0), Fraction(1)]
TAKES = {"FLOAT": (1.0, NUMBERS), "INT": (1, NUMBERS), "BOOLEAN": (True, [numpy.bool_(True), numpy.int64(1), 1, 1.0])}


SCALARS = [place for place in once_each(EVERY) if TAKES.keys() & set(place.types)]


@pytest.mark.parametrize("place", SCALARS, ids=lambda place: place.id)
def test_a_number_of_another_library_is_taken_as_pythons(place):
    python, others = next(TAKES[kind] for kind in TAKES if kind in place.types)
    expected = brought(place, python)
    assert [brought(place, other) for other in others] == [expected] * len(others)
