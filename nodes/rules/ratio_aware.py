"""Ratio-Aware Guidance: the weight of a sample is damped where its update is large beside its prediction."""

import functools
import logging

from comfy_api.latest import io

from ...guidance import Constant, cfg, ratio_aware_scale
from ..engine import inputs, pipeline
from ..engine.stages import Combine
from . import CATEGORY

NAME = "Ratio-Aware Guidance (RAAG, MAMBO-G)"

PRESETS = {"RAAG": (18.0, 12.0), "MAMBO-G": (10.0, 8.0)}  # w_max, alpha
CUSTOM = [
    inputs.plain_float(
        "w_max",
        10.0,
        1.0,
        100.0,
        0.05,
        "w_max, the weight where the update is nothing: 8 to 18. It counts with weight: w_max only. 1 = no guidance.",
    ),
    inputs.plain_float(
        "alpha",
        8.0,
        0.0,
        100.0,
        0.5,
        "alpha, how fast the weight falls as ||D_c - D_u|| grows beside ||x - D_u||: 5 to 15. 0 = it does not.",
    ),
]
TOPS = {"w_max": lambda w_max, scale: w_max, "sampler cfg": lambda w_max, scale: scale}


def damp(top, w_max, m):
    w = ratio_aware_scale(m.cond, m.uncond, x=m.x, scale=top(w_max, m.scale), alpha=m.value)
    return cfg(m.cond, m.uncond, scale=w)


def changes_nothing(top, w_max, scale, alpha):
    return alpha == 0.0 and top(w_max, scale) == scale


def say_where_it_does_little(run) -> None:
    if not run.network.is_flow and run.most(NAME) > 0.0:
        run.say(
            f"{NAME} does little on a model that is no flow model, where the weight stays close to its maximum; use "
            f"another combine rule there.",
            logging.WARNING,
        )


class RatioAware(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="AzimuthRatioAware",
            display_name=NAME,
            category=CATEGORY,
            description="Damps the weight while the update is large beside the prediction, which in flow models is at "
            "the start of a run, so that a high weight does not break the picture's layout.",
            search_aliases=["RAAG", "MAMBO-G", "ratio aware adaptive guidance", "magnitude aware", "flow", "high cfg"],
            inputs=[
                inputs.model_input(),
                inputs.preset_input(
                    PRESETS,
                    CUSTOM,
                    "w_max and alpha of RAAG (18, 12) or of MAMBO-G (10, 8), two versions of arXiv 2508.03442, or your "
                    "own. For flow models. strength 0 switches it off.",
                ),
                io.Combo.Input(
                    "weight",
                    options=list(TOPS),
                    default="w_max",
                    tooltip="What is damped. w_max: the preset's weight, in place of the sampler's cfg. sampler cfg: "
                    "the weight of the step, from the sampler or from Scheduled CFG; of the preset alpha alone counts.",
                ),
                inputs.strength_input(),
                *inputs.window_inputs("the rule", optional=True),
            ],
            outputs=[inputs.model_output()],
        )

    @classmethod
    def validate_inputs(cls, start=None, end=None, preset=None):  # the host passes the group of inputs too
        return inputs.validate_window(NAME, start, end)

    @classmethod
    def execute(cls, model, weight, strength, preset=None, start=0.0, end=1.0) -> io.NodeOutput:
        chosen = inputs.group("preset", preset)
        w_max, alpha = inputs.preset(NAME, PRESETS, CUSTOM, chosen).values()
        top = TOPS[inputs.choice(NAME, "weight", weight, TOPS)]
        stage = Combine(
            NAME,
            Constant(alpha),
            "alpha",
            check=say_where_it_does_little,
            rule=functools.partial(damp, top, w_max),
            off=functools.partial(changes_nothing, top, w_max),
            **inputs.blend(NAME, strength, start, end),
            acts_at_1=weight == "w_max",
            own_weight="w_max" if weight == "w_max" else "",
            words=f"{chosen['preset']}, at most {f'{w_max:g}' if weight == 'w_max' else weight}, alpha {{}}",
        )
        return io.NodeOutput(pipeline.add_stage(model, stage))


NODES = [RatioAware]
