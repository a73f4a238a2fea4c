"""Tangential damping: what the negative does not share with the positive is taken out of it."""

from comfy_api.latest import io

from ...guidance import tcfg
from ..engine import inputs, pipeline
from ..engine.stages import WHOLE, Baseline
from . import CATEGORY

NAME = "Tangential Damping CFG (TCFG)"


def damp(m):
    return tcfg(m.cond, m.uncond, x=m.x)


class TangentialDamping(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="AzimuthTangentialCFG",
            display_name=NAME,
            category=CATEGORY,
            description="Takes out of the negative prediction what it does not share with the positive, before any "
            "combine rule guides away from it.",
            search_aliases=["TCFG", "tangential damping", "singular value", "svd", "overexposure"],
            inputs=[
                inputs.model_input(),
                inputs.strength_input("The share of the damped negative (arXiv 2503.18137; the paper's is 1)"),
                *inputs.window_inputs("the rule", optional=True),
            ],
            outputs=[inputs.model_output()],
        )

    @classmethod
    def validate_inputs(cls, start=None, end=None):
        return inputs.validate_window(NAME, start, end)

    @classmethod
    def execute(cls, model, strength, start=0.0, end=1.0) -> io.NodeOutput:
        blend = inputs.blend(NAME, strength, start, end)
        words = "the negative along the first singular vector"
        stage = Baseline(NAME, WHOLE, "strength", rule=damp, **blend, words=words)
        return io.NodeOutput(pipeline.add_stage(model, stage))


NODES = [TangentialDamping]
