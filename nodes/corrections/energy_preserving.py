"""Energy-Preserving Guidance: the guided prediction is as strong as the positive one."""

import functools

from comfy_api.latest import io

from ...guidance import energy_preserving
from ..engine import inputs, pipeline
from ..engine.stages import LIMIT, WHOLE, Correct
from . import CATEGORY

NAME = "Energy-Preserving Guidance (EP-CFG)"

MODES = ["plain", "robust"]
SCOPES = ["sample", "frame"]


def preserve(mode, scope, m):
    return energy_preserving(m.guided, m.cond, x=m.x, robust=mode == "robust", scope=scope)


class EnergyPreserving(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="AzimuthEnergyPreserving",
            display_name=NAME,
            category=CATEGORY,
            description="Gives the guided noise, or the velocity of a flow model, the norm of the positive's, so that "
            "a high weight does not raise the contrast.",
            search_aliases=["EP-CFG", "energy preserving", "renorm", "over-contrast", "flicker", "saturation"],
            inputs=[
                inputs.model_input(),
                io.Combo.Input(
                    "mode",
                    options=MODES,
                    default="plain",
                    tooltip="plain: the norm of all values (arXiv 2412.09966). robust: of the squares between their "
                    "45th and 55th percentile alone, which a few burnt spots do not move; slower. "
                    "strength 0 switches both off.",
                ),
                io.Combo.Input(
                    "scope",
                    options=SCOPES,
                    default="sample",
                    tooltip="What has a norm of its own. sample: a whole picture or video. frame: each frame and "
                    "channel of a video, as the authors' code; a picture counts as a whole.",
                    advanced=True,
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
    def execute(cls, model, mode, scope, strength, start=0.0, end=1.0) -> io.NodeOutput:
        chosen = inputs.choice(NAME, "mode", mode, MODES), inputs.choice(NAME, "scope", scope, SCOPES)
        stage = Correct(
            NAME,
            WHOLE,
            "strength",
            rule=functools.partial(preserve, *chosen),
            **inputs.blend(NAME, strength, start, end),
            words=f"{mode}, one norm per {scope}",
            phase=LIMIT,
            needs_pair=True,
        )
        return io.NodeOutput(pipeline.add_stage(model, stage))


NODES = [EnergyPreserving]
