"""Norm-Capped Guidance: as much of the weight as keeps the prediction from growing."""

import functools

from comfy_api.latest import io

from ...guidance import pmc
from ..engine import inputs, pipeline
from ..engine.stages import Combine, up_to_1
from . import CATEGORY

NAME = "Norm-Capped Guidance (PMC-CFG)"


def cap(floor, m):
    return pmc(m.cond, m.uncond, scale=m.scale, gamma=m.value, floor=floor)


class NormCapped(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="AzimuthPMC",
            display_name=NAME,
            category=CATEGORY,
            description="Uses as much of the weight as keeps the norm of the prediction near that of the positive: "
            "little at first, all of it later on.",
            search_aliases=["PMC", "PMC-CFG", "norm cap", "adaptive cfg", "high cfg", "saturation"],
            inputs=[
                inputs.model_input(),
                inputs.number(
                    "gamma",
                    default=1.05,
                    low=1.0,
                    high=10.0,
                    step=0.01,
                    tooltip="Gamma, the largest norm of the guided prediction as a multiple of the positive's: 1.05 "
                    "(SiT) to 1.15 (SD3.5). A number or a Guidance Schedule. 1 = only what does not lengthen it; 10 = "
                    "nearly plain CFG.",
                ),
                inputs.plain_float(
                    "floor",
                    0.0,
                    0.0,
                    1.0,
                    0.05,
                    "Ours: the least share of w - 1 that is kept, whatever the cap: 0 (the paper) to 0.5, for "
                    "layouts that drift. 1 = plain CFG.",
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
    def execute(cls, model, gamma, floor, strength, start=0.0, end=1.0) -> io.NodeOutput:
        floor = inputs.finite_float(NAME, "floor", floor, 0.0, 1.0)
        stage = Combine(
            NAME,
            inputs.as_schedule(NAME, "gamma", gamma, 1.0, 10.0),
            "gamma",
            rule=functools.partial(cap, floor),
            off=lambda scale, value: floor == 1.0 or up_to_1(scale, value),
            **inputs.blend(NAME, strength, start, end),
            words=f"at most {{}} times the norm of the positive, at least {floor:g} of the weight",
            faint=up_to_1,
            fainter="no effect at weights of at most 1",
        )
        return io.NodeOutput(pipeline.add_stage(model, stage))


NODES = [NormCapped]
