"""Angle Domain Guidance: the weight turns the prediction instead of stretching it."""

import functools
import math

from comfy_api.latest import io

from ...guidance import angle_domain, rotate
from ..engine import inputs, pipeline
from ..engine.stages import Combine, up_to_1
from . import CATEGORY

NAME = "Angle Domain Guidance (ADG)"

RULES = {"paper": angle_domain, "exact rotation": rotate}


def turn(function, m):
    return function(m.cond, m.uncond, scale=m.scale, max_angle=math.radians(m.value))


class AngleDomain(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="AzimuthAngleDomain",
            display_name=NAME,
            category=CATEGORY,
            description="Guides by turning the conditional prediction away from the unconditional one by a bounded "
            "angle, so that a high weight does not burn the colours.",
            search_aliases=[
                "ADG",
                "angle domain guidance",
                "follow the prompt",
                "prompt adherence",
                "saturation",
                "high cfg",
            ],
            inputs=[
                inputs.model_input(),
                inputs.number(
                    "max_angle",
                    default=60.0,
                    low=0.0,
                    high=90.0,
                    step=0.5,
                    tooltip="The largest extra angle a = (w - 1) theta, in degrees; the paper's limit is 60 (pi/3). "
                    "Useful: 20 to 60. 0 = the conditional prediction alone, as at weight 1. strength 0 "
                    "switches it off.",
                ),
                io.Combo.Input(
                    "mode",
                    options=list(RULES),
                    default="paper",
                    tooltip="paper: as published (arXiv 2506.11039), the norm grows by up to sqrt(2). exact "
                    "rotation: ours, keeps the norm of the conditional prediction exactly.",
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
    def execute(cls, model, max_angle, mode, strength, start=0.0, end=1.0) -> io.NodeOutput:
        stage = Combine(
            NAME,
            inputs.as_schedule(NAME, "max_angle", max_angle, 0.0, 90.0),
            "max_angle",
            rule=functools.partial(turn, RULES[inputs.choice(NAME, "mode", mode, RULES)]),
            off=up_to_1,
            **inputs.blend(NAME, strength, start, end),
            words=f"{mode}, at most {{}} degrees",
            faint=up_to_1,
            fainter="no effect at weights of at most 1",
        )
        return io.NodeOutput(pipeline.add_stage(model, stage))


NODES = [AngleDomain]
