"""Every number that the pack names can be typed: the front-end keeps as many decimals as an input's `step` has."""

import math
import re
import sys
from pathlib import Path

import pytest
from comfy_api.latest import io
from rows import NODES

from specimens import found
from specimens.kinds import Node

PAGES = Path(__file__).resolve().parents[2] / "js" / "docs"
NUMBER = re.compile(r"(?<![\w./^·-])-?\d+(?:\.\d+)?(?:e-?\d+)?(?![\w%]|\.\d)")


def decimals(step: float) -> int:
    """The decimals that the front-end shows and keeps, as its `useFloatWidget` computes them."""
    return max(0, -math.floor(math.log10(step)))


def typed(facts: dict, number: float) -> float:
    """What becomes of a number that is typed into the widget: the front-end's `onFloatValueChange`."""
    places = decimals(facts["step"])
    unit = facts.get("round") or (10.0**-places if places else 0.0)
    rounded = round(math.floor(number / unit + 0.5) * unit, places) if unit else number
    return min(max(rounded, facts["min"]), facts["max"])


def floats(fields) -> dict[str, list[dict]]:
    """The facts of each input that takes a float, by its name; several where options of a dynamic input share it."""
    found_: dict[str, list[dict]] = {}
    for field in fields:
        if isinstance(field, io.DynamicCombo.Input):
            for option in field.options:
                for name, facts in floats(option.inputs).items():
                    found_.setdefault(name, []).extend(facts)
        elif "FLOAT" in field.get_io_type().split(","):
            found_.setdefault(field.id, []).append(field.as_dict())
    return found_


FLOATS = {kind: floats(node.define_schema().inputs) for kind, node in NODES.items()}


def numbers_in(text: str) -> list[float]:
    """The numbers of a text but for those of papers."""
    return [float(number) for number in NUMBER.findall(re.sub(r"\b\d{4}\.\d{5}\b", "", text))]


def of_presets(kind: str):
    """The numbers of the node's PRESETS, by the names of the inputs that its CUSTOM shows."""
    module = sys.modules[NODES[kind].__module__]
    fields = [field.id for field in getattr(module, "CUSTOM", [])]
    for numbers in vars(module).get("PRESETS", {}).values() if fields else ():
        yield from zip(fields, numbers, strict=False)


def of_page(kind: str):
    """The numbers of the help page that follow an input's name, or those of several inputs, as far as the next name."""
    names = "|".join(map(re.escape, FLOATS[kind]))
    page = (PAGES / f"{kind}.md").read_text(encoding="utf-8").split("## Cost")[0]
    for part in re.split(r"\n(?=\s*[-|#]|\s*\n)", page) if names else ():
        named = re.split(rf"((?:`(?:{names})`(?:, | and | or )?)+)", part)
        for inputs, text in zip(named[1::2], named[2::2], strict=True):
            clause = re.split(r"`\w+`", text)[0]  # a choice or another input
            for number in numbers_in(clause):
                yield from ((name, number) for name in re.findall(r"`(\w+)`", inputs))


def of_recipes():
    """Kind, input and number of all nodes in the example workflows, pictures, settings and SAMPLERs."""
    for recipe in found("WORKFLOWS"):
        yield from of_chain(recipe.ends)
    for picture in found("PICTURES"):
        yield from of_chain((*picture.chain, *filter(None, [picture.sampler])))
    for setting in [*found("SETTINGS"), *found("SAMPLERS")]:
        inputs = getattr(setting, "acting", None) or getattr(setting, "inputs", {})
        yield from of_chain((Node(setting.node, inputs),))


def of_chain(nodes):
    for node in nodes:
        for name, value in node.inputs.items():
            inner = value.items() if isinstance(value, dict) else [(name.rpartition(".")[2], value)]
            for last, number in inner:
                if isinstance(number, float):
                    yield node.kind, last, number
            value = value[0] if isinstance(value, tuple) and value else value
            if isinstance(value, Node):
                yield from of_chain((value,))


def lost(kind: str, named) -> dict:
    """The named numbers, within an input's limits, that no input of that name would keep."""
    return {
        f"{name} {number:g}": [f"{typed(facts, number):g}" for facts in FLOATS[kind][name]]
        for name, number in named
        if (inside := [facts for facts in FLOATS[kind].get(name, ()) if facts["min"] <= number <= facts["max"]])
        and not all(math.isclose(typed(facts, number), number, rel_tol=1e-9) for facts in inside)
    }


@pytest.mark.parametrize("kind", FLOATS)
def test_every_number_that_is_named_can_be_typed(kind):
    named = [(name, facts["default"]) for name, several in FLOATS[kind].items() for facts in several]
    named += [
        (name, number)
        for name, several in FLOATS[kind].items()
        for facts in several
        for number in numbers_in(facts["tooltip"])
    ]
    named += [*of_presets(kind), *of_page(kind)]
    named += [(name, number) for node, name, number in of_recipes() if node == kind]
    assert lost(kind, named) == {}


def test_the_numbers_are_found():
    assert ("sigma_low", 0.28) in of_page("AzimuthSchedule") and ("sigma_low", 0.34) in of_page("AzimuthSchedule")
    assert ("alpha", 0.125) in of_presets("AzimuthNAG") and ("eta", 0.0) in of_presets("AzimuthAPG")
    assert len(set(of_recipes())) > 100
    assert numbers_in("0.28 for SD3.5 (arXiv 2404.07724), -0.5 or 1e-6.") == [0.28, -0.5, 1e-6]


@pytest.mark.parametrize(
    ("kind", "name", "number"),
    [
        ("AzimuthScheduledCFG", "scale", 7.25),
        ("AzimuthReport", "cfg", 7.25),
        ("AzimuthSchedule", "inside", 7.25),
        ("AzimuthSchedule", "sigma_high", 5.42),
        ("AzimuthSkipLayer", "scale", 0.25),
        ("AzimuthSelfAttention", "scale", 0.75),
        ("AzimuthNAG", "alpha", 0.125),
        ("AzimuthDynamicNegative", "prior", 0.001),
    ],
)
def test_numbers_that_could_not_be_typed_can_be(kind, name, number):
    assert lost(kind, [(name, number)]) == {}


def test_what_the_front_end_would_make_of_a_number():
    facts = {"step": 0.1, "min": 0.0, "max": 10.0}
    assert typed(facts, 0.28) == 0.3 and typed({**facts, "round": 0.001}, 0.28) == 0.3
    assert typed({**facts, "step": 0.05}, 0.28) == 0.28 and typed(facts, 11.0) == 10.0
    assert [decimals(step) for step in (10.0, 1.0, 0.5, 0.1, 0.05, 0.01, 1e-3, 1e-6)] == [0, 0, 1, 1, 2, 2, 3, 6]
