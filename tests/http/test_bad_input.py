"""What a user reads when an input is wrong, and that the server goes on serving."""

import math

import pytest

from .prompts import angle, cfg, cfgpp, negative, node, sampled, schedule, thresholding, words
from .server import Server, event, failure

REFUSED = {
    "scale too large": (cfg(scale=200.0), ["Scheduled", "scale", "200", "max of 100"]),
    "scale below zero": (cfg(scale=-1.0), ["Scheduled", "scale", "-1", "min of 0"]),
    "start after end": (cfg(start=0.9, end=0.2), ["Scheduled CFG", "input start", "0.9", "0.2"]),
    "start beyond the run": (cfg(start=1.5), ["Scheduled CFG", "start", "1.5"]),
    "no model": (cfg(model=None), ["Scheduled", "model", "Required input is missing"]),
    "no scale": (cfg(scale=None), ["Scheduled", "scale", "Required input is missing"]),
    "no number": (cfg(end="late"), ["Scheduled CFG, input end: got 'late'; connect or type a number"]),
    "unknown choice": (cfg(outside="nowhere"), ["Scheduled", "outside", "nowhere"]),
    "a text for a model": (cfg(model=["nothing", 0]), ["Scheduled", "model", "CONDITIONING"]),
    "negative window": (negative(start=0.6, end=0.5), ["Negative Guidance", "input start", "0.6", "0.5"]),
    "negative weight": (negative(weight=50.0), ["NegativeGuidance", "weight", "max of 20"]),
    "no negative": (negative(negative=None), ["NegativeGuidance", "negative", "Required input is missing"]),
    "percentile 2": (thresholding(percentile=2.0), ["DynamicThresholding", "percentile", "max of 1"]),
    "strength 3": (thresholding(strength=3.0), ["DynamicThresholding", "strength", "max of 1"]),
    "unknown mode": (thresholding(mode="sharp"), ["DynamicThresholding", "mode", "sharp"]),
    "angle 120": (angle(max_angle=120.0), ["AngleDomain", "max_angle", "max of 90"]),
    "lambda 2": (cfgpp(lam=2.0), ["CFGPlusPlus", "lam", "max of 1"]),
}

REFUSED_SCHEDULES = {
    "empty list": (schedule("per step", weights="  "), ["Guidance Schedule, input weights", "0 weights"]),
    "no numbers": (schedule("per step", weights="7, high, 3"), ["Guidance Schedule, input weights: 'high'"]),
    "out of range": (schedule("linear", first=2.0, last=300.0), ["Schedule", "last", "300", "100"]),
    "interval": (
        schedule("interval", inside=7.0, outside=1.0, start=0.8, end=0.3),
        ["Guidance Schedule, input start", "0.8", "0.3"],
    ),
    "missing": (schedule("linear", first=2.0), ["Schedule", "last", "Required input is missing"]),
}


def refused(server: Server, prompt: dict, expected: list[str]) -> None:
    said = server.refusal(prompt)
    assert [word for word in expected if word not in said] == [], said
    goes_on(server)


def goes_on(server: Server) -> None:
    assert failure(server.run(words())) == ""


@pytest.mark.parametrize("wrong, expected", REFUSED.values(), ids=REFUSED)
def test_refused_with_node_input_and_limit(server: Server, wrong: dict, expected: list[str]) -> None:
    refused(server, sampled("wrong", wrong=wrong), expected)


@pytest.mark.parametrize("wrong, expected", REFUSED_SCHEDULES.values(), ids=REFUSED_SCHEDULES)
def test_a_wrong_schedule_is_refused(server: Server, wrong: dict, expected: list[str]) -> None:
    refused(server, sampled("cfg", wrong=wrong, cfg=cfg(scale=["wrong", 0])), expected)


def test_what_is_wrong_with_a_schedule_is_said_once(server: Server) -> None:
    wrong, _ = REFUSED_SCHEDULES["interval"]
    said = server.refusal(sampled("cfg", wrong=wrong, cfg=cfg(scale=["wrong", 0])))
    assert said.count("input start: 0.8 is above end, 0.3; make start the smaller one.") == 1, said


def test_nan_in_a_schedule_is_refused(server: Server) -> None:
    wrong = schedule("linear", first=math.nan, last=2.0)
    refused(
        server,
        sampled("cfg", wrong=wrong, cfg=cfg(scale=["wrong", 0])),
        ["Guidance Schedule", "first", "nan"],
    )


# What the host lets through to the node or to the run: the nodes, the one to blame, and its words.
FAILING = {
    "unknown shape": (
        {"list": schedule("zigzag"), "wrong": cfg(scale=["list", 0])},
        "list",
        ["Guidance Schedule", "input shape", "choose one of", "linear"],
    ),
    "NaN": (
        {"wrong": cfg(scale=math.nan)},
        "wrong",
        ["Scheduled CFG", "input scale", "nan", "finite number"],
    ),
    "linked, out of range": (
        {"number": node("PrimitiveFloat", value=200.0), "wrong": cfg(scale=["number", 0])},
        "wrong",
        ["Scheduled CFG", "input scale", "200", "0 to 100"],
    ),
    "linked, start after end": (
        {"number": node("PrimitiveFloat", value=0.9), "wrong": cfg(start=["number", 0], end=0.2)},
        "wrong",
        ["Scheduled CFG", "input start", "0.9", "0.2"],
    ),
    "a number as text": (
        {"wrong": cfg(scale="7")},
        "wrong",
        ["Scheduled CFG, input scale: got '7'; connect or type a number in place of text."],
    ),
    "an option of another version": (
        {
            "list": node("AzimuthNegativePrompt", text="", preset="sculpture"),
            "nothing": node("CLIPTextEncode", clip=["lab", 1], text=["list", 0]),
            "wrong": cfg(),
        },
        "list",
        ["Negative Prompt Presets, input preset: got no option that it knows; choose one of universal, "],
    ),
    "partial above 1": (
        {"wrong": negative(mode="partial", weight=3.0)},
        "wrong",
        ["Negative Guidance", "input weight", "0 to 1"],
    ),
    "two combine rules": (
        {"first": thresholding(), "wrong": angle(model=["first", 0])},
        "wrong",
        ["Dynamic Thresholding", "Angle Domain Guidance"],
    ),
    "per-step list of the wrong length": (
        {"list": schedule("per step", weights="7 5 3"), "wrong": cfg(scale=["list", 0])},
        "sampler",
        ["Scheduled CFG", "scale", "3", "2"],
    ),
}


@pytest.mark.parametrize("nodes, blamed, expected", FAILING.values(), ids=FAILING)
def test_fails_in_the_node_with_its_name(server: Server, nodes: dict, blamed: str, expected: list[str]) -> None:
    error = event(server.run(sampled("wrong", **nodes)), "execution_error")
    assert error is not None, "The prompt ran."
    assert error["node_id"] == blamed, error["exception_message"]
    said = error["exception_message"]
    assert [word for word in expected if word not in said] == [], said
    goes_on(server)


def test_a_good_prompt_still_samples(server: Server) -> None:
    good = sampled("cfg", list=schedule("per step", weights="7 5"), cfg=cfg(scale=["list", 0]))
    history = server.run(good)
    assert failure(history) == ""
    assert history["outputs"]["out"]["images"]
