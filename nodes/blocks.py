"""The blocks of a network: which there are, how a user names them, and the host's patches that reach them.

Everything here works on a private copy of `transformer_options`, made for one pass.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from comfy.ldm.modules.attention import SpatialTransformer, optimized_attention
from comfy.ldm.modules.diffusionmodules.openaimodel import UNetModel, forward_timestep_embed
from comfy.patcher_extension import WrappersMP, add_wrapper_with_key
from torch import Tensor

from . import host
from .stages import Unfit

KEY = "azimuth_blocks"

# In `transformer_options` of a pass: the shapes of the latents that the model is called with.
SIZES = "azimuth_sizes"


class Block(NamedTuple):
    """`kind` is input, middle or output in a UNet, double or single in a transformer; empty for the latter's first."""

    kind: str
    index: int


# ---- what a user writes

KINDS = ("input", "middle", "output", "double", "single")
ITEM = re.compile(rf"\s*({'|'.join(KINDS)})?\s*(\d+)\s*(?:-\s*(\d+))?\s*")
AUTO = "auto"


EXAMPLES = "7-9, middle 0 or input 4, 5"


def parse(node: str, words) -> tuple[Block, ...] | None:
    """Blocks such as `7-9`, `middle 0` or `input 4, 5`; None for `auto`. Raises ValueError for anything else."""
    if not isinstance(words, str) or not words.strip():
        raise ValueError(f"{node}, input blocks: got {words!r}; write blocks such as {EXAMPLES}.")
    if words.strip().lower() == AUTO:
        return None
    blocks, kind = [], ""
    for item in words.lower().split(","):
        found = ITEM.fullmatch(item)
        if not found:
            raise ValueError(f"{node}, input blocks: {item.strip()!r} names no block; write blocks such as {EXAMPLES}.")
        kind = found[1] or kind
        first = int(found[2])
        last = int(found[3] or first)
        if last < first or last > 999:
            raise ValueError(f"{node}, input blocks: {item.strip()!r} is no range; write the lower number first.")
        blocks += [Block(kind, index) for index in range(first, last + 1)]
    return tuple(dict.fromkeys(blocks))


def listed(blocks) -> str:
    """Blocks in a user's words: `double 0-18, single 0-37`."""
    words, blocks = [], list(blocks)
    for kind in dict.fromkeys(block.kind for block in blocks):
        indices = [block.index for block in blocks if block.kind == kind]
        run = indices == list(range(indices[0], indices[-1] + 1)) and len(indices) > 2
        numbers = f"{indices[0]}-{indices[-1]}" if run else ", ".join(map(str, indices))
        words.append(f"{kind} {numbers}".strip())
    return ", ".join(words)


# ---- what a network has


@dataclass(frozen=True)
class Transformer:
    """One of the host's transformers that let their blocks be replaced.

    lists      kind -> path of the network's list of blocks, in the order in which they run
    attention  whether a block's own attention can be told from what else it computes
    further    where in the sequence tokens lie that are not the latent's (references): "first", "last", or unknown
    """

    lists: dict[str, str]
    attention: bool = True
    further: str = ""

    @property
    def plain(self) -> str:
        """The kind of a block that is written as a number alone."""
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


class Unet:
    """The UNet of SD1.5, SD2, SDXL and their kin, whose blocks hold residual layers and a spatial transformer."""

    attention = True
    plain = ""  # a number alone names none

    def blocks(self, net) -> list[Block]:
        """Those that attend."""
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
            # A key of three, that of a single layer, goes before the block's.
            for key in {tuple(block), *(key for key in replaced if key[:2] == tuple(block))}:
                replaced[key] = in_layer(change, replaced.get(key), reached)


