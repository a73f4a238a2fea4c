"""Tangential damping: what the negative does not share with the positive is taken out of it."""

from comfy_api.latest import io

from ...guidance import Constant, tcfg
from ..engine import inputs, pipeline
from ..engine.stages import Baseline
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
            ],
            outputs=[inputs.model_output()],
        )

    @classmethod
    def execute(cls, model, strength) -> io.NodeOutput:
        share = inputs.finite_float(NAME, "strength", strength, 0.0, 1.0)
        words = "the negative along the first singular vector"
        stage = Baseline(NAME, Constant(share), "strength", rule=damp, strength=share, words=words)
        return io.NodeOutput(pipeline.add_stage(model, stage))


NODES = [TangentialDamping]
