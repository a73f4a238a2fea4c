"""Inputs that several nodes share, and the checks that a typed or linked value must pass.

The host checks typed values against min and max. What arrives through a link it neither converts nor checks.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy
from comfy_api.latest import io

from ...guidance import Constant, Schedule, is_number, quoted
from .stages import Window
from .steps import step_at

ScheduleType = io.Custom("GUIDANCE_SCHEDULE")


def model_input() -> io.Model.Input:
    return io.Model.Input("model", tooltip="The MODEL to guide. Chain Azimuth nodes like LoRAs, in any order.")


def model_output() -> io.Model.Output:
    return io.Model.Output(display_name="model", tooltip="The MODEL with this stage added; connect it to any sampler.")


def negative_input(what: str) -> io.Conditioning.Input:
    return io.Conditioning.Input(
        "negative", tooltip=f"{what}. From CLIP Text Encode; the text of the sampler's negative = no effect."
    )


class Limit(float):
    """A limit that the host may compare with anything.

    Of an input with two types it does so with whatever a prompt holds, where a plain float would raise in the host's
    own words. What is no number here passes, and is refused in the node.
    """

    def __lt__(self, other) -> bool:
        return is_number(other) and float(self) < other

    def __gt__(self, other) -> bool:
        return is_number(other) and float(self) > other


def number(name: str, *, default: float, low: float, high: float, step: float, tooltip: str, **more):
    """A float that also takes a SCHEDULE in the same slot."""
    widget = plain_float(name, default, Limit(low), Limit(high), step, tooltip, **more)
    return io.MultiType.Input(widget, types=[ScheduleType], advanced=more.get("advanced"))


def plain_float(
    name: str, default: float, low: float, high: float, step: float, tooltip: str, **more
) -> io.Float.Input:
    """A float without a socket for a SCHEDULE.

    The front-end shows and keeps as many decimals as the first digit of `step` is behind the point: two for 0.05 and
    for 0.01, one for 0.1 and for 0.5. Above that it shows none but keeps them, unless it is told to round.
    """
    whole_numbers = {"round": 1.0} if step >= 1.0 else {}
    return io.Float.Input(name, default=default, min=low, max=high, step=step, tooltip=tooltip, **whole_numbers, **more)


def progress(name: str, default: float, tooltip: str, **more) -> io.Float.Input:
    """A place in a run: 0 is the first step, 1 the last."""
    return plain_float(name, default, 0.0, 1.0, 0.01, tooltip, **more)


def window_inputs(what: str, **more) -> list:
    return [
        progress(
            "start",
            0.0,
            f"Progress at which {what} begins (0 first step, 1 last): 0 to 0.3 is useful. 0 = from the start.",
            **more,
        ),
        progress(
            "end",
            1.0,
            f"Progress at which {what} ends (not included): 0.5 to 1 is useful. 1 = to the end, last step included.",
            **more,
        ),
    ]


def level_inputs(what: str, t_min: float, t_max: float) -> list[io.Float.Input]:
    """A range of noise levels, for papers that time their method by the noise level and not by progress."""
    levels = "sigma of flow models, sigma/(1 + sigma) of others"
    return [
        plain_float(
            "t_min",
            t_min,
            0.0,
            1.0,
            0.05,
            f"Noise level ({levels}) below which {what} rests: 0.3 to 0.5. 0 = to the last step.",
        ),
        plain_float(
            "t_max",
            t_max,
            0.0,
            1.0,
            0.05,
            f"Noise level ({levels}) above which {what} rests: 0.9 to 1. 1 = from the first step.",
        ),
    ]


def strength_input(symbol: str = "The share of this node in the result", **more):
    return number(
        "strength",
        default=1.0,
        low=0.0,
        high=1.0,
        step=0.05,
        tooltip=f"{symbol}, blended with the result without it: 0.5 to 1 is useful. A number or a Guidance Schedule: "
        "sigma interval with 1 inside and 0 outside is a window of noise levels. 1 = all of it, 0 = off.",
        **more,
    )


def term_scale(default: float, useful: str):
    """The scale of an added term."""
    return number(
        "scale",
        default=default,
        low=0.0,
        high=100.0,
        step=0.05,
        tooltip=f"s, the weight of the added term: {useful}. A number or a Guidance Schedule. 0 = off, and costs "
        "nothing.",
    )


def blocks_input(default: str, useful: str) -> io.String.Input:
    """The blocks of the network that a weaker model is made of."""
    return io.String.Input(
        "blocks",
        default=default,
        tooltip=f"The blocks that are changed: {useful}. Transformers (SD3, Flux, video): 7-9, single 3. UNets (SD1.5, "
        "SDXL): middle 0, input 4, 5. scale 0 switches it off.",
    )


def preset_input(presets: dict[str, tuple], fields: list[io.Float.Input], tooltip: str) -> io.DynamicCombo.Input:
    """A choice between published numbers for these inputs, by name, and `custom`, which shows the inputs themselves."""
    named = [io.DynamicCombo.Option(name, []) for name in presets]
    return io.DynamicCombo.Input("preset", options=[*named, io.DynamicCombo.Option("custom", fields)], tooltip=tooltip)


def rescale_input(default: float = 0.0) -> io.Float.Input:
    return plain_float(
        "rescale",
        default,
        0.0,
        1.0,
        0.05,
        "How far the contrast is brought back to that of the positive: 0.7 where a high scale burns. 0 = off.",
        advanced=True,
    )


def finite_float(node: str, name: str, value, low: float, high: float) -> float:
    """The value as a float in [low, high]. Raises ValueError, naming node, input and remedy, for anything else."""
    if not is_number(value):
        what = "number in place of text" if isinstance(value, str) else "finite number"
        raise ValueError(f"{node}, input {name}: got {quoted(value)}; connect or type a {what}.")
    number = float(value)
    if not low <= number <= high:
        raise ValueError(f"{node}, input {name}: {number:g} is out of range; use a number from {low:g} to {high:g}.")
    return number


def whole(node: str, name: str, value, low: int, high: int) -> int:
    """The value as an int in [low, high]; a link may bring 2 as 2.0.

    Raises ValueError, naming node, input and remedy, for anything else.
    """
    number = finite_float(node, name, value, low, high)
    if not number.is_integer():
        raise ValueError(f"{node}, input {name}: got {quoted(value)}; use a whole number from {low} to {high}.")
    return int(number)


def floats(node: str, fields: list[io.Float.Input], values: dict) -> dict[str, float]:
    """The values of float inputs, each checked against its own limits."""
    return {field.id: finite_float(node, field.id, values.get(field.id), field.min, field.max) for field in fields}


def switch(node: str, name: str, value) -> bool:
    """The value as a bool; a link may bring 0 or 1. Raises ValueError, naming node, input and remedy, for others."""
    if not isinstance(value, bool | numpy.bool_) and not (is_number(value) and value in (0, 1)):
        raise ValueError(f"{node}, input {name}: got {quoted(value)}; connect or set a switch, true or false.")
    return bool(value)


def text(node: str, name: str, value) -> str:
    """The text. Raises ValueError, naming node, input and remedy, for anything else."""
    if not isinstance(value, str):
        raise ValueError(f"{node}, input {name}: got {quoted(value)}; connect or type a text.")
    return value


def a_model(node: str, name: str, value):
    """The MODEL. Raises ValueError, naming node, input and remedy, for anything else."""
    if not hasattr(value, "model_options"):
        raise ValueError(f"{node}, input {name}: got {quoted(value)}; connect a MODEL, such as that of a loader.")
    return value


def group(name: str, value) -> dict:
    """The values of the dynamic input `name`, its chosen option under its own name.

    The host hands on None where it does not know the option; what else is no dict came through a link.
    """
    return value if isinstance(value, dict) else {name: value}


def complete(values: dict, fields: list[io.Input]) -> bool:
    """Whether `validate_inputs` was handed a value for each of these inputs.

    The host says itself which one is missing. One that is linked is checked when it arrives.
    """
    return all(field.optional or values.get(field.id) is not None for field in fields)


def ordered(node: str, values: dict[str, float], lower: str, upper: str) -> None:
    """Raises ValueError if the value of the input `lower` is above that of `upper`."""
    low, high = values[lower], values[upper]
    if low > high:
        raise ValueError(f"{node}, input {lower}: {low:g} is above {upper}, {high:g}; make {lower} the smaller one.")


def preset(node: str, presets: dict[str, tuple], fields: list[io.Float.Input], chosen: dict) -> dict[str, float]:
    """The numbers that a `preset_input` stands for: those of the chosen preset, or those typed under `custom`."""
    name = choice(node, "preset", chosen.get("preset"), [*presets, "custom"])
    if name == "custom":
        return floats(node, fields, chosen)
    return dict(zip([field.id for field in fields], presets[name], strict=True))


@dataclass(frozen=True)
class Limited:
    """A SCHEDULE at an input with limits.

    Its weights are known, and compared with the limits, when a run gives the steps.
    """

    schedule: Schedule
    low: float
    high: float

    def for_run(self, sigmas: tuple[float, ...], kind: str) -> Schedule:
        bound = self.schedule.for_run(sigmas, kind)
        for i in range(len(sigmas) - 1):
            step = step_at(sigmas, i)
            value = bound.weight(step.progress, step.sigma)
            if not self.low <= value <= self.high:
                raise ValueError(
                    f"the schedule gives {value:g} at step {i + 1}, which is out of range; use {self.low:g} to "
                    f"{self.high:g}."
                )
        return bound

    def __str__(self) -> str:
        return str(self.schedule)


def as_schedule(node: str, name: str, value, low: float, high: float):
    """A float or a SCHEDULE as a schedule within [low, high]. Raises ValueError for anything else."""
    if isinstance(value, Constant):
        value = value.value
    if isinstance(value, Schedule):
        return Limited(value, low, high)
    return Constant(finite_float(node, name, value, low, high))


def conditioning(node: str, name: str, value) -> list:
    """The conditioning. Raises ValueError for what is none, and for an empty one, which is no prompt to the host."""
    parts = value if isinstance(value, list) else [value]
    if not all(isinstance(part, list | tuple) and len(part) == 2 and isinstance(part[1], dict) for part in parts):
        raise ValueError(f"{node}, input {name}: got {quoted(value)}; connect a CLIP Text Encode.")
    if not parts:
        raise ValueError(f"{node}, input {name}: the conditioning is empty; connect a CLIP Text Encode.")
    return value


def choice(node: str, name: str, value, options) -> str:
    """The chosen option, which may have come through a link. Raises ValueError, naming node, input and options."""
    if not isinstance(value, str):
        found = "got no option that it knows" if value is None else f"got {quoted(value)}"
    elif value not in options:
        found = f"there is no {quoted(value)}"
    else:
        return value
    raise ValueError(f"{node}, input {name}: {found}; choose one of {', '.join(options)}.")


def as_window(node: str, start, end) -> Window:
    """A window of progress. Raises ValueError if start or end is not a number in [0, 1], or start is after end."""
    window = Window(finite_float(node, "start", start, 0.0, 1.0), finite_float(node, "end", end, 0.0, 1.0))
    if window.start > window.end:
        raise ValueError(
            f"{node}, input start: the window starts at {window.start:g}, after its end at {window.end:g}; make start "
            f"smaller than end."
        )
    return window


def as_levels(node: str, t_min, t_max) -> tuple[float, float]:
    """(t_min, t_max). Raises ValueError if one is not a number in [0, 1], or t_min is not below t_max."""
    low, high = finite_float(node, "t_min", t_min, 0.0, 1.0), finite_float(node, "t_max", t_max, 0.0, 1.0)
    if low >= high:
        raise ValueError(f"{node}, input t_min: {low:g} is not below t_max, {high:g}; make t_min smaller than t_max.")
    return low, high


def validate_levels(node: str, t_min, t_max) -> bool:
    """What `validate_window` is for a window, for noise levels."""
    as_levels(node, 0.0 if t_min is None else t_min, 1.0 if t_max is None else t_max)
    return True


def blend(node: str, strength, start, end) -> dict:
    """What a blended stage has of these inputs: its strength and its window. Raises ValueError for bad ones."""
    return {"strength": as_schedule(node, "strength", strength, 0.0, 1.0), "window": as_window(node, start, end)}


def validate_window(node: str, start, end) -> bool:
    """True, for a node's `validate_inputs`. Raises ValueError if something is wrong with the window.

    The host calls that before anything runs, with None for linked values; these are checked when they arrive. What is
    raised it says once; what is returned it says once for every input that `validate_inputs` takes.
    """
    as_window(node, 0.0 if start is None else start, 1.0 if end is None else end)
    return True
