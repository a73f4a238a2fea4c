"""Tangential Amplifying Guidance: the part of a step that does not point along the noisy latent, amplified."""

from comfy_api.latest import io

from ...guidance import tangential_amplify
from ..engine import inputs, pipeline
from ..engine.stages import TANGENT, Correct, at_one
from . import CATEGORY

NAME = "Tangential Amplifying Guidance (TAG)"


def amplify(m):
    return tangential_amplify(m.guided, x=m.x, eta=m.value)


class TangentialAmplifying(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="AzimuthTAG",
            display_name=NAME,
            category=CATEGORY,
            description="Amplifies the part of every step that changes what the picture shows, and leaves the part "
            "that only removes noise. Needs no negative pass, so it works at cfg 1 and on distilled models.",
            search_aliases=[
                "TAG",
                "tangential",
                "hallucination",
                "malformed",
                "washed out",
                "pale",
                "cfg 1",
                "distilled",
                "flux",
                "turbo",
            ],
            inputs=[
                inputs.model_input(),
                inputs.number(
                    "eta",
                    default=1.15,
                    low=0.5,
                    high=2.0,
                    step=0.01,
                    tooltip="eta, by which the tangential part is multiplied: 1.15 SD1.5, SD2.1, 1.2 SDXL, 1.05 SD3, "
                    "the numbers of arXiv 2510.04533 for pictures without a prompt. A number or a Guidance Schedule. "
                    "1 = off.",
                ),
                *inputs.window_inputs("TAG"),
                inputs.strength_input(optional=True),
            ],
            outputs=[inputs.model_output()],
        )

    @classmethod
    def validate_inputs(cls, start=None, end=None):
        return inputs.validate_window(NAME, start, end)

    @classmethod
    def execute(cls, model, eta, start, end, strength=1.0) -> io.NodeOutput:
        stage = Correct(
            NAME,
            inputs.as_schedule(NAME, "eta", eta, 0.5, 2.0),
            "eta",
            rule=amplify,
            **inputs.blend(NAME, strength, start, end),
            off=at_one,
            words="eta {}",
            phase=TANGENT,
        )
        return io.NodeOutput(pipeline.add_stage(model, stage))


NODES = [TangentialAmplifying]
