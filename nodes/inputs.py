"""Inputs that several nodes share, and the checks that a typed or linked value must pass.

The host checks typed values against min and max itself, but neither converts nor checks what arrives through a link.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from comfy_api.latest import io

from ..guidance import Constant, Schedule
from .run import step_at
from .stages import Window

CATEGORY = "advanced/guidance/Azimuth"

ScheduleType = io.Custom("GUIDANCE_SCHEDULE")


def model_input() -> io.Model.Input:
    return io.Model.Input("model", tooltip="The MODEL to guide. Chain Azimuth nodes like LoRAs, in any order.")


def model_output() -> io.Model.Output:
    return io.Model.Output(display_name="model", tooltip="The MODEL with this stage added; connect it to any sampler.")


def number(name: str, *, default: float, low: float, high: float, step: float, tooltip: str, **more):
    """A float that also takes a SCHEDULE in the same slot."""
    widget = io.Float.Input(
        name, default=default, min=low, max=high, step=step, round=min(step, 0.001), tooltip=tooltip, **more
    )
    return io.MultiType.Input(widget, types=[ScheduleType], advanced=more.get("advanced"))


def plain_float(name: str, default: float, low: float, high: float, step: float, tooltip: str) -> io.Float.Input:
    """A float without a socket for a SCHEDULE."""
    return io.Float.Input(name, default=default, min=low, max=high, step=step, round=min(step, 0.001), tooltip=tooltip)


def progress(name: str, default: float, tooltip: str) -> io.Float.Input:
    """A place in a run: 0 is the first step, 1 the last."""
    return io.Float.Input(name, default=default, min=0.0, max=1.0, step=0.01, round=0.001, tooltip=tooltip)


def window_inputs(what: str) -> list:
    return [
        progress(
            "start",
            0.0,
            f"Progress at which {what} begins (0 first step, 1 last): 0 to 0.3 is useful. 0 = from the start.",
        ),
        progress(
            "end",
            1.0,
            f"Progress at which {what} ends (not included): 0.5 to 1 is useful. 1 = to the end, last step included.",
        ),
    ]


def strength_input(symbol: str = "The share of this rule in the result") -> io.Float.Input:
    return io.Float.Input(
        "strength",
        default=1.0,
        min=0.0,
        max=1.0,
        step=0.05,
        round=0.001,
        tooltip=f"{symbol}, blended with the result without it: 0.5 to 1 is useful. 1 = all of it, 0 = off.",
    )


def finite_float(node: str, name: str, value, low: float, high: float) -> float:
    """The value as a float within [low, high]. Raises ValueError with a sentence that names node, input and remedy."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise ValueError(f"{node}, input {name}: got {value!r}; connect or type a finite number.")
    if not low <= value <= high:
        raise ValueError(f"{node}, input {name}: {value:g} is out of range; use a number from {low:g} to {high:g}.")
    return float(value)


def floats(node: str, fields: list[io.Float.Input], values: dict) -> dict[str, float]:
    """The values of float inputs, each checked against its own limits."""
    return {field.id: finite_float(node, field.id, values.get(field.id), field.min, field.max) for field in fields}


@dataclass(frozen=True)
class Limited:
    """A SCHEDULE at an input with limits, which its weights can only be compared with when a run gives the steps."""

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
    """A float or a SCHEDULE as a schedule. Raises ValueError for anything else."""
    if isinstance(value, Constant):
        value = value.value
    if isinstance(value, Schedule):
        return Limited(value, low, high)
    return Constant(finite_float(node, name, value, low, high))


def choice(node: str, name: str, value, options) -> str:
    """An option that may have come through a link. Raises ValueError, naming node, input and the options."""
    if value not in options:
        raise ValueError(f"{node}, input {name}: there is no {value!r}; choose one of {', '.join(options)}.")
    return value


def as_window(node: str, start, end) -> Window:
    """Raises ValueError if start or end is not a number in [0, 1], or start is after end."""
    window = Window(finite_float(node, "start", start, 0.0, 1.0), finite_float(node, "end", end, 0.0, 1.0))
    if window.start > window.end:
        raise ValueError(
            f"{node}, input start: the window starts at {window.start:g}, after its end at {window.end:g}; make start "
            f"smaller than end."
        )
    return window


def validate_window(node: str, start, end) -> bool | str:
    """For `validate_inputs`, which is asked before the run: linked values come as None and are checked later."""
    try:
        as_window(node, 0.0 if start is None else start, 1.0 if end is None else end)
    except ValueError as error:
        return str(error)
    return True
