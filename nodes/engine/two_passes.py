"""The pair of a model without a negative pass: what its steps evaluate, and what others are shown of it.

A step of the pair calls the model with the positive twice, and splits the two predictions before anyone sees them. From
then on the conditionings that other functions find beside the pair are those that predict it, as nearly as one pass
can: what they predict with these compares with what they see. Our own added terms compare with the first pass itself.
"""

from __future__ import annotations

import dataclasses
import functools

from torch import Tensor

from . import branches, guiders, stages
from .run import Run


def of_step(guider, run: Run, scale: float, left_out: bool, model_options: dict) -> dict:
    """Set what a step of the pair evaluates, and return the options that this takes.

    At weight 1 the pair is cond, which one pass predicts; the first of the two is made alone where the other is
    `left_out` by a stage that wants it no more. To the eyes of adapters all of them are the positive.
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
    """The pre-CFG function. The lists of conditionings, which the step made for itself, become those of the pair."""
    first, second, *others = args["conds_out"]
    run.call.first_pass = list(passes[0]), first
    for conds, make in zip(passes, (run.pair.cond, run.pair.uncond), strict=True):
        conds[:] = made(make, conds)
    return [*run.pair.split(first, second), *others]


def first_prediction(run: Run, cond: Tensor) -> Tensor:
    """What the positive's own pass predicted: the first of the two, or `cond` where there is no pair."""
    return cond if run.call.first_pass is None else run.call.first_pass[1]


def of_terms(args: dict, run: Run, moment: stages.Moment) -> tuple[dict, stages.Moment]:
    """A call as added terms see it: with a pair, that of its first pass alone, as if the second had not been made."""
    if run.call.first_pass is None:
        return args, moment
    conds, prediction = run.call.first_pass
    return {**args, "cond": conds}, dataclasses.replace(moment, cond=prediction, uncond=None)
