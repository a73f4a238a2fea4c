"""Distilled Guidance: the guidance embedding of Flux-like models, step by step; or cond and uncond from two values."""

import functools
import logging

from comfy_api.latest import io

from ...guidance import distilled_pair
from ..engine import conditioning, inputs, pipeline
from ..engine.stages import Condition, Pair
from . import CATEGORY

NAME = "Distilled Guidance (Flux)"
HIGHEST = 100.0

PASSES = {"all": lambda key: True, "positive": lambda key: not conditioning.is_negative(key)}


def embed(reached, run, place, cond, value):
    return conditioning.with_guidance(cond, value) if reached(place[0]) else cond


def say_if_overruled(run) -> None:
    if run.pair and all(map(run.makes_pair, run.steps)):
        run.say(
            f"{NAME}: the schedule has no effect, because two passes set the embedding at every step; narrow their "
            f"window or do without one of the two.",
            logging.WARNING,
        )


def embedding_stage(schedule, window, passes, low, high) -> Condition:
    return Condition(
        NAME,
        schedule,
        "guidance",
        window,
        rule=functools.partial(embed, PASSES[passes]),
        check=say_if_overruled,
        obstacle=conditioning.no_guidance_embedding,
        beside_pair=False,
        words="guidance embedding {}" + ("" if passes == "all" else " in the positive's passes"),
    )


def at(value, cond):
    return conditioning.with_guidance(cond, value)


def at_another(value, cond):
    return conditioning.as_another(at(value, cond))


def split(low, high, prediction_at_high, prediction_at_low):
    return distilled_pair(prediction_at_low, prediction_at_high, low_guidance=low, high_guidance=high)


def pair_stage(schedule, window, passes, low, high) -> Pair:
    if not low < high:
        raise ValueError(f"{NAME}, input low: {low:g} is not below high, {high:g}; make low smaller than high.")
    return Pair(
        NAME,
        schedule,
        "guidance",
        window,
        first=functools.partial(at, high),
        second=functools.partial(at_another, low),
        cond=functools.partial(at, 1.0),
        uncond=functools.partial(at_another, 0.0),
        split=functools.partial(split, low, high),
        obstacle=conditioning.no_guidance_embedding,
        words=f"weight {{}} from two passes, at guidance {low:g} and {high:g}",
    )


MODES = {"schedule": embedding_stage, "two passes": pair_stage}


class DistilledGuidance(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="AzimuthDistilledGuidance",
            display_name=NAME,
            category=CATEGORY,
            description="Sets the guidance embedding of Flux-dev and other guidance-distilled models step by step at "
            "no cost; or makes a pair of two passes, so that combine rules work there without a negative prompt.",
            search_aliases=["flux guidance", "distilled cfg", "guidance embed", "flux schedule", "hunyuan guidance"],
            inputs=[
                inputs.model_input(),
                io.Combo.Input(
                    "mode",
                    options=list(MODES),
                    default="schedule",
                    tooltip="schedule: guidance goes into the model at every step, in place of Flux Guidance. two "
                    "passes, at cfg 1: D_c and D_u are made from the predictions at high and low, so that APG, ADG and "
                    "every other rule act; twice the time.",
                ),
                inputs.number(
                    "guidance",
                    default=3.5,
                    low=0.0,
                    high=HIGHEST,
                    step=0.05,
                    tooltip="g, the embedding (schedule), or w, the weight of the pair (two passes): 2 to 4.5 for "
                    "Flux-dev, beyond 1 to 6 is extrapolation. A number or a Guidance Schedule. The value of Flux "
                    "Guidance (3.5 if there is none) = no change.",
                ),
                *inputs.window_inputs("it"),
                inputs.plain_float(
                    "low",
                    1.5,
                    0.0,
                    HIGHEST,
                    0.05,
                    "two passes: g1, the embedding of the weaker pass: 1 to 2. Below high. schedule ignores it; start "
                    "= end switches it off.",
                ),
                inputs.plain_float(
                    "high",
                    3.5,
                    0.0,
                    HIGHEST,
                    0.05,
                    "two passes: g2, the embedding of the stronger pass: what you would give to Flux Guidance, 3 to 4. "
                    "schedule ignores it; start = end switches it off.",
                ),
                io.Combo.Input(
                    "passes",
                    options=list(PASSES),
                    default="all",
                    tooltip="schedule, at cfg above 1: all passes get the embedding, or the positive's alone, as with "
                    "Flux Guidance on the positive. At cfg 1, and in two passes, there is no difference.",
                    advanced=True,
                ),
            ],
            outputs=[inputs.model_output()],
        )

    @classmethod
    def validate_inputs(cls, start=None, end=None):
        return inputs.validate_window(NAME, start, end)

    @classmethod
    def execute(cls, model, mode, guidance, start, end, low, high, passes) -> io.NodeOutput:
        stage = MODES[inputs.choice(NAME, "mode", mode, MODES)](
            inputs.as_schedule(NAME, "guidance", guidance, 0.0, HIGHEST),
            inputs.as_window(NAME, start, end),
            inputs.choice(NAME, "passes", passes, PASSES),
            inputs.finite_float(NAME, "low", low, 0.0, HIGHEST),
            inputs.finite_float(NAME, "high", high, 0.0, HIGHEST),
        )
        return io.NodeOutput(pipeline.add_stage(model, stage))


NODES = [DistilledGuidance]
