"""Guidance Schedule: a number that changes over the run, for every Azimuth input that takes one."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass

from comfy_api.latest import io

from ...guidance import (
    Beta,
    Compressed,
    Constant,
    Cosine,
    Curve,
    Exponential,
    Interval,
    Linear,
    Power,
    SigmaInterval,
    Steps,
    Triangle,
    quoted,
)
from .. import host
from ..engine import inputs
from . import CATEGORY

NAME = "Guidance Schedule"

HIGHEST = 100.0
HIGHEST_SIGMA = 1000.0
MOST_STEPS = 10000  # as many as the schedulers make


def weight(name: str, default: float, tooltip: str) -> io.Float.Input:
    return inputs.plain_float(name, default, 0.0, HIGHEST, 0.05, tooltip)


def positive(name: str, default: float, low: float, high: float, tooltip: str) -> io.Float.Input:
    return inputs.plain_float(name, default, low, high, 0.05, tooltip)


def ramp(first: float, last: float) -> list[io.Float.Input]:
    return [
        weight(
            "first",
            first,
            "w at the first step: 1 to 3 rising (arXiv 2404.13040), 7 to 12 falling. 1 = no negative pass there.",
        ),
        weight("last", last, "w at the last step: 7 to 12 rising, 1 to 3 falling. Equal to first = a constant."),
    ]


def open_above(sigma: float) -> float:
    """sigma, or infinity for the top of the input's range: no finite EDM sigma reaches the start of a flow, t = 1."""
    return math.inf if sigma >= HIGHEST_SIGMA else sigma


def numbers(text) -> tuple[float, ...]:
    """The weights of a text, separated by commas, semicolons, spaces or lines. Raises ValueError for anything else."""
    if not isinstance(text, str):
        raise ValueError(f"{NAME}, input weights: got {quoted(text)}; write one weight for each step.")
    words = [word for word in re.split(r"[\s,;]+", text) if word]
    if not 0 < len(words) <= MOST_STEPS:
        raise ValueError(f"{NAME}, input weights: it holds {len(words)} weights; write one weight for each step.")
    return tuple(map(number, words))


def number(word: str) -> float:
    try:
        found = float(word)
    except ValueError:
        raise ValueError(
            f"{NAME}, input weights: {quoted(word)} is no number; write one weight for each step, such as 7 7 5.5 1."
        ) from None
    return inputs.finite_float(NAME, "weights", found, 0.0, HIGHEST)


def curve(values: dict) -> Curve:
    try:
        points, straight = host.points_of(values["curve"])
        return Curve(points, values["low"], values["high"], smooth=not straight)
    except (ValueError, TypeError, KeyError, AttributeError):
        raise ValueError(
            f"{NAME}, input curve: got {quoted(values['curve'])}, not points between 0 and 1; draw a curve or link "
            f"a Curve Editor."
        ) from None


@dataclass(frozen=True)
class Shape:
    """One option of the node: its inputs, the schedule that their values make, and two of them that are in order."""

    name: str
    inputs: list
    build: Callable[[dict], object]
    ordered: tuple[str, str] | None = None  # the lower one first


