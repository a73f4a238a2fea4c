"""Contrastive CFG: a further negative that repels where it is close, and a prompt that attracts where it is far."""

import functools

from comfy_api.latest import io

from ...guidance import contrastive_terms
from ..engine import inputs, pipeline
from ..engine.stages import Negative
from . import CATEGORY

NAME = "Contrastive CFG (CCFG)"

# The options of `norm`: whether the squares of a difference in eps are averaged.
PER_ELEMENT = {"sum (paper)": False, "mean (ours)": True}
TAU = inputs.plain_float(
    "tau",
    0.2,
    0.0,
    10000.0,
    0.05,
    "tau, how soon the prompt counts double and the negative no longer: 0.2 with the sum, 50 to 500 with the mean. "
    "0 = both as strong as the weight; strength 0 switches the node off.",
)


def contrast(knobs, m):
    terms = contrastive_terms(m.cond, m.uncond, m.other, scale=m.scale, sigma=m.sigma, kind=m.kind, **knobs)
    return m.value * terms


class ContrastiveCFG(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="AzimuthContrastiveCFG",
            display_name=NAME,
            category=CATEGORY,
            description="A further negative that lets go of the picture once its prediction is far off, and a prompt "
            "that then counts up to twice: halve the sampler's cfg.",
            search_aliases=["CCFG", "contrastive", "negative prompt", "contrastive guidance"],
            inputs=[
                inputs.model_input(),
                inputs.negative_input("D_n, the further negative; the sampler's negative should be empty"),
                TAU,
                io.Combo.Input(
                    "norm",
                    options=list(PER_ELEMENT),
                    default="sum (paper)",
                    tooltip="What tau multiplies, the squared difference of two noise predictions: its sum over the "
                    "latent as in the paper (arXiv 2411.17077), which saturates for pictures, or its mean, which is "
                    "ours. strength 0 switches the node off.",
                ),
                inputs.number(
                    "strength",
                    default=1.0,
                    low=0.0,
                    high=1.0,
                    step=0.05,
                    tooltip="The share of this rule in the result, blended with the result without it: 0.5 to 1. A "
                    "number or a Guidance Schedule. 0 = off, and costs nothing.",
                ),
                *inputs.window_inputs("this rule"),
            ],
            outputs=[inputs.model_output()],
        )

    @classmethod
    def validate_inputs(cls, start=None, end=None):
        return inputs.validate_window(NAME, start, end)

    @classmethod
    def execute(cls, model, negative, tau, norm, strength, start, end) -> io.NodeOutput:
        tau = inputs.finite_float(NAME, TAU.id, tau, TAU.min, TAU.max)
        norm = inputs.choice(NAME, "norm", norm, PER_ELEMENT)
        stage = Negative(
            NAME,
            inputs.as_schedule(NAME, "strength", strength, 0.0, 1.0),
            "strength",
            inputs.as_window(NAME, start, end),
            conditioning=inputs.conditioning(NAME, "negative", negative),
            term=functools.partial(contrast, {"tau": tau, "per_element": PER_ELEMENT[norm]}),
            mode=f"tau {tau:g}, {norm}",
        )
        return io.NodeOutput(pipeline.add_stage(model, stage))


NODES = [ContrastiveCFG]
