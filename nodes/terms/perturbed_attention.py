"""Perturbed-Attention Guidance: away from what the model makes of the prompt when its tokens see only themselves."""

import functools

from comfy_api.latest import io

from ...guidance import perturbed_attention, shortened
from ..engine import inputs, pipeline, term_rescale, weak
from ..engine.networks.blocks import parse
from . import CATEGORY

NAME = "Perturbed-Attention Guidance (PAG)"


def perturb(strength, attention):
    """The attention's result, in which the values replace the latent's tokens, or are mixed with them."""
    value = attention.value()
    if strength == 1.0 and attention.covers(value):
        return value
    result = attention.run(attention.queries)
    part = perturbed_attention(attention.of_latent(result), attention.of_latent(value), strength=strength)
    return attention.with_latent(result, part)


class PerturbedAttention(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="AzimuthPerturbedAttention",
            display_name=NAME,
            category=CATEGORY,
            description="Pushes the picture away from what the model makes of the same prompt when the parts of the "
            "picture cannot look at one another: clearer shapes, with or without a negative.",
            search_aliases=[
                "PAG",
                "SoftPAG",
                "perturbed attention",
                "structure",
                "weak model",
                "quality",
                "clearer shapes",
                "better sound",
            ],
            inputs=[
                inputs.model_input(),
                inputs.term_scale(3.0, "3 for SD1.5 and SDXL beside a cfg of 4 to 5, or with cfg 1"),
                inputs.plain_float(
                    "strength",
                    1.0,
                    0.0,
                    1.0,
                    0.05,
                    "u, how much of the attention is perturbed (SoftPAG, arXiv 2506.10978): 0.3 to 1. 1 = PAG, 0 = "
                    "off, and costs nothing.",
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
        cls, model, scale, strength, blocks, start, end, rescale, rescale_space=term_rescale.BEFORE
    ) -> io.NodeOutput:
        u = inputs.finite_float(NAME, "strength", strength, 0.0, 1.0)
        stage = weak.term(
            NAME,
            inputs.as_schedule(NAME, "scale", scale, 0.0, 100.0),
            inputs.as_window(NAME, start, end),
            weak.with_attention(weak.named(NAME, parse(NAME, blocks)), functools.partial(perturb, u)),
            off=u == 0.0,
            rescale=term_rescale.chosen(NAME, rescale, rescale_space),
            words=f", blocks {shortened(blocks)}, strength {u:g}",
        )
        return io.NodeOutput(pipeline.add_stage(model, stage))


NODES = [PerturbedAttention]
