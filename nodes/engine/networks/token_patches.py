"""The host's patches that reach the tokens of a layer, to put them into another order.

As in block_patches.py, everything works on a private copy of `transformer_options`, made for one pass.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from comfy.model_management import device_supports_non_blocking
from torch import Tensor

from ....guidance import shuffle_added, shuffle_tokens
from .block_patches import SIZES, Streams, Tokens, in_each_call

# order(place, n): the order of the n tokens at a place of the network. A place is the kind and the index of a block,
# and the number of a layer in it or of one of its sequences.
Order = Callable[[tuple, int], Tensor]


def on(tokens: Tensor, order: Order, place: tuple) -> Tensor:
    """The order of these tokens, on their device, without waiting for it where the host can do so."""
    at_once = device_supports_non_blocking(tokens.device)
    return order(place, tokens.shape[-2]).to(tokens.device, non_blocking=at_once)


# ---- a UNet


def in_layers(blocks: set, order: Order, reached: list) -> Callable:
    """For the layers of a UNet's transformers: other tokens between self-attention and cross-attention.

    Self-attention treats tokens alike wherever they stand, so that this comes to the same as other tokens at the
    entry, which the host lets nobody change.
    """

    def patch(x, extra):
        if extra.get("block") not in blocks:
            return x
        reached.append(True)
        return shuffle_tokens(x, order=on(x, order, (*extra["block"], extra["block_index"])))

    return patch


# ---- a transformer


def around_block(block, order: Order, places: Tokens, earlier: Callable | None, reached: list) -> Callable:
    """In place of a block: the block, or what another node put there; what it adds to a latent's tokens is shuffled."""

    def replacement(args, extra):
        sequences = args["img"] if isinstance(args["img"], tuple) else (args["img"],)
        latents = Streams(args, args["transformer_options"], places).of_latents()
        before = [t[:, own].clone() for t, own in zip(sequences, latents, strict=True)]  # some write into what they get
        out = earlier(args, extra) if earlier else extra["original_block"](args)
        reached.append(True)
        after = out["img"] if isinstance(out["img"], tuple) else (out["img"],)
        made = tuple(
            with_shuffled(b, a, own, on(b, order, (*block, i)))
            for i, (b, a, own) in enumerate(zip(before, after, latents, strict=True))
        )
        return {**out, "img": made if isinstance(out["img"], tuple) else made[0]}

    return replacement


def with_shuffled(before: Tensor, after: Tensor, own: slice, order: Tensor) -> Tensor:
    """A sequence (B, N, D) after a block, of which `own` are the latent's tokens, given these before it."""
    start, stop, _ = own.indices(after.shape[1])
    made = shuffle_added(before, after[:, own], order=order)
    return torch.cat((after[:, :start], made, after[:, stop:]), 1)


# ---- one sequence, whose blocks nobody may replace


def after_blocks(options: dict, blocks: dict[int, tuple], order: Order, places: Tokens, reached: list) -> None:
    """Have a pass shuffle what these blocks add, by their index, in each call of the model."""

    def more(options, x, kwargs):
        patches = dict(options.get("patches", {}))
        added = Added(blocks, order, math.prod(places.size(options[SIZES][0])), reached)
        # Ahead of other nodes' patches, which act on what comes out of a block, as they would of any other.
        patches["double_block"] = [added.shuffle, *patches.get("double_block", [])]
        return {"patches": patches}

    in_each_call(options, more)


class Added:
    """What the blocks of one call add. `before` is what came out of the block before, as a view that shows what other
    nodes do to it; the latent's tokens are the first of it."""

    def __init__(self, blocks: dict[int, tuple], order: Order, count: int, reached: list):
        self.blocks = blocks
        self.order = order
        self.own = slice(0, count)
        self.reached = reached
        self.before = None

    def shuffle(self, args: dict) -> dict:
        before = args["img_input"] if self.before is None else self.before
        self.before = after = args["img"]
        block = self.blocks.get(args["block_index"])
        if block is None:
            return {}
        self.reached.append(True)
        before = before[:, self.own]
        return {"img": with_shuffled(before, after, self.own, on(before, self.order, (*block, 0)))}
