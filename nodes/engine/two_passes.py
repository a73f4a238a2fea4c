"""What a `Pair` stage does: cond and uncond come from two passes of the positive, for models without a negative pass.

A step of the pair evaluates the positive twice. A pre-CFG function splits the two predictions into cond and uncond
before any other function sees them. It also exchanges the two conditionings for those that predict cond and uncond
directly, as nearly as one pass can: functions of other nodes that make a pass of their own can then compare it with the
pair. Our own added terms work on the first pass and its conditionings.
"""

from __future__ import annotations

import functools

from torch import Tensor

from . import branches, guiders, stages
from .run import Run


def of_step(guider, run: Run, scale: float, left_out: bool, model_options: dict) -> dict:
    """Set the guider's conditionings for a step of the pair, and return the options with which it is called.

    The step makes both passes, or one of them where the host makes no negative pass (weight 1). That one is
    `pair.cond`'s; it is the first of the two where a `Skip` stage has left the second out (`left_out`). Adapters are
    shown each pass as a positive.
    """
    pair, positive = run.pair, guider.conds["positive"]
    options = branches.showing(model_options, (0, 0))
    if not guiders.wants_negative_pass(guider, run.guider_kind, scale, model_options):
        alone = pair.first if left_out else pair.cond
        set_conds(guider, made(alone, positive), made(pair.uncond, positive))
        return options
    passes = made(pair.first, positive), made(pair.second, positive)
    set_conds(guider, *passes)
    functions = [functools.partial(split, run, passes), *options.get("sampler_pre_cfg_function", [])]
    return {**options, "sampler_pre_cfg_function": functions, "disable_cfg1_optimization": True}


def made(make, positive: list[dict]) -> list[dict]:
    return [make(cond) for cond in positive]


def set_conds(guider, cond: list[dict], uncond: list[dict]) -> None:
    guider.conds = {**guider.conds, "positive": cond, "negative": uncond}


def split(run: Run, passes: tuple[list, list], args: dict) -> list:
    """The pre-CFG function: the two predictions, split into cond and uncond.

    The lists in `passes` were made for this step alone. They are changed in place, because the host hands these very
    lists to every later function.
    """
    first, second, *others = args["conds_out"]
    run.call.first_pass = list(passes[0]), first
    for conds, make in zip(passes, (run.pair.cond, run.pair.uncond), strict=True):
        conds[:] = made(make, conds)
    return [*run.pair.split(first, second), *others]


def first_prediction(run: Run, cond: Tensor) -> Tensor:
    """What the positive's own pass predicted: the first of the two passes, or `cond` without a `Pair` stage."""
    return cond if run.call.first_pass is None else run.call.first_pass[1]


def of_terms(args: dict, run: Run, moment: stages.Moment) -> tuple[dict, stages.Moment]:
    """A call as added terms see it. With a `Pair` stage that is its first pass, as if the second had not been made."""
    if run.call.first_pass is None:
        return args, moment
    conds, prediction = run.call.first_pass
    return {**args, "cond": conds}, moment.but(cond=prediction, uncond=None)
