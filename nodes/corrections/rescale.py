"""Rescale CFG: the guided prediction gets the spread of the positive one, in the space that the model works in."""

import functools

from comfy_api.latest import io

from ...guidance import rescale_denoised
from ..engine import inputs, pipeline
from ..engine.stages import LIMIT, Correct
from . import CATEGORY

NAME = "Rescale CFG (Azimuth)"

SPACES = ["v", "eps", "x0"]


def scale_back(space, m):
    of = {"kind": m.kind, "data_sigma": m.network.data_sigma}
    return rescale_denoised(m.guided, m.cond, x=m.x, sigma=m.sigma, space=space, phi=m.value, **of)


def nothing_to_scale(scale, phi):
    return phi == 0.0


class Rescale(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="AzimuthRescaleCFG",
            display_name=NAME,
            category=CATEGORY,
            description="Gives the guided prediction the standard deviation of the positive one, so that a high weight "
            "does not burn. Correct for flow models and for video too, and it stacks with any combine rule.",
            search_aliases=[
                "rescale cfg",
                "guidance rescale",
                "phi",
                "zero terminal snr",
                "burnt",
                "burned",
                "fried",
                "deep fried",
                "too bright",
                "overexposed",
                "overexposure",
            ],
            inputs=[
                inputs.model_input(),
                inputs.number(
                    "phi",
                    default=0.7,
                    low=0.0,
                    high=1.0,
                    step=0.01,
                    tooltip="phi, the share of the rescaled prediction (arXiv 2305.08891, which uses 0.7): 0.5 to "
                    "0.75. A number or a Guidance Schedule. 0 = off.",
                ),
                io.Combo.Input(
                    "space",
                    options=SPACES,
                    default="v",
                    tooltip="Where the standard deviations are measured. v: the v-prediction of eps and v models, the "
                    "velocity of flow models; the paper's. eps: the noise. x0: the denoised picture. "
                    "phi 0 switches it off in each.",
                    advanced=True,
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
    def execute(cls, model, phi, space, strength=1.0, start=0.0, end=1.0) -> io.NodeOutput:
        stage = Correct(
            NAME,
            inputs.as_schedule(NAME, "phi", phi, 0.0, 1.0),
            "phi",
            rule=functools.partial(scale_back, inputs.choice(NAME, "space", space, SPACES)),
            off=nothing_to_scale,
            **inputs.blend(NAME, strength, start, end),
            words=f"phi {{}}, in {space}",
            phase=LIMIT,
            needs_pair=True,
        )
        return io.NodeOutput(pipeline.add_stage(model, stage))


NODES = [Rescale]
