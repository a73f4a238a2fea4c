"""Puts the tokens of layers and blocks into another order, by the host's patches.

Everything works on a private copy of `transformer_options`, made for one pass, as in block_patches.py. `reached` is a
list that gets an entry each time a patch is called.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from comfy.model_management import device_supports_non_blocking
from torch import Tensor

from ....guidance import shuffle_added, shuffle_tokens
from ... import host
from .block_patches import SIZES, Streams, Tokens, in_each_call

# order(place, n) gives the order of n tokens, (n,) whole numbers. The place is the kind and the index of a block, and
# the number of a layer in it or of one of its sequences.
Order = Callable[[tuple, int], Tensor]


def on(tokens: Tensor, order: Order, place: tuple) -> Tensor:
    """The order for these tokens (..., N, D), on their device. Nothing waits where the host allows that."""
    at_once = device_supports_non_blocking(tokens.device)
    return order(place, tokens.shape[-2]).to(tokens.device, non_blocking=at_once)


# ---- a UNet


def in_layers(blocks: set, order: Order, reached: list) -> Callable:
    """A patch for the layers of a UNet's transformers: it shuffles the tokens between self- and cross-attention.

    The paper shuffles them where they enter the layer, and there the host has no patch. The result is the same, since
    self-attention treats tokens alike wherever they stand.
    """

    def patch(x, extra):
        if extra.get("block") not in blocks:
            return x
        reached.append(True)
        return shuffle_tokens(x, order=on(x, order, (*extra["block"], extra["block_index"])))

    return patch


# ---- a transformer


def around_block(block, order: Order, places: Tokens, earlier: Callable | None, reached: list) -> Callable:
    """Stands in place of a block: runs it, or what another node put there (`earlier`), and shuffles what that added to
    the latent's tokens."""

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
    """The sequence after a block, (B, N, D), with what the block added to the latent's tokens shuffled.

    `own` says where the latent's tokens stand in it; `before` has these alone, as they went into the block.
    """
    start, stop, _ = own.indices(after.shape[1])
    made = shuffle_added(before, after[:, own], order=order)
    return torch.cat((after[:, :start], made, after[:, stop:]), 1)


# ---- a transformer over one sequence, whose blocks the host lets nobody replace


def after_blocks(options: dict, blocks: dict[int, tuple], order: Order, places: Tokens, reached: list) -> None:
    """Have each call of the model in a pass shuffle what these blocks add; `blocks` has kind and index, by index."""

    def more(options, x, kwargs):
        patches = dict(options.get("patches", {}))
        added = Added(blocks, order, math.prod(places.size(options[SIZES][0])), reached)
        # Other nodes' patches act on what comes out of a block here as anywhere; the next block gets what they made.
        patches["double_block"] = [added.shuffle, *patches.get("double_block", []), added.keep]
        return {"patches": patches}

    in_each_call(options, more)


class Added:
    """Shuffles what the blocks of one call of the model add.

    own     where the latent's tokens stand in the host's `img`: they are the first
    before  these as they came out of the block before; a copy, since the memory of a block may be used again after it
    """

    def __init__(self, blocks: dict[int, tuple], order: Order, count: int, reached: list):
        self.blocks = blocks
        self.order = order
        self.own = slice(0, count)
        self.reached = reached
        self.before = None

    def shuffle(self, args: dict) -> dict:
        block = self.blocks.get(args["block_index"])
        if block is None:
            return {}
        self.reached.append(True)
        before = args["img_input"][:, self.own] if self.before is None else self.before
        return {"img": with_shuffled(before, args["img"], self.own, on(before, self.order, (*block, 0)))}

    def keep(self, args: dict) -> dict:
        if args["block_index"] + 1 in self.blocks:
            self.before = host.kept(args["img"][:, self.own])
        return {}