SHAPES = (
    Shape(
        "interval",
        [
            weight("inside", 7.0, "w inside the interval: 5-8 for SD and SDXL. Equal to outside = a constant."),
            weight("outside", 1.0, "The weight outside; 1 = no negative pass there, which saves its time."),
            inputs.progress("start", 0.1, "Progress at which the interval begins: 0.1 to 0.3. 0 = at the first step."),
            inputs.progress("end", 0.8, "Progress at which it ends: 0.6 to 0.9. 1 = after the last step."),
        ],
        lambda v: Interval(v["inside"], v["outside"], v["start"], v["end"]),
        ("start", "end"),
    ),
    Shape(
        "sigma interval",
        [
            weight("inside", 7.0, "w inside the interval; 16 for SDXL in the paper. Equal to outside = a constant."),
            weight("outside", 1.0, "The weight outside; 1 = no negative pass there, which saves its time."),
            positive(
                "sigma_low",
                0.28,
                0.0,
                HIGHEST_SIGMA,
                "sigma_lo in EDM units, not included; SDXL: 0.28. 0 = to the end.",
            ),
            positive(
                "sigma_high", 5.42, 0.0, HIGHEST_SIGMA, "sigma_hi in EDM units; SDXL: 5.42. 1000 = from the first step."
            ),
        ],
        lambda v: SigmaInterval(v["inside"], v["outside"], v["sigma_low"], open_above(v["sigma_high"])),
        ("sigma_low", "sigma_high"),
    ),
    Shape("linear", ramp(2.0, 12.0), lambda v: Linear(v["first"], v["last"])),
    Shape("cosine", ramp(2.0, 12.0), lambda v: Cosine(v["first"], v["last"])),
    Shape(
        "power",
        [
            *ramp(2.0, 12.0),
            positive(
                "exponent",
                2.0,
                0.05,
                20.0,
                "s, the power of the progress: 0.5 to 3; above 1 stays near first for longer. 1 = linear.",
            ),
        ],
        lambda v: Power(v["first"], v["last"], v["exponent"]),
    ),
    Shape(
        "triangle",
        [
            weight("mean", 5.0, "w, the mean over the run, which is kept (stage-wise, arXiv 2509.22007): 3 to 9."),
            weight("low", 1.0, "The weight at both ends, before the mean is restored. Equal to mean = a constant."),
            io.Combo.Input(
                "mean_over",
                options=["steps", "time"],
                default="steps",
                optional=True,
                tooltip="What the mean is over: steps, or the model's time as in the paper. They differ for schedulers "
                "such as karras: 7.5 over 20 of its steps is 9.6 over time. Flow models: time in both.",
            ),
        ],
        lambda v: Triangle(v["mean"], v["low"], over=v["mean_over"]),
        ("low", "mean"),
    ),
    Shape(
        "beta",
        [
            weight(
                "scale", 7.0, "w, the mean over the run, times the Beta density (arXiv 2502.10574): 5 to 8. 0 = off."
            ),
            positive(
                "a", 2.0, 1.0, 20.0, "a: 1.5 to 4; larger moves the peak towards the end. a = b = 1 = a constant."
            ),
            positive(
                "b", 3.0, 1.0, 20.0, "b: 1.5 to 4; larger moves the peak towards the start. a = b = 1 = a constant."
            ),
            weight(
                "floor", 1.0, "The smallest weight; the paper has none, so its first step ignores the prompt. 0 = none."
            ),
        ],
        lambda v: Beta(v["scale"], v["a"], v["b"], v["floor"]),
    ),
    Shape(
        "exponential",
        [
            weight("scale", 5.0, "w0, the weight at pure noise (C2FG, arXiv 2603.08155): 3 to 6 for SD and SDXL."),
            positive(
                "rate",
                0.5,
                0.0,
                4.0,
                "lambda: the weight ends exp(lambda) times higher, 1.6 times at 0.5. 0.2 to 0.8. 0 = a constant.",
            ),
        ],
        lambda v: Exponential(v["scale"], v["rate"]),
    ),
    Shape(
        "compressed",
        [
            weight(
                "scale", 4.0, "w, the mean over the run, which is kept (Compress Guidance, arXiv 2408.11194): 3 to 5."
            ),
            positive(
                "share",
                0.5,
                0.05,
                1.0,
                "|G|/T, the part of the steps that is guided, at a weight so much higher: 0.4 to 0.7. 1 = all of them.",
            ),
            positive(
                "exponent",
                1.0,
                0.1,
                10.0,
                "k: 1 spreads the guided steps evenly, 1.5 to 3 puts more of them first. share 1 and k 1 = a constant.",
            ),
        ],
        lambda v: Compressed(v["scale"], v["share"], v["exponent"]),
    ),
    Shape(
        "curve",
        [
            io.Curve.Input(
                "curve",
                default=[(0.0, 1.0), (0.5, 0.0), (1.0, 0.0)],
                socketless=False,
                tooltip="Progress from left to right; the height runs from low to high. Drawn in Nodes 2.0 only; on "
                "the classic canvas link a Curve Editor or use per step.",
            ),
            weight("low", 1.0, "w at the bottom of the curve: 1 is useful, as it needs no negative pass."),
            weight("high", 7.0, "w at the top of the curve: 5 to 8 for SD and SDXL. Equal to low = a constant."),
        ],
        curve,
        ("low", "high"),
    ),
    Shape(
        "per step",
        [
            io.String.Input(
                "weights",
                default="7 7 7 7 7 7 5 5 5 5 5 5 3 3 3 3 1 1 1 1",
                multiline=True,
                tooltip="One weight for each step of the run, first to last, separated by spaces or commas. 1 = no "
                "negative pass at that step. Their number must be the sampler's steps.",
            )
        ],
        lambda v: Steps(numbers(v["weights"])),
    ),
    Shape(
        "constant",
        [weight("value", 7.0, "w, the weight of every step: 5 to 8 for SD and SDXL. 1 = off.")],
        lambda v: Constant(v["value"]),
    ),
)


def build(given):
    """The schedule of a shape's values. Raises ValueError with a sentence that names node, input and remedy."""
    chosen = inputs.group("shape", given)
    name = inputs.choice(NAME, "shape", chosen.get("shape"), [shape.name for shape in SHAPES])
    shape = next(shape for shape in SHAPES if shape.name == name)
    values = {field.id: chosen.get(field.id) for field in shape.inputs}
    values |= inputs.floats(NAME, [field for field in shape.inputs if isinstance(field, io.Float.Input)], values)
    for field in shape.inputs:
        if isinstance(field, io.Combo.Input):  # the host fills in None for one that is missing
            given = field.default if values[field.id] is None else values[field.id]
            values[field.id] = inputs.choice(NAME, field.id, given, field.options)
    if shape.ordered:
        inputs.ordered(NAME, values, *shape.ordered)
    return shape.build(values)


class GuidanceSchedule(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="AzimuthSchedule",
            display_name=NAME,
            category=CATEGORY,
            description="A number that changes over the run. Connect it to the scale of Scheduled CFG, or to any "
            "Azimuth input with a schedule socket. Progress 0 is the first step, 1 the last.",
            search_aliases=[
                "cfg schedule",
                "guidance interval",
                "dynamic cfg",
                "curve",
                "sigma interval",
                "C2FG",
                "compress guidance",
                "cfg truncation",
                "weight schedule",
            ],
            inputs=[
                io.DynamicCombo.Input(
                    "shape",
                    options=[io.DynamicCombo.Option(shape.name, shape.inputs) for shape in SHAPES],
                    tooltip="How the number changes over the run. constant = it does not.",
                )
            ],
            outputs=[
                inputs.ScheduleType.Output(display_name="schedule", tooltip="For any Azimuth input that takes one.")
            ],
        )

    @classmethod
    def validate_inputs(cls, **values):
        chosen = inputs.group("shape", values.get("shape"))
        shape = next((shape for shape in SHAPES if shape.name == chosen.get("shape")), None)
        if shape and inputs.complete(chosen, shape.inputs):
            build(chosen)  # which raises
        return True

    @classmethod
    def execute(cls, shape=None) -> io.NodeOutput:
        return io.NodeOutput(build(shape))


NODES = [GuidanceSchedule]
