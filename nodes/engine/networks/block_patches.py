"""The host's patches that reach a block: one that leaves it out, and one that changes its self-attention.

Everything here works on a private copy of `transformer_options`, made for one pass.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from dataclasses import dataclass

import torch
from comfy.ldm.modules.attention import optimized_attention
from comfy.ldm.modules.diffusionmodules.openaimodel import forward_timestep_embed
from comfy.patcher_extension import WrappersMP, add_wrapper_with_key
from torch import Tensor

from ... import host
from .compiled import UNCOMPILED

KEY = "azimuth_blocks"
OVERRIDE = "optimized_attention_override"

# A key in `transformer_options` of a pass: the shapes of the latents that the model is called with.
SIZES = "azimuth_sizes"


# ---- a block left out


def hand_on(reached: list) -> Callable:
    """A replacement for a block of a transformer: what goes in comes out. It notes in `reached` that it was called."""

    def replacement(args, extra):
        reached.append(True)
        return args

    return replacement


def without(places: set, reached: list) -> Callable:
    """A handler for a UNet's spatial transformers: leaves those of the blocks `places` out, and calls the others."""

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

    queries  as the attention is called with them
    keys     as the attention is called with them
    heads    the number of heads. They lie side by side in the last dimension, or along a dimension of their own
    run      `run(queries)` returns the result for these or other queries
    value    `value()` returns the values, in the form of the result
    tokens   where the latent's tokens are; the rest are text or references
    size     frames, height and width of the map of the latent's tokens; None if unknown
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

    def to_keep(self) -> SelfAttention:
        """What may outlive the call: queries and keys, but nothing that could be run again."""
        queries, keys = host.kept(self.queries), host.kept(self.keys)
        return dataclasses.replace(self, queries=queries, keys=keys, run=None, value=None)

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
        """`t`, with `part` in the place of the latent's tokens."""
        if self.covers(t):
            return part
        start, stop, _ = self.tokens.indices(t.shape[-2])
        return torch.cat((t[..., :start, :], part, t[..., stop:, :]), -2)


# Returns the result of a call of a self-attention, or None to leave it as it is.
Change = Callable[[SelfAttention], Tensor | None]


def in_layer(change: Change, earlier: Callable | None, reached: list) -> Callable:
    """A replacement for the self-attention of a layer of a UNet, or for another node's replacement of it."""

    def replacement(q, k, v, extra):
        def run(queries):
            if earlier:
                return earlier(queries, k, v, extra)
            precision = extra["attn_precision"]
            return optimized_attention(
                queries, k, v, heads=extra["n_heads"], attn_precision=precision, transformer_options=extra
            )

        if q.shape != v.shape:  # it is no pure self-attention: it reads something else too
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
    """A replacement for a transformer's block: the block, or another node's replacement, with its attention changed."""

    def replacement(args, extra):
        options = args["transformer_options"]
        find = Streams(args, options, places).find
        override = functools.partial(overridden, change, find, options.get(OVERRIDE), options, reached)
        inside = {**args, "transformer_options": {**options, OVERRIDE: override}}
        return earlier(inside, extra) if earlier else extra["original_block"](inside)

    return replacement


def overridden(change, find, before, options, reached, attention, q, k, v, heads, *rest, **how) -> Tensor:
    """The result of an attention, which another node may override (`before`); changed if it is a self-attention.

    `find(length)` tells, from the number of tokens: it returns where the latent's tokens are and their map, or None
    for an attention that is not to be changed.
    """
    if not how.get("skip_reshape"):  # the heads may come apart, contrary to what the flag says
        q, k, v = (t.flatten(2) for t in (q, k, v))

    def run(queries):
        if before:
            return before(attention, queries, k, v, heads, *rest, **how)
        return attention(queries, k, v, heads, *rest, **how)

    found = find(q.shape[-2]) if q.shape[-2] == k.shape[-2] else None
    if found is None:
        return run(q)
    value = functools.partial(in_form, q, v, heads, how)
    return changed(change, SelfAttention(q, k, heads, run, value, *found, options), reached)


def in_form(q: Tensor, v: Tensor, heads: int, how: dict) -> Tensor:
    """The values in the form of the attention's result, with heads side by side or apart as there."""
    if not how.get("skip_reshape"):
        v = v.unflatten(-1, (-1, q.shape[-1] // heads)).transpose(-3, -2)
    if v.shape[-3] != heads:
        v = v.repeat_interleave(heads // v.shape[-3], dim=-3)
    return v if how.get("skip_output_reshape") else v.transpose(-3, -2).flatten(-2)


@dataclass(frozen=True)
class Tokens:
    """How a transformer lays out a latent as tokens.

    patch    frames, height and width of the part of a latent that becomes one token
    further  where tokens other than the latent's lie: "first", "last", or "" if unknown
    """

    patch: tuple[int, int, int]
    further: str

    def size(self, latent) -> tuple[int, int, int]:
        """The map of tokens of a latent of this shape; a sequence is a map of height 1."""
        sides = (*(1,) * (5 - len(latent)), *latent[2:])
        return tuple(-(-side // p) for side, p in zip(sides, self.patch, strict=True))

    def place(self, tokens: slice, latent) -> tuple[slice, tuple[int, int, int] | None]:
        """Which of `tokens` are the latent's, and their map; None for a map that is unknown."""
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
    """The sequences that one call of a block works on: one for each latent, with the text in front where joined."""

    def __init__(self, args: dict, options: dict, places: Tokens):
        images, text = args.get("img"), args.get("txt")
        self.lengths = [t.shape[1] for t in (images if isinstance(images, tuple) else (images,))]
        self.text = text.shape[1] if isinstance(text, Tensor) else 0
        self.joined = options["img_slice"][0] if text is None and "img_slice" in options else None
        self.latents = options.get(SIZES) or []
        self.places = places
        self.seen = set()

    def find(self, length: int):
        """The latent's tokens in a self-attention over `length` tokens, and their map; None for any other attention.

        Only the first attention of a length counts. A cross-attention of the same length, by chance, comes later.
        """
        if self.joined is not None:
            return self.place(0, self.joined, length)
        if length in self.lengths and length not in self.seen:
            self.seen.add(length)
            return self.place(self.lengths.index(length), 0, length)
        if self.text and length == self.lengths[0] + self.text:
            return self.place(0, self.text, length)
        return None

    def of_latents(self) -> list[slice]:
        """Of each sequence the tokens of its latent."""
        first = self.joined or 0
        return [self.place(i, first, length)[0] for i, length in enumerate(self.lengths)]

    def place(self, index: int, start: int, stop: int):
        latent = self.latents[index] if index < len(self.latents) else None
        return self.places.place(slice(start, stop), latent)


# ---- every call of a pass


def in_each_call(options: dict, more: Callable[[dict, Tensor, dict], dict]) -> None:
    """Let a pass call the model, as it is before any compiler, with further options each time.

    `more(options, x, kwargs)` returns them, from the options, the latent and the keyword arguments of that call.
    """

    def call(executor, x, t, c_concat=None, c_crossattn=None, control=None, transformer_options=None, **kwargs):
        inside = dict(transformer_options or {})
        inside.update(more(inside, x, kwargs))
        with UNCOMPILED:
            return executor(x, t, c_concat, c_crossattn, control, inside, **kwargs)

    add_wrapper_with_key(WrappersMP.APPLY_MODEL, KEY, call, options)


def note_sizes(options: dict) -> None:
    """Let the blocks of a pass know the shapes of the latents that the model is called with (`SIZES`)."""
    in_each_call(options, lambda _, x, kwargs: {SIZES: kwargs.get("latent_shapes") or [x.shape]})
