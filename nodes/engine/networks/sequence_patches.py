"""The host's patches that reach a block of NextDiT (Lumina 2, Z-Image), whose blocks cannot be replaced.

The host tells an attention the number of its block. Only in the refiners of text and latent, which run before all
blocks, it does not. After a block it lets a patch exchange the tokens that came out.

As in block_patches.py, everything works on a private copy of `transformer_options`. What is kept is kept for one call
of the model, in copies: the memory of a block may be used again after it.
"""

from __future__ import annotations

import functools
import math

from torch import Tensor

from ... import host
from .block_patches import OVERRIDE, SIZES, Change, Tokens, in_each_call, overridden
from .unfit import Unfit

# ---- a block left out


def skip(options: dict, indices: set[int], reached: list) -> None:
    """Let a pass leave out these blocks: what comes out of each is replaced by what went in."""

    def more(options, x, kwargs):
        if 0 in indices and kwargs.get("ref_latents"):
            raise Unfit(
                "the prompt has reference pictures, beside which the first block cannot be left out; name other blocks"
            )
        left_out = LeftOut(indices, reached)
        patches = dict(options.get("patches", {}))
        patches["noise_refiner"] = [left_out.keep_text, *patches.get("noise_refiner", [])]
        # Other nodes' patches act on what comes out of a block here as anywhere; the next block gets what they made.
        patches["double_block"] = [left_out.put_back, *patches.get("double_block", []), left_out.keep]
        return {"patches": patches}

    in_each_call(options, more)


class LeftOut:
    """The blocks that one call leaves out.

    text  the text that goes into the first block, if that one is left out
    came  what came out of the block before one that is left out
    """

    def __init__(self, indices: set[int], reached: list):
        self.indices = indices
        self.reached = reached
        self.text = self.came = None

    def keep_text(self, args: dict) -> dict:
        """There the host shows the latent alone."""
        if 0 in self.indices:
            self.text = host.kept(args["txt"])
        return {}

    def put_back(self, args: dict) -> dict:
        if args["block_index"] not in self.indices:
            return {}
        self.reached.append(True)
        return self.came or {"img": args["img_input"], "txt": self.text}

    def keep(self, args: dict) -> dict:
        if args["block_index"] + 1 in self.indices:
            self.came = {"img": host.kept(args["img"]), "txt": host.kept(args["txt"])}
        return {}


# ---- a block's self-attention changed


def attend(options: dict, indices: set[int], change: Change, places: Tokens, multiple: int, reached: list) -> None:
    """Let a pass change the self-attention of these blocks."""

    def more(options, x, kwargs):
        attended = Attended(indices, change, places, multiple, options, reached)
        return {OVERRIDE: attended.override}

    in_each_call(options, more)


class Attended:
    """The attentions of one call. The first of each block is changed, its own; any more are of other nodes' patches."""

    def __init__(self, indices, change: Change, places: Tokens, multiple: int, options: dict, reached: list):
        self.waiting = set(indices)
        self.change = change
        self.places = places
        self.multiple = multiple
        self.latent = options[SIZES][0]
        self.before = options.get(OVERRIDE)
        self.reached = reached

    def override(self, attention, *args, **how) -> Tensor:
        options = how["transformer_options"]
        find = functools.partial(self.find, options.get("block_index"))
        return overridden(self.change, find, self.before, options, self.reached, attention, *args, **how)

    def find(self, index: int | None, length: int):
        """The latent's tokens in the self-attention of a block, and their map; None if it is not to be changed."""
        if index not in self.waiting:
            return None
        self.waiting.remove(index)
        filled_up = -(-math.prod(self.places.size(self.latent)) // self.multiple) * self.multiple
        return self.places.place(slice(length - filled_up, length), self.latent)
