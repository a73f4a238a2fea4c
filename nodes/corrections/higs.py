"""History Guidance: the fine detail in which a prediction differs from those of the steps before it, amplified."""

import functools

from comfy_api.latest import io

from ...guidance import higs
from ..engine import inputs, pipeline
from ..engine.history import warn_of_overlap
from ..engine.stages import HISTORY, Correct
from . import CATEGORY

NAME = "History Guidance (HiGS)"

# Above this weight, samplers that reuse earlier steps are reported to collapse.
MULTISTEP_WEIGHT = 0.5

HIGHEST = 5.0
NUMBERS = [
    inputs.plain_float(
        "average",
        0.75,
        0.05,
        1.0,
        0.05,
        "alpha, the share of the newest prediction in the running average: 0.5 or 0.75. 1 = the step before alone. "
        "weight 0 switches the node off.",
    ),
    inputs.plain_float(
        "eta",
        1.0,
        0.0,
        1.0,
        0.05,
        "eta, the share that is kept of the part along the prediction, which raises the contrast: 1 at a low cfg, 0 at "
        "a high one. 1 = all.",
    ),
]


def amplify(knobs, m):
    return higs(m.guided, sigma=m.sigma, kind=m.kind, weight=m.value, begun=m.begun, state=m.memory, **knobs)


class HistoryGuidance(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="AzimuthHiGS",
            display_name=NAME,
            category=CATEGORY,
            description="Amplifies the fine detail in which a prediction differs from those of the steps before it. "
            "Costs no pass, and needs no negative.",
            search_aliases=["HiGS", "history guided sampling", "momentum", "few steps", "fine detail", "no negative"],
            inputs=[
                inputs.model_input(),
                inputs.number(
                    "weight",
                    default=1.75,
                    low=0.0,
                    high=HIGHEST,
                    step=0.05,
                    tooltip="w (arXiv 2509.22300), how strongly the new detail is amplified: 1 to 3, and 0.5 at most "
                    "with samplers such as dpmpp_2m. A number or a Guidance Schedule. 0 = off, and costs nothing.",
                ),
                *NUMBERS,
                *inputs.level_inputs("the correction", 0.4, 1.0),
                io.Boolean.Input(
                    "bias_correction",
                    default=False,
                    tooltip="The paper's average starts at zero and is too small in the first steps (off). On: ours, "
                    "an average from the start. It matters with eta 1.",
                    advanced=True,
                ),
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
    def execute(
        cls, model, weight, average, eta, t_min, t_max, bias_correction, strength=1.0, start=0.0, end=1.0
    ) -> io.NodeOutput:
        knobs = inputs.floats(NAME, NUMBERS, {"average": average, "eta": eta})
        low, high = inputs.as_levels(NAME, t_min, t_max)
        bias_correction = inputs.switch(NAME, "bias_correction", bias_correction)
        remedy = f"use a weight of {MULTISTEP_WEIGHT:g} at most, or a sampler without a memory, such as euler"
        stage = Correct(
            NAME,
            inputs.as_schedule(NAME, "weight", weight, 0.0, HIGHEST),
            "weight",
            # The rule keeps averaging outside its noise levels, so they are its own and not the stage's window.
            rule=functools.partial(amplify, {**knobs, "t_min": low, "t_max": high, "bias_correction": bias_correction}),
            off=lambda scale, value: value == 0.0,
            **inputs.blend(NAME, strength, start, end),
            phase=HISTORY,
            remembers=True,
            check=functools.partial(warn_of_overlap, NAME, MULTISTEP_WEIGHT, remedy),
            words=f"weight {{}}, average {knobs['average']:g}, eta {knobs['eta']:g}, at noise levels {low:g} to "
            f"{high:g}{', bias corrected' if bias_correction else ''}",
        )
        return io.NodeOutput(pipeline.add_stage(model, stage))


NODES = [HistoryGuidance]
