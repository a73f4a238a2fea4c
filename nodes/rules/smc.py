"""Sliding Mode Guidance (SMC-CFG): the difference of the predictions, pushed to a surface on which it dies out."""

import functools
import logging

from comfy_api.latest import io

from ...guidance import smc
from ..engine import inputs, pipeline
from ..engine.stages import Combine
from . import CATEGORY

NAME = "Sliding Mode Guidance (SMC-CFG)"

ABSOLUTE = "absolute, flow only"
UNITS = ["relative", ABSOLUTE]

HIGHEST = 2.0
LAMBDA = inputs.plain_float(
    "lam",
    5.0,
    0.0,
    20.0,
    0.05,
    "lambda, how much the corrected error of the step before decides the side of the push: 5, or 0.05 as in the "
    "authors' code. 1 = not at all, less = against it. gain 0 switches the node off.",
)


def slide(knobs, m):
    return smc(m.cond, m.uncond, scale=m.scale, sigma=m.sigma, gain=m.value, state=m.memory, **knobs)


def warn_of_units(run) -> None:
    if not run.network.is_flow and run.most(NAME) > 0.0:
        run.say(
            f"{NAME}, input gain_unit: an absolute gain fits flow models only and destroys the picture of others; "
            f"choose relative.",
            logging.WARNING,
        )


class SlidingMode(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="AzimuthSMC",
            display_name=NAME,
            category=CATEGORY,
            description="CFG as a controller: every value of the difference between the predictions is pushed towards "
            "a surface on which it dies out, which holds a high weight back.",
            search_aliases=["SMC-CFG", "CFG-Ctrl", "sliding mode control", "high cfg"],
            inputs=[
                inputs.model_input(),
                inputs.number(
                    "gain",
                    default=0.2,
                    low=0.0,
                    high=HIGHEST,
                    step=0.01,
                    tooltip="K (arXiv 2603.03281), how far every value of the error is pushed: 0.1 to 0.3 of its mean "
                    "(relative), 0.2 in the authors' examples (absolute). A number or a Guidance Schedule. 0 = off: "
                    "plain CFG.",
                ),
                LAMBDA,
                io.Combo.Input(
                    "gain_unit",
                    options=UNITS,
                    default="relative",
                    tooltip="relative: gain times the mean error of each picture, for every model; not the paper's. "
                    "absolute, flow only: the paper's, in the units of a flow's velocity.",
                ),
                io.Boolean.Input(
                    "chatter_free",
                    default=False,
                    tooltip="Ours: only shrinks the error towards zero, without the sign changes of small values that "
                    "the paper's rule makes, and without a memory (lam is unused). Off = the paper's.",
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
    def execute(cls, model, gain, lam, gain_unit, chatter_free, strength, start=0.0, end=1.0) -> io.NodeOutput:
        knobs = inputs.floats(NAME, [LAMBDA], {"lam": lam})
        relative = inputs.choice(NAME, "gain_unit", gain_unit, UNITS) != ABSOLUTE
        chatter_free = inputs.switch(NAME, "chatter_free", chatter_free)
        side = "chatter-free" if chatter_free else f"lambda {knobs['lam']:g}"
        stage = Combine(
            NAME,
            inputs.as_schedule(NAME, "gain", gain, 0.0, HIGHEST),
            "gain",
            rule=functools.partial(slide, {**knobs, "relative": relative, "chatter_free": chatter_free}),
            off=lambda scale, value: value == 0.0,
            remembers=not chatter_free,
            check=None if relative else warn_of_units,
            **inputs.blend(NAME, strength, start, end),
            words=f"{'relative' if relative else 'absolute'} gain {{}}, {side}",
        )
        return io.NodeOutput(pipeline.add_stage(model, stage))


NODES = [SlidingMode]
