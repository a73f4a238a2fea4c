"""Skimmed CFG: a lower weight at the values that the step's weight drives furthest out."""

import functools
from collections.abc import Callable
from dataclasses import dataclass

from comfy_api.latest import io

from ...guidance import skimmed, skimmed_exact
from ..engine import inputs, pipeline
from ..engine.stages import Combine, up_to_1
from . import CATEGORY

NAME = "Skimmed CFG"


@dataclass(frozen=True)
class Mode:
    """A rule, and `off(scale, skim_scale)`: whether the rule is plain CFG there."""

    function: Callable
    off: Callable[[float, float], bool]


def nothing_to_skim(scale, value):
    return scale <= value and scale != 1.0  # at 1 it counts as on, so that the run logs that it has no effect


def never(scale, value):
    return False


MODES = {"exact": Mode(skimmed_exact, nothing_to_skim), "as published": Mode(skimmed, never)}


def skim(function, flip_filter, full_negative, m):
    x = m.x if flip_filter else None
    return function(m.cond, m.uncond, scale=m.scale, x=x, skim=m.value, full_negative=full_negative)


class SkimmedCFG(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="AzimuthSkimmedCFG",
            display_name=NAME,
            category=CATEGORY,
            description="Gives the values that a high weight drives furthest out a lower weight, so that the rest of "
            "the picture can be guided strongly without burning.",
            search_aliases=["skimmed cfg", "skimming", "anti burn", "high cfg", "saturation"],
            inputs=[
                inputs.model_input(),
                inputs.number(
                    "skim_scale",
                    default=4.0,
                    low=0.0,
                    high=100.0,
                    step=0.05,
                    tooltip="s, the lower weight, while the sampler's cfg w may be 8 to 20: 3 to 7 for SD and SDXL, 2 "
                    "to 4 for SD3. A number or a Guidance Schedule. In mode exact, s = w or more switches it off.",
                ),
                io.Combo.Input(
                    "mode",
                    options=list(MODES),
                    default="exact",
                    tooltip="exact: ours, the values that are skimmed get the weight s. as published: they get "
                    "1 + (w - 1) s/w or w s/(w - 1), the latter above w once s > w - 1.",
                ),
                io.Boolean.Input(
                    "flip_filter",
                    default=True,
                    tooltip="On: a value is skimmed only if guidance drives it beyond the noisy latent. Off: more "
                    "values are skimmed. strength 0 switches the node off.",
                    advanced=True,
                ),
                io.Boolean.Input(
                    "full_negative",
                    default=False,
                    tooltip="On: where the negative lies further out than the positive, the value is left unguided. "
                    "Off: it gets the lower weight like the others.",
                    advanced=True,
                ),
                inputs.strength_input(),
                *inputs.window_inputs("the rule", optional=True),
            ],
            outputs=[inputs.model_output()],
        )

    @classmethod
    def validate_inputs(cls, start=None, end=None):
        return inputs.validate_window(NAME, start, end)

    @classmethod
    def execute(
        cls, model, skim_scale, mode, flip_filter, full_negative, strength, start=0.0, end=1.0
    ) -> io.NodeOutput:
        chosen = MODES[inputs.choice(NAME, "mode", mode, MODES)]
        flip_filter = inputs.switch(NAME, "flip_filter", flip_filter)
        full_negative = inputs.switch(NAME, "full_negative", full_negative)
        stage = Combine(
            NAME,
            inputs.as_schedule(NAME, "skim_scale", skim_scale, 0.0, 100.0),
            "skim_scale",
            rule=functools.partial(skim, chosen.function, flip_filter, full_negative),
            off=up_to_1 if full_negative else lambda scale, value: up_to_1(scale, value) or chosen.off(scale, value),
            **inputs.blend(NAME, strength, start, end),
            words=f"{mode}, down to weight {{}}",
            faint=up_to_1,
            fainter="no effect at weights of at most 1",
        )
        return io.NodeOutput(pipeline.add_stage(model, stage))


NODES = [SkimmedCFG]
