"""Guidance Norm Limit: the guided prediction at most as long as the positive one, as a whole or pixel by pixel."""

import functools

from comfy_api.latest import io

from ...guidance import norm_limit
from ..engine import inputs, pipeline
from ..engine.stages import LIMIT, Correct
from . import CATEGORY

NAME = "Guidance Norm Limit"

SCOPES = ["sample", "pixel"]


def limited(scope, m):
    return norm_limit(m.guided, m.cond, limit=m.value, scope=scope)


def little_to_limit(scale, value):
    """For `Correct.faint`: at a weight of at most 1, a limit of at least 1 has little to do.

    The result is a mean of the two predictions there, and at most as long as the longer one.
    """
    return scale <= 1.0 <= value


class NormLimit(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="AzimuthNormLimit",
            display_name=NAME,
            category=CATEGORY,
            description="Scales the guided prediction down where it is longer than the positive one, so that a high "
            "weight changes the picture but not its contrast.",
            search_aliases=["CFGNorm", "RenormCFG", "cfg renorm", "cfg norm", "saturation", "high cfg"],
            inputs=[
                inputs.model_input(),
                inputs.number(
                    "limit",
                    default=1.0,
                    low=0.5,
                    high=10.0,
                    step=0.05,
                    tooltip="k, how often as long as the positive prediction the result may be: 1 to 1.5. Below 1 it "
                    "fades even without guidance. 10 = hardly ever a limit; strength 0 switches it off.",
                ),
                io.Combo.Input(
                    "scope",
                    options=SCOPES,
                    default="sample",
                    tooltip="sample: one factor for the whole picture, as in Lumina-Image 2.0 (arXiv 2503.21758). "
                    "pixel: one factor for every place of the latent, as in the host's CFGNorm; it evens out more.",
                ),
                inputs.strength_input(),
                *inputs.window_inputs("the correction", optional=True),
            ],
            outputs=[inputs.model_output()],
        )

    @classmethod
    def validate_inputs(cls, start=None, end=None):
        return inputs.validate_window(NAME, start, end)

    @classmethod
    def execute(cls, model, limit, scope, strength, start=0.0, end=1.0) -> io.NodeOutput:
        scope = inputs.choice(NAME, "scope", scope, SCOPES)
        stage = Correct(
            NAME,
            inputs.as_schedule(NAME, "limit", limit, 0.5, 10.0),
            "limit",
            rule=functools.partial(limited, scope),
            **inputs.blend(NAME, strength, start, end),
            words=f"per {scope}, at most {{}} times the positive",
            faint=little_to_limit,
            fainter="no effect, or a small one, at weights of at most 1",
            phase=LIMIT,
            idle=lambda value: value >= 1.0,
        )
        return io.NodeOutput(pipeline.add_stage(model, stage))


NODES = [NormLimit]
