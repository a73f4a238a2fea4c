"""Published numbers: every preset is a run with its numbers typed, and they are what the rule works with."""

import functools
import sys

import pytest
import torch
from azimuth import guidance
from azimuth.nodes.engine import stages
from azimuth.nodes.terms import skip_layer
from methods import BY_NAME, METHODS
from places import places
from tiny import distance, model, noise, run_node, sample


def typed(method):
    """The inputs in whose place a preset of the node gives numbers: those under custom, if the presets have none."""
    preset = next((place for place in places(method) if place.name == "preset"), None)
    shown = {option.key: option.inputs for option in preset.given.options} if preset else {}
    return [] if any(inputs for key, inputs in shown.items() if key != "custom") else shown.get("custom", [])


def presets(method):
    """The numbers of each preset, as the file of the node has them."""
    return sys.modules[method.node.__module__].PRESETS


NAMED = {method.node: method for method in reversed(METHODS) if typed(method)}.values()
ROWS = [
    pytest.param(method.name, preset, id=f"{method.name}-{preset}") for method in NAMED for preset in presets(method)
]


def chosen(name, preset, kind="eps", **numbers):
    return BY_NAME[name].on(model(kind), preset={"preset": preset, **numbers})


@pytest.mark.parametrize(("name", "preset"), ROWS)
def test_a_preset_is_its_numbers_typed(name, preset):
    ids = [given.id for given in typed(BY_NAME[name])]
    numbers = dict(zip(ids, presets(BY_NAME[name])[preset], strict=True))
    preset_run = sample(chosen(name, preset, "flow"), steps=3)
    assert torch.equal(preset_run, sample(chosen(name, "custom", "flow", **numbers), steps=3))
    assert distance(preset_run, plain()) > 1e-3


@functools.cache
def plain():
    return sample(model("flow"), steps=3)


def projected(c, u, w, m, r, beta):
    """The paper's step with eta 0, and the update that it remembers."""
    m = c - u + beta * m
    g = m * min(1.0, r / m.norm().item())
    return c + (w - 1.0) * (g - (g * c).sum() / (c * c).sum() * c), m


@pytest.mark.parametrize(
    ("preset", "r", "beta"),
    [("SDXL", 15, -0.5), ("SD2.1", 7.5, -0.75), ("SD1.5", 6.5, -0.5), ("EDM2", 2.5, -0.75), ("DiT", 5, -0.5)],
)
def test_apg_works_with_the_numbers_of_the_paper(preset, r, beta):
    (stage,) = stages.of(chosen("apg", preset))
    memory, m = guidance.Memory(), 0.0
    for step in range(3):
        memory.begin(step)
        c, u = 3.0 * noise(size=16, seed=step), noise(size=16, seed=step + 10)
        expected, m = projected(c, u, 8.0, m, r, beta)
        assert m.norm() > r
        network = guidance.Parametrisation()
        moment = stages.Moment(
            c, u, c, torch.ones(1), network, (1.0, 0.0), 8.0, value=stage.schedule.value, memory=memory
        )
        torch.testing.assert_close(stage.rule(moment), expected)


@pytest.mark.parametrize(
    ("preset", "words"),
    [
        ("SLG: SD3.5 medium", "scale 2.8, block skipped, blocks 7-9 while progress is 0.01 to 0.2"),
        ("STG: LTX", "scale 1, attention skipped, blocks 19, rescale 0.7 in network"),
        ("STG: Mochi", "scale 1, block skipped, blocks 34"),
        ("STG: HunyuanVideo", "scale 1, block skipped, blocks 2"),
        ("S2: any model", "scale 0.25, block skipped, 1 random, seed 0 while progress is 0.1 to 0.9"),
        ("custom", "scale 1, block skipped, blocks middle 0"),
    ],
)
def test_a_preset_of_skip_layer_guidance_begins_with_the_published_numbers(preset, words):
    begins = {field.id: field.as_dict()["default"] for field in skip_layer.PRESETS[preset].fields}
    (stage,) = stages.of(run_node(skip_layer.SkipLayer, model(), {"preset": preset, **begins}))
    assert str(stage) == f"{skip_layer.NAME}: {words}"


def test_a_number_of_a_preset_takes_a_schedule_and_a_window_is_checked_before_the_run():
    patched = BY_NAME["slg"].on(model(), scale=guidance.Linear(2.0, 0.0))
    assert "scale linear 2 to 0" in str(stages.of(patched)[0])
    window = {**BY_NAME["slg"].acting, "start": 0.8, "end": 0.2}
    with pytest.raises(ValueError, match="input start"):
        skip_layer.SkipLayer.validate_inputs(preset=window)
    assert skip_layer.SkipLayer.validate_inputs(preset={**window, "start": None}) is True  # start is linked
    assert skip_layer.SkipLayer.validate_inputs() is True
