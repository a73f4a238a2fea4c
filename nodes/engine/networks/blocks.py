"""The blocks of a network: which there are, how a user names them, and which of the host's patches reach them."""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass
from typing import NamedTuple

from comfy.ldm.modules.attention import SpatialTransformer
from comfy.ldm.modules.diffusionmodules.openaimodel import UNetModel

from ....guidance import quoted, shortened
from ... import host
from . import sequence_patches, token_patches
from .block_patches import Change, Tokens, hand_on, in_block, in_layer, without
from .compiled import bare
from .token_patches import Order
from .unfit import Unfit


class Block(NamedTuple):
    """A block of a network.

    kind   input, middle or output in a UNet; double or single in a transformer, where "" stands for its first kind
    index  its number among the blocks of its kind
    """

    kind: str
    index: int


# ---- what a user writes

KINDS = ("input", "middle", "output", "double", "single")
ITEM = re.compile(rf"(?:({'|'.join(KINDS)})\s*)?([0-9]{{1,3}})(?:\s*-\s*([0-9]{{1,3}}))?")
AUTO = "auto"
LONGEST = 1000  # characters

EXAMPLES = "7-9, middle 0 or input 4, 5"


def parse(node: str, words) -> tuple[Block, ...] | None:
    """Blocks such as `7-9`, `middle 0` or `input 4, 5`; None for `auto`. Raises ValueError for anything else."""
    wrong = functools.partial(refuse, node)
    if not isinstance(words, str) or not words.strip():
        raise wrong(f"got {quoted(words)}")
    if len(words) > LONGEST:
        raise wrong(f"the text is longer than {LONGEST} characters")
    if words.strip().lower() == AUTO:
        return None
    blocks, kind = {}, ""
    for item in map(str.strip, words.lower().split(",")):
        found = ITEM.fullmatch(item)
        if not found:
            raise wrong(f"{quoted(item)} names no block")
        kind = found[1] or kind
        first, last = int(found[2]), int(found[3] or found[2])
        if last < first:
            raise ValueError(f"{node}, input blocks: {quoted(item)} is no range; write the lower number first.")
        blocks |= dict.fromkeys(Block(kind, index) for index in range(first, last + 1))
    return tuple(blocks)


def refuse(node: str, why: str) -> ValueError:
    return ValueError(f"{node}, input blocks: {why}; write blocks such as {EXAMPLES}.")


def listed(blocks) -> str:
    """Blocks as a user writes them: `double 0-18, single 0-37`."""
    words, blocks = [], list(blocks)
    for kind in dict.fromkeys(block.kind for block in blocks):
        indices = [block.index for block in blocks if block.kind == kind]
        run = indices == list(range(indices[0], indices[-1] + 1)) and len(indices) > 2
        numbers = f"{indices[0]}-{indices[-1]}" if run else ", ".join(map(str, indices))
        words.append(f"{kind} {numbers}".strip())
    return shortened(", ".join(words))


# ---- what a network has


