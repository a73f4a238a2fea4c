"""Epsilon Scaling: a little less of the predicted noise is taken away at every step."""

from comfy_api.latest import io

from ...guidance import epsilon_scaling
from ..engine import inputs, pipeline
from ..engine.stages import SCALE, Correct, at_one
from . import CATEGORY

NAME = "Epsilon Scaling (Azimuth)"


def scaled(m):
    return epsilon_scaling(m.guided, x=m.x, scale=m.value)


class EpsilonScaling(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="AzimuthEpsilonScaling",
            display_name=NAME,
            category=CATEGORY,
            description="Divides the predicted noise by a number just above 1, against the drift of a run from what "
            "the model was trained on. Brings out fine detail and texture.",
            search_aliases=["eps scaling", "exposure bias", "fine detail", "noise scaling"],
            inputs=[
                inputs.model_input(),
                inputs.number(
                    "scale",
                    default=1.005,
                    low=0.5,
                    high=1.5,
                    step=0.001,
                    tooltip="lambda, by which the noise is divided (arXiv 2308.15321): 1.004 to 1.02, less with more "
                    "steps. A number or a Guidance Schedule. 1 = off; below 1 smooths.",
                ),
                inputs.strength_input(optional=True),
                *inputs.window_inputs("the correction", optional=True),
            ],
            outputs=[inputs.model_output()],
        )

    @classmethod
    def validate_inputs(cls, start=None, end=None):
        return inputs.validate_window(NAME, start, end)

    @classmethod
    def execute(cls, model, scale, strength=1.0, start=0.0, end=1.0) -> io.NodeOutput:
        stage = Correct(
            NAME,
            inputs.as_schedule(NAME, "scale", scale, 0.5, 1.5),
            "scale",
            rule=scaled,
            **inputs.blend(NAME, strength, start, end),
            off=at_one,
            words="noise divided by {}",
            phase=SCALE,
        )
        return io.NodeOutput(pipeline.add_stage(model, stage))


NODES = [EpsilonScaling]
