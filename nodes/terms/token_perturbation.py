"""Token Perturbation Guidance: away from what the model makes of the prompt when parts of the picture change places."""

import functools

import torch
from comfy_api.latest import io

from ...guidance import shortened
from ..engine import draws, inputs, pipeline, term_rescale, weak
from ..engine.networks import blocks
from ..engine.networks.blocks import parse
from . import CATEGORY

NAME = "Token Perturbation Guidance (TPG)"


def order(seed, call, place, count):
    """The order of `count` tokens at a place of the network, (count,): another one for every seed, call and place."""
    return torch.randperm(count, generator=draws.generator(seed, call, *place))


def pick(wanted, model, run):
    """The kind of network and the blocks to shuffle.

    For `auto` (None) these are the last two of a UNet's input side, as in the paper's code, or else the middle block.
    """
    shape, own = blocks.available(model, attention=True)
    if wanted is None and shape is blocks.UNET:
        wanted = tuple(block for block in own if block.kind == "input")[-2:] or None
    return blocks.choose(model, wanted, run, NAME, attention=True)


def with_shuffled_tokens(wanted):
    """The `open` of a term whose weaker model is the model itself with the tokens of these blocks shuffled."""

    def open_(model, run):
        return functools.partial(shuffled, *pick(wanted, model, run), blocks.network(model))

    return open_


def shuffled(shape, chosen, net, args, run, moment):
    """What that model predicts in one call."""
    drawn = functools.partial(order, run.seed, run.calls)
    return weak.patched(weak.changing(shape.shuffle, drawn, net), chosen, args, moment)


class TokenPerturbation(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="AzimuthTokenPerturbation",
            display_name=NAME,
            category=CATEGORY,
            description="Pushes the picture away from what the model makes of the same prompt when parts of the "
            "picture change places inside it: firmer composition, with or without a negative.",
            search_aliases=["TPG", "token perturbation", "shuffled tokens", "structure", "weak model"],
            inputs=[
                inputs.model_input(),
                inputs.term_scale(3.0, "3 for SDXL with cfg 1, less beside a moderate cfg"),
                inputs.blocks_input("auto", "auto = the last two input blocks of a UNet, else the middle block"),
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
    def execute(cls, model, scale, blocks, start, end, rescale, rescale_space=term_rescale.BEFORE) -> io.NodeOutput:
        stage = weak.term(
            NAME,
            inputs.as_schedule(NAME, "scale", scale, 0.0, 100.0),
            inputs.as_window(NAME, start, end),
            with_shuffled_tokens(parse(NAME, blocks)),
            rescale=term_rescale.chosen(NAME, rescale, rescale_space),
            words=f", blocks {shortened(blocks)}",
        )
        return io.NodeOutput(pipeline.add_stage(model, stage))


NODES = [TokenPerturbation]
