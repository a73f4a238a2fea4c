"""Temporal Score Rescaling: sampling at another temperature."""

import functools

from comfy_api.latest import io

from ...guidance import temporal_score_rescaling
from ..engine import inputs, pipeline
from ..engine.stages import SCALE, Correct, at_one
from . import CATEGORY

NAME = "Temporal Score Rescaling (TSR)"


def rescaled(data_sigma, m):
    return temporal_score_rescaling(m.guided, x=m.x, sigma=m.sigma, kind=m.kind, k=m.value, data_sigma=data_sigma)


class TemporalScoreRescaling(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="AzimuthTSR",
            display_name=NAME,
            category=CATEGORY,
            description="Samples from a broader distribution than the model's, which shows more detail, or from a "
            "sharper one, which is smoother.",
            search_aliases=["TSR", "temperature", "fine detail", "sample diversity", "smooth", "score rescaling"],
            inputs=[
                inputs.model_input(),
                inputs.number(
                    "k",
                    default=0.95,
                    low=0.1,
                    high=10.0,
                    step=0.01,
                    tooltip="k, the inverse temperature (arXiv 2510.01184): 0.9 to 0.98 for pictures with more detail, "
                    "above 1 for smoother ones. A number or a Guidance Schedule. 1 = off.",
                ),
                inputs.plain_float(
                    "data_sigma",
                    1.0,
                    0.01,
                    100.0,
                    0.1,
                    "sigma, how far apart the data lie that count as one, in units of the latent: 1 to 3. Larger acts "
                    "earlier in the run. k = 1 switches it off.",
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
    def execute(cls, model, k, data_sigma, strength=1.0, start=0.0, end=1.0) -> io.NodeOutput:
        data_sigma = inputs.finite_float(NAME, "data_sigma", data_sigma, 0.01, 100.0)
        stage = Correct(
            NAME,
            inputs.as_schedule(NAME, "k", k, 0.1, 10.0),
            "k",
            rule=functools.partial(rescaled, data_sigma),
            off=at_one,
            **inputs.blend(NAME, strength, start, end),
            words=f"k {{}}, data sigma {data_sigma:g}",
            phase=SCALE,
        )
        return io.NodeOutput(pipeline.add_stage(model, stage))


NODES = [TemporalScoreRescaling]
