"""Momentum Guidance: the prediction moved on in the direction in which it has been changing."""

import functools

from comfy_api.latest import io

from ...guidance import momentum_guidance
from ..engine import inputs, pipeline
from ..engine.history import warn_of_overlap
from ..engine.stages import HISTORY, Correct
from . import CATEGORY

NAME = "Momentum Guidance (MG)"

HIGHEST = 2.0
BETA = inputs.plain_float(
    "beta",
    0.6,
    0.0,
    0.99,
    0.05,
    "beta, the share of the past in the running average: 0.5 to 0.7. 0 = the step before alone. alpha 0 switches the "
    "node off.",
)


def move_on(knobs, m):
    at = {"x": m.x, "sigma": m.sigma, "kind": m.kind, "begun": m.begun}
    return momentum_guidance(m.guided, **at, alpha=m.value, state=m.memory, **knobs)


class MomentumGuidance(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="AzimuthMomentumGuidance",
            display_name=NAME,
            category=CATEGORY,
            description="Moves every prediction on in the direction in which the steps before it were changing. Costs "
            "no pass, and needs no negative.",
            search_aliases=["MG", "momentum", "history", "few steps", "no negative"],
            inputs=[
                inputs.model_input(),
                inputs.number(
                    "alpha",
                    default=0.5,
                    low=0.0,
                    high=HIGHEST,
                    step=0.05,
                    tooltip="alpha (arXiv 2602.20360), how far the prediction is moved on: 0.3 to 0.5, and 1 to 1.5 at "
                    "a low cfg. A number or a Guidance Schedule. 0 = off, and costs nothing.",
                ),
                BETA,
                *inputs.level_inputs("the correction", 0.3, 0.95),
                inputs.strength_input(optional=True),
                *inputs.window_inputs("the correction", optional=True),
            ],
            outputs=[inputs.model_output()],
        )

    @classmethod
    def validate_inputs(cls, t_min=None, t_max=None, start=None, end=None):
        levels = inputs.validate_levels(NAME, t_min, t_max)
        return inputs.validate_window(NAME, start, end) if levels is True else levels

    @classmethod
    def execute(cls, model, alpha, beta, t_min, t_max, strength=1.0, start=0.0, end=1.0) -> io.NodeOutput:
        knobs = inputs.floats(NAME, [BETA], {"beta": beta})
        low, high = inputs.as_levels(NAME, t_min, t_max)
        remedy = "use a sampler without a memory, such as euler"
        stage = Correct(
            NAME,
            inputs.as_schedule(NAME, "alpha", alpha, 0.0, HIGHEST),
            "alpha",
            # The rule keeps averaging outside its noise levels, so they are its own and not the stage's window.
            rule=functools.partial(move_on, {**knobs, "t_min": low, "t_max": high}),
            off=lambda scale, value: value == 0.0,
            **inputs.blend(NAME, strength, start, end),
            phase=HISTORY,
            remembers=True,
            check=functools.partial(warn_of_overlap, NAME, 0.0, remedy),
            words=f"alpha {{}}, beta {knobs['beta']:g}, at noise levels {low:g} to {high:g}",
        )
        return io.NodeOutput(pipeline.add_stage(model, stage))


NODES = [MomentumGuidance]
