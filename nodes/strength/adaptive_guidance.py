"""Adaptive Guidance: the negative pass is left out once it says the same as the positive one."""

import functools

from comfy_api.latest import io

from ...guidance import Constant, adaptive_similarity
from ..engine import inputs, pipeline
from ..engine.stages import Skip, Window
from . import CATEGORY

NAME = "Adaptive Guidance"


def settled(space, m):
    # A sample that is not finite counts as settled, so that the others need not wait for it.
    return ~(adaptive_similarity(m.cond, m.uncond, x=m.x, sigma=m.sigma, kind=m.kind, space=space) < m.value)


SPACES = {"eps": functools.partial(settled, "eps"), "velocity": functools.partial(settled, "velocity")}


def never(scale, threshold):
    return threshold >= 1.0 or scale == 1.0


class AdaptiveGuidance(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="AzimuthAdaptiveGuidance",
            display_name=NAME,
            category=CATEGORY,
            description="Leaves the negative pass out, and saves its time, once it says the same as the positive one.",
            search_aliases=[
                "adaptive guidance",
                "skip negative",
                "faster",
                "speed",
                "more speed",
                "cosine similarity",
                "AG",
            ],
            inputs=[
                inputs.model_input(),
                inputs.plain_float(
                    "threshold",
                    0.991,
                    0.0,
                    1.0,
                    0.0005,
                    "gamma-bar, the cosine between the two predictions from which on the negative is left out: 0.98 to "
                    "0.998; 0.991 in the paper (arXiv 2312.12487). 1 = never, off.",
                ),
                inputs.progress(
                    "start",
                    0.4,
                    "Progress before which nothing is measured, so that the first steps are always guided (0 first "
                    "step, 1 last): 0.3 to 0.6. 0 = the first step alone.",
                ),
                io.Combo.Input(
                    "space",
                    options=list(SPACES),
                    default="velocity",
                    tooltip="What is compared in flow models: velocity, x - D, which tells two predictions apart from "
                    "the first step on; or eps, x - (1 - t) D, as in the paper. Other models: always eps.",
                ),
            ],
            outputs=[inputs.model_output()],
        )

    @classmethod
    def execute(cls, model, threshold, start, space) -> io.NodeOutput:
        threshold = inputs.finite_float(NAME, "threshold", threshold, 0.0, 1.0)
        stage = Skip(
            NAME,
            Constant(threshold),
            "threshold",
            Window(inputs.finite_float(NAME, "start", start, 0.0, 1.0)),
            remembers=threshold < 1.0,
            rule=SPACES[inputs.choice(NAME, "space", space, SPACES)],
            off=never,
            words=f"left out once the two agree to {{}} (flow models: {space})",
        )
        return io.NodeOutput(pipeline.add_stage(model, stage))


NODES = [AdaptiveGuidance]
