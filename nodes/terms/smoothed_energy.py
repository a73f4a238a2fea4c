"""Smoothed Energy Guidance: away from what the model makes of the prompt when its attention is blurred."""

import functools

from comfy_api.latest import io

from ...guidance import shortened, smooth_queries
from ..engine import inputs, pipeline, term_rescale, weak
from ..engine.networks.blocks import parse
from . import CATEGORY

NAME = "Smoothed Energy Guidance (SEG)"


def smooth(sigma, attention):
    """The attention's result for blurred queries; None, no change, where the map of the latent's tokens is unknown."""
    if attention.size is None:
        return None
    queries = attention.queries
    blurred = smooth_queries(attention.of_latent(queries), size=attention.size, sigma=sigma)
    return attention.run(attention.with_latent(queries, blurred))


class SmoothedEnergy(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="AzimuthSmoothedEnergy",
            display_name=NAME,
            category=CATEGORY,
            description="Pushes the picture away from what the model makes of the same prompt when the attention of "
            "neighbouring parts is blurred together: clearer shapes with less damage than PAG.",
            search_aliases=["SEG", "smoothed energy", "blurred attention", "structure", "weak model"],
            inputs=[
                inputs.model_input(),
                inputs.term_scale(3.0, "3 for SDXL, with cfg 1 or beside a moderate one"),
                inputs.plain_float(
                    "blur",
                    10000.0,
                    0.0,
                    10000.0,
                    0.5,
                    "sigma, in tokens, of the blur of the queries: 1 to 10, or 10000. Above 9999 = their mean (the "
                    "paper's infinity), 0 = off, and costs nothing.",
                ),
                inputs.blocks_input("auto", "auto = the middle block, as in the paper"),
                *inputs.window_inputs("the term"),
                inputs.rescale_input(),
                term_rescale.space_input(),
            ],
            outputs=[inputs.model_output()],
        )

    @classmethod
    def validate_inputs(cls, start=None, end=None):
        return inputs.validate_window(NAME, start, end)

    @classmethod
    def execute(
        cls, model, scale, blur, blocks, start, end, rescale, rescale_space=term_rescale.BEFORE
    ) -> io.NodeOutput:
        sigma = inputs.finite_float(NAME, "blur", blur, 0.0, 10000.0)
        stage = weak.term(
            NAME,
            inputs.as_schedule(NAME, "scale", scale, 0.0, 100.0),
            inputs.as_window(NAME, start, end),
            weak.with_attention(weak.named(NAME, parse(NAME, blocks)), functools.partial(smooth, sigma)),
            off=sigma == 0.0,
            rescale=term_rescale.chosen(NAME, rescale, rescale_space),
            words=f", blocks {shortened(blocks)}, blur {sigma:g}",
        )
        return io.NodeOutput(pipeline.add_stage(model, stage))


NODES = [SmoothedEnergy]