@dataclass(frozen=True)
class Transformer:
    """A transformer of the host whose blocks can be replaced.

    lists      for each kind of block, the path of the network's list of them; kinds in the order in which they run
    attention  whether a block's self-attention can be told from its other attentions
    further    where in the sequence tokens other than the latent's lie (references): "first", "last", or "" if unknown
    """

    lists: dict[str, str]
    attention: bool = True
    further: str = ""

    @property
    def plain(self) -> str:
        """The kind of a block that a user writes as a number alone."""
        return next(iter(self.lists))

    def blocks(self, net) -> list[Block]:
        return [Block(kind, i) for kind, path in self.lists.items() for i in range(len(at(net, path)))]

    def usual(self, net) -> Block:
        own = self.blocks(net)
        return own[len(own) // 2]

    def skip(self, options: dict, chosen, reached: list) -> None:
        replaced = options.setdefault("patches_replace", {}).setdefault("dit", {})
        for block in chosen:
            replaced[f"{block.kind}_block", block.index] = hand_on(reached)

    def attend(self, options: dict, chosen, change: Change, net, reached: list) -> None:
        replaced = options.setdefault("patches_replace", {}).setdefault("dit", {})
        for block in chosen:
            key = f"{block.kind}_block", block.index
            replaced[key] = in_block(change, replaced.get(key), Tokens(patch_size(net), self.further), reached)

    def shuffle(self, options: dict, chosen, order: Order, net, reached: list) -> None:
        replaced = options.setdefault("patches_replace", {}).setdefault("dit", {})
        places = Tokens(patch_size(net), self.further)
        for block in chosen:
            key = f"{block.kind}_block", block.index
            replaced[key] = token_patches.around_block(block, order, places, replaced.get(key), reached)


@dataclass(frozen=True)
class Sequence(Transformer):
    """A transformer whose blocks cannot be replaced, but are known by number: text and latent are one sequence in all.

    The latent's tokens come last. Meaningless tokens fill them up to a multiple, `pad_tokens_multiple` of the network.
    """

    def skip(self, options: dict, chosen, reached: list) -> None:
        sequence_patches.skip(options, {block.index for block in chosen}, reached)

    def attend(self, options: dict, chosen, change: Change, net, reached: list) -> None:
        places, multiple = Tokens(patch_size(net), self.further), net.pad_tokens_multiple or 1
        sequence_patches.attend(options, {block.index for block in chosen}, change, places, multiple, reached)

    def shuffle(self, options: dict, chosen, order: Order, net, reached: list) -> None:
        places = Tokens(patch_size(net), self.further)
        token_patches.after_blocks(options, {block.index: block for block in chosen}, order, places, reached)


class Unet:
    """The UNet of SD1.5, SD2, SDXL and their kin, whose blocks hold residual layers and a spatial transformer."""

    attention = True
    plain = ""  # a number alone names none

    def blocks(self, net) -> list[Block]:
        """The blocks with attention."""
        middle = [net.middle_block] if net.middle_block is not None else []
        parts = {"input": net.input_blocks, "middle": middle, "output": net.output_blocks}
        return [Block(kind, i) for kind, part in parts.items() for i, layers in enumerate(part) if attends(layers)]

    def usual(self, net) -> Block:
        return Block("middle", 0)

    def skip(self, options: dict, chosen, reached: list) -> None:
        places = {tuple(block) for block in chosen}
        patches = options.setdefault("patches", {})
        patches["forward_timestep_embed_patch"] = [
            (SpatialTransformer, without(places, reached)),
            *patches.get("forward_timestep_embed_patch", []),
        ]

    def attend(self, options: dict, chosen, change: Change, net, reached: list) -> None:
        replaced = options.setdefault("patches_replace", {}).setdefault("attn1", {})
        for block in chosen:
            # For the host a key of three, which names a single layer, goes before the block's key of two.
            for key in {tuple(block), *(key for key in replaced if key[:2] == tuple(block))}:
                replaced[key] = in_layer(change, replaced.get(key), reached)

    def shuffle(self, options: dict, chosen, order: Order, net, reached: list) -> None:
        patches = options.setdefault("patches", {})
        patch = token_patches.in_layers({tuple(block) for block in chosen}, order, reached)
        patches["middle_patch"] = [patch, *patches.get("middle_patch", [])]


UNET = Unet()
TRANSFORMERS = {
    "OpenAISignatureMMDITWrapper": Transformer({"double": "joint_blocks"}),
    "Flux": Transformer({"double": "double_blocks", "single": "single_blocks"}, further="last"),
    "Chroma": Transformer({"double": "double_blocks", "single": "single_blocks"}),
    "HunyuanVideo": Transformer({"double": "double_blocks", "single": "single_blocks"}, further="first"),
    "QwenImageTransformer2DModel": Transformer({"double": "transformer_blocks"}, further="last"),
    # Its attention is given the options of the whole call: what a block is given for itself never gets there.
    "QwenImage21Transformer2DModel": Transformer({"single": "transformer_blocks"}, attention=False),
    "WanModel": Transformer({"double": "blocks"}),
    "LTXBaseModel": Transformer({"double": "transformer_blocks"}, further="last"),
    "AudioDiffusionTransformer": Transformer({"double": "transformer.layers"}, further="first"),
    "NextDiT": Sequence({"double": "layers"}, further="last"),
    "AsymmDiTJoint": Transformer({"double": "blocks"}, attention=False),
    "Kandinsky5": Transformer({"double": "visual_transformer_blocks"}, attention=False),
}


def at(net, path: str):
    for name in path.split("."):
        net = getattr(net, name)
    return net


def attends(layers) -> bool:
    return any(isinstance(layer, SpatialTransformer) for layer in layers)


def patch_size(net) -> tuple[int, int, int]:
    """Frames, height and width of the part of a latent that becomes one token."""
    size = getattr(net, "patch_size", 1)
    size = (size, size) if isinstance(size, int) else tuple(size)
    return (*(1,) * (3 - len(size)), *size)


def network(model):
    """The network of a MODEL, also where it is compiled."""
    return bare(model.get_model_object("diffusion_model"))


def shape_of(net) -> Unet | Transformer | None:
    if isinstance(net, UNetModel):
        return UNET
    return next((TRANSFORMERS[c.__name__] for c in type(net).__mro__ if c.__name__ in TRANSFORMERS), None)


def available(model, attention: bool) -> tuple[Unet | Transformer, list[Block]]:
    """The kind of a MODEL's network, and its blocks. Raises Unfit if there is no known way to change them."""
    net = network(model)
    shape = shape_of(net)
    if shape is None or attention and not shape.attention:
        what = "attention" if attention else "blocks"
        raise Unfit(f"it cannot reach the {what} of this model ({type(net).__name__}); choose another term")
    if shape is UNET and not attention and not host.skips_unet_blocks():
        raise Unfit("this ComfyUI lets no node skip a block of a UNet; update it to 0.20 or skip the attention alone")
    return shape, shape.blocks(net)


def choose(model, wanted: tuple[Block, ...] | None, run, node: str, attention: bool) -> tuple:
    """The kind of network, and those of the wanted blocks that it has; for None its usual block.

    Raises Unfit if it has none of them.
    """
    shape, own = available(model, attention)
    wanted = (shape.usual(network(model)),) if wanted is None else wanted
    named = [Block(block.kind or shape.plain, block.index) for block in wanted]
    chosen = [block for block in named if block in own]
    if not chosen:
        raise Unfit(f"the model has no block {listed(wanted)}; it has {listed(own)}, so name some of those")
    if len(chosen) < len(named):
        run.say(f"{node}: the model has no block {listed(b for b in named if b not in own)}; the others are used.")
    return shape, chosen