UNET = Unet()
TRANSFORMERS = {
    "OpenAISignatureMMDITWrapper": Transformer({"double": "joint_blocks"}),
    "Flux": Transformer({"double": "double_blocks", "single": "single_blocks"}, further="last"),
    "Chroma": Transformer({"double": "double_blocks", "single": "single_blocks"}),
    "HunyuanVideo": Transformer({"double": "double_blocks", "single": "single_blocks"}, further="first"),
    "QwenImageTransformer2DModel": Transformer({"double": "transformer_blocks"}, further="last"),
    "WanModel": Transformer({"double": "blocks"}),
    "LTXBaseModel": Transformer({"double": "transformer_blocks"}, further="last"),
    "AudioDiffusionTransformer": Transformer({"double": "transformer.layers"}, further="first"),
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
    """Frames, height and width of the patch that becomes a token."""
    size = getattr(net, "patch_size", 1)
    size = (size, size) if isinstance(size, int) else tuple(size)
    return (*(1,) * (3 - len(size)), *size)


def network(model):
    """The network of a MODEL."""
    return model.get_model_object("diffusion_model")


def shape_of(net) -> Unet | Transformer | None:
    if isinstance(net, UNetModel):
        return UNET
    return next((TRANSFORMERS[c.__name__] for c in type(net).__mro__ if c.__name__ in TRANSFORMERS), None)


def available(model, attention: bool) -> tuple[Unet | Transformer, list[Block]]:
    """What kind of network a MODEL has, and its blocks. Raises Unfit where we know no way to change them."""
    net = network(model)
    shape = shape_of(net)
    if shape is None or attention and not shape.attention:
        what = "attention" if attention else "blocks"
        raise Unfit(f"it cannot reach the {what} of this model ({type(net).__name__}); choose another term")
    if shape is UNET and not attention and not host.skips_unet_blocks():
        raise Unfit("this ComfyUI lets no node skip a block of a UNet; update it to 0.20 or skip the attention alone")
    return shape, shape.blocks(net)


def choose(model, wanted: tuple[Block, ...] | None, run, node: str, attention: bool) -> tuple:
    """The kind of network and, of the wanted blocks, those that it has; its usual one for None.

    Raises Unfit if there is none.
    """
    shape, own = available(model, attention)
    wanted = (shape.usual(network(model)),) if wanted is None else wanted
    named = [Block(block.kind or shape.plain, block.index) for block in wanted]
    chosen = [block for block in named if block in own]
    if not chosen:
        raise Unfit(f"the model has no block {listed(wanted)}; it has {listed(own)}")
    if len(chosen) < len(named):
        run.say(f"{node}: the model has no block {listed(b for b in named if b not in own)}; the others are used.")
    return shape, chosen


# ---- a block left out


def hand_on(reached: list) -> Callable:
    """For a transformer: in place of a block, what goes in comes out."""

    def replacement(args, extra):
        reached.append(True)
        return args

    return replacement


def without(places: set, reached: list) -> Callable:
    """For a UNet: the same for the spatial transformers of some blocks; the others are called as the host does."""

    def handler(layer, x, emb, context, options, *rest):
        if options["block"] in places:
            reached.append(True)
            return x
        patches = options["patches"]
        others = [patch for patch in patches["forward_timestep_embed_patch"] if patch[1] is not handler]
        options["patches"] = {**patches, "forward_timestep_embed_patch": others}
        try:
            return forward_timestep_embed([layer], x, emb, context, options, *rest)
        finally:
            options["patches"] = patches

    return handler


# ---- a block's self-attention changed


@dataclass(frozen=True)
class SelfAttention:
    """One call of a self-attention. Tokens lie along the last dimension but one, in queries, keys and results.

    queries  as the attention is called with; so are the keys
    heads    their number; the queries and keys of each lie side by side, or apart along a dimension of their own
    run      the result for these queries or others
    value    what every token gives to others, in the form of the result
    tokens   those of the latent; the rest are text or references
    size     frames, height and width of the map of these tokens; None if unknown
    options  the call's `transformer_options`
    """

    queries: Tensor
    keys: Tensor
    heads: int
    run: Callable[[Tensor], Tensor]
    value: Callable[[], Tensor]
    tokens: slice
    size: tuple[int, int, int] | None
    options: dict

    def by_head(self, t: Tensor) -> Tensor:
        """Queries or keys as (B, heads, N, D)."""
        t = t if t.ndim == 4 else t.unflatten(-1, (-1, self.queries.shape[-1] // self.heads)).transpose(1, 2)
        return t.repeat_interleave(self.heads // t.shape[1], dim=1)

    def covers(self, t: Tensor) -> bool:
        """Whether all tokens are the latent's."""
        return self.tokens.indices(t.shape[-2])[:2] == (0, t.shape[-2])

    def of_latent(self, t: Tensor) -> Tensor:
        return t[..., self.tokens, :]

    def with_latent(self, t: Tensor, part: Tensor) -> Tensor:
        """`t` with other tokens of the latent."""
        if self.covers(t):
            return part
        start, stop, _ = self.tokens.indices(t.shape[-2])
        return torch.cat((t[..., :start, :], part, t[..., stop:, :]), -2)


# What becomes of a call; None leaves it as it is.
Change = Callable[[SelfAttention], Tensor | None]


def in_layer(change: Change, earlier: Callable | None, reached: list) -> Callable:
    """For a UNet: in place of a layer's self-attention, or of what another node put there."""

    def replacement(q, k, v, extra):
        def run(queries):
            if earlier:
                return earlier(queries, k, v, extra)
            precision = extra["attn_precision"]
            return optimized_attention(
                queries, k, v, heads=extra["n_heads"], attn_precision=precision, transformer_options=extra
            )

        if q.shape != v.shape:  # it attends to something else too
            return run(q)
        height, width = extra["activations_shape"][-2:]
        size = (1, height, width) if height * width == q.shape[-2] else None
        heads = extra["n_heads"]
        return changed(change, SelfAttention(q, k, heads, run, lambda: v, slice(None), size, extra), reached)

    return replacement


def changed(change: Change, call: SelfAttention, reached: list) -> Tensor:
    out = change(call)
    if out is None:
        return call.run(call.queries)
    reached.append(True)
    return out


def in_block(change: Change, earlier: Callable | None, places: Tokens, reached: list) -> Callable:
    """For a transformer: the block, or what another node put there, with its attention overridden inside."""

    def replacement(args, extra):
        options = args["transformer_options"]
        streams = Streams(args, options, places)
        before = options.get("optimized_attention_override")

        def override(attention, q, k, v, heads, *rest, **how):
            if not how.get("skip_reshape"):  # some come with their heads apart all the same
                q, k, v = (t.flatten(2) for t in (q, k, v))

            def run(queries):
                if before:
                    return before(attention, queries, k, v, heads, *rest, **how)
                return attention(queries, k, v, heads, *rest, **how)

            found = streams.find(q.shape[-2]) if q.shape[-2] == k.shape[-2] else None
            if found is None:
                return run(q)
            value = functools.partial(in_form, q, v, heads, how)
            return changed(change, SelfAttention(q, k, heads, run, value, *found, options), reached)

        inside = {**args, "transformer_options": {**options, "optimized_attention_override": override}}
        return earlier(inside, extra) if earlier else extra["original_block"](inside)

    return replacement


def in_form(q: Tensor, v: Tensor, heads: int, how: dict) -> Tensor:
    """The values in the form of the attention's result: heads side by side, or apart if it leaves them so."""
    if not how.get("skip_reshape"):
        v = v.unflatten(-1, (-1, q.shape[-1] // heads)).transpose(-3, -2)
    if v.shape[-3] != heads:
        v = v.repeat_interleave(heads // v.shape[-3], dim=-3)
    return v if how.get("skip_output_reshape") else v.transpose(-3, -2).flatten(-2)


@dataclass(frozen=True)
class Tokens:
    """How a transformer lays out a latent: the size of its patches, and where further tokens lie."""

    patch: tuple[int, int, int]
    further: str

    def size(self, latent) -> tuple[int, int, int]:
        """The map of tokens of a latent of this shape; a sequence is a map of height 1."""
        sides = (*(1,) * (5 - len(latent)), *latent[2:])
        return tuple(-(-side // p) for side, p in zip(sides, self.patch, strict=True))

    def place(self, tokens: slice, latent) -> tuple[slice, tuple[int, int, int] | None]:
        """Of these tokens those of the latent, and their map if it is known."""
        if latent is None:
            return tokens, None
        size = self.size(latent)
        count, found = size[0] * size[1] * size[2], tokens.stop - tokens.start
        if count == found:
            return tokens, size
        if count < found and self.further == "last":
            return slice(tokens.start, tokens.start + count), size
        if count < found and self.further == "first":
            return slice(tokens.stop - count, tokens.stop), size
        return tokens, None


class Streams:
    """The sequences that one call of a block works on: those of the latents, with the text in front where joined."""

    def __init__(self, args: dict, options: dict, places: Tokens):
        images, text = args.get("img"), args.get("txt")
        self.lengths = [t.shape[1] for t in (images if isinstance(images, tuple) else (images,))]
        self.text = text.shape[1] if isinstance(text, Tensor) else 0
        self.joined = options["img_slice"][0] if text is None and "img_slice" in options else None
        self.latents = options.get(SIZES) or []
        self.places = places
        self.seen = set()

    def find(self, length: int):
        """The latent's tokens in a self-attention over so many, and their map; None for any other attention.

        A self-attention comes before a cross-attention, which may be as long by chance.
        """
        if self.joined is not None:
            return self.place(0, self.joined, length)
        if length in self.lengths and length not in self.seen:
            self.seen.add(length)
            return self.place(self.lengths.index(length), 0, length)
        if self.text and length == self.lengths[0] + self.text:
            return self.place(0, self.text, length)
        return None

    def place(self, index: int, start: int, stop: int):
        latent = self.latents[index] if index < len(self.latents) else None
        return self.places.place(slice(start, stop), latent)


def note_sizes(options: dict) -> None:
    """Let the blocks of a pass know the latents that the model is called with."""
    add_wrapper_with_key(WrappersMP.APPLY_MODEL, KEY, with_sizes, options)


def with_sizes(executor, x, t, c_concat=None, c_crossattn=None, control=None, transformer_options=None, **kwargs):
    options = {**(transformer_options or {}), SIZES: kwargs.get("latent_shapes") or [x.shape]}
    return executor(x, t, c_concat, c_crossattn, control, options, **kwargs)
