"""What a batch looks at inside a model beside its own text: the ways in which a second text gets there.

Beside   Models whose text is only looked at (cross-attention). The second text rides behind the first in the batch of
         texts, and every cross-attention is computed for both; the picture is computed once.
Doubled  Models in which text and picture attend together, or in which the text is laid out by the batch. The guided
         rows are evaluated twice, with either text; every attention hands both the same picture tokens to go on with,
         so that they keep asking the same question.

Nothing here outlives a call of the model: `transformer_options` are changed in copies.
"""

from __future__ import annotations

import functools
import uuid
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from . import blocks
from .block_patches import OVERRIDE
from .unfit import Unfit


@dataclass(frozen=True)
class Rows:
    """A batch in `parts` of equal size, one for each of its conditionings; `guided` are the numbers of some of them."""

    parts: int
    guided: tuple[int, ...]

    @property
    def all(self) -> bool:
        return len(self.guided) == self.parts

    def of(self, t: Tensor) -> Tensor:
        """The guided rows."""
        if self.all:
            return t
        parts = t.chunk(self.parts)
        return torch.cat([parts[i] for i in self.guided])

    def put(self, t: Tensor, guided: Tensor) -> Tensor:
        """The batch with other guided rows."""
        if self.all:
            return guided
        parts = list(t.chunk(self.parts))
        for i, part in zip(self.guided, guided.chunk(len(self.guided)), strict=True):
            parts[i] = part
        return torch.cat(parts)

    def listed(self, of_parts: list) -> list:
        return [of_parts[i] for i in self.guided]


def text_beside(second, rows: Rows, context: Tensor | None) -> Tensor:
    """The text of the negative, beside that of the prompt. Raises Unfit where either has none."""
    other = None if context is None else second.part("c_crossattn", rows, context)
    if other is None:
        raise Unfit("the prompt or its negative holds no text; encode both from one, or bypass the node")
    return other


def side_by_side(own: Tensor, other: Tensor) -> tuple[Tensor, tuple[int, int]]:
    """Two batches of texts (B, L, C) as one, and how many tokens without meaning either ends with."""
    longest = max(own.shape[1], other.shape[1])
    gaps = longest - own.shape[1], longest - other.shape[1]
    return torch.cat([lengthened(t, gap) for t, gap in zip((own, other), gaps, strict=True)]), gaps


def lengthened(t: Tensor, gap: int) -> Tensor:
    return torch.nn.functional.pad(t, (0, 0) * (t.ndim - 2) + (0, gap)) if gap else t


def without(t: Tensor, gap: int, end: int, dim: int = -2) -> Tensor:
    """The tokens without the last `gap` before `end`."""
    if not gap:
        return t
    return torch.cat((t.narrow(dim, 0, end - gap), t.narrow(dim, end, t.shape[dim] - end)), dim)


def attending(before: Callable | None, attention: Callable, heads: int, rest: tuple, how: dict) -> Callable:
    """The attention of a call, as another node overrides it or as it is."""
    run = functools.partial(before, attention) if before else attention
    return lambda q, k, v, *mask: run(q, k, v, heads, *mask, *rest, **how)


# ---- cross-attention


@dataclass(frozen=True)
class Beside:
    """`along` names what the model joins to its text, row by row; `patched` is True if nodes patch its attention."""

    along: tuple[str, ...] = ()
    patched: bool = False

    def __call__(self, net, second, rows, executor, x, t, c_concat, context, control, options, kwargs) -> Tensor:
        other = text_beside(second, rows, context)
        both, gaps = side_by_side(context, other)
        looks = Looks(second.guide, rows, gaps, both.shape[1])
        options = {**options, OVERRIDE: functools.partial(looks.override, options.get(OVERRIDE))}
        joined = {name: kwargs[name] for name in self.along if kwargs.get(name) is not None}
        kwargs = {**kwargs, **{name: torch.cat((own, rows.of(own))) for name, own in joined.items()}}
        options = looks.among_patches(options) if self.patched else options
        return executor(x, t, c_concat, both, control, options, **kwargs)


class Looks:
    """The cross-attentions of one call. They are known by their keys, of which there are more rows than of queries."""

    def __init__(self, guide: Callable, rows: Rows, gaps: tuple[int, int], longest: int):
        self.guide = guide
        self.rows = rows
        self.gaps = self.now = gaps
        self.longest = longest

    def override(self, before, attention, q, k, v, heads, *rest, **how) -> Tensor:
        run = attending(before, attention, heads, rest, how)
        return run(q, k, v) if len(k) == len(q) else self.guided(run, run, q, k, v)

    def guided(self, run: Callable, run_other: Callable, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        gaps = self.now if k.shape[-2] == self.longest else (0, 0)  # a picture read beside the text has none
        (k, other_k), (v, other_v) = self.split(k, len(q), gaps), self.split(v, len(q), gaps)
        z = run(q, k, v)
        return self.rows.put(z, self.guide(self.rows.of(z), run_other(self.rows.of(q), other_k, other_v)))

    @staticmethod
    def split(t: Tensor, own: int, gaps: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """The tokens of either text; those without meaning are the last."""
        return tuple(part[..., : t.shape[-2] - gap, :] for part, gap in zip((t[:own], t[own:]), gaps, strict=True))

    def among_patches(self, options: dict) -> dict:
        """What other nodes do in a UNet's cross-attentions they do for one text at a time."""
        replaced = options.get("patches_replace", {}).get("attn2", {})
        patches = options.get("patches", {}).get("attn2_patch", [])
        if replaced:
            own = {key: functools.partial(self.replaced, earlier) for key, earlier in replaced.items()}
            options = {**options, "patches_replace": {**options["patches_replace"], "attn2": own}}
        if patches:
            own = [functools.partial(self.through, patches)]
            options = {**options, "patches": {**options["patches"], "attn2_patch": own}}
        return options

    def replaced(self, earlier, q, k, v, extra) -> Tensor:
        def run(q, k, v):
            return earlier(q, k, v, extra)

        def run_other(q, k, v):
            return earlier(q, k, v, self.seen(extra))

        return run(q, k, v) if len(k) == len(q) else self.guided(run, run_other, q, k, v)

    def seen(self, extra: dict) -> dict:
        """What a function is told of a batch that holds the guided rows alone."""
        return {**extra, **{key: self.rows.listed(extra[key]) for key in ("cond_or_uncond", "uuids") if key in extra}}

    def through(self, patches, n, context, value, extra) -> tuple[Tensor, Tensor, Tensor]:
        (own, other), (own_value, other_value) = (self.split(t, len(n), self.gaps) for t in (context, value))
        guided, of_guided = self.rows.of(n), self.seen(extra)
        for patch in patches:
            n, own, own_value = patch(n, own, own_value, extra)
            guided, other, other_value = patch(guided, other, other_value, of_guided)
        context, self.now = side_by_side(own, other)
        self.longest = context.shape[1]
        return n, context, side_by_side(own_value, other_value)[0]


# ---- rows evaluated twice


@dataclass(frozen=True)
class Doubled:
    """`joint`: text and picture attend together, the text first. `free`: the model reads its text token by token, so
    that tokens which nobody looks at do no harm and lengths may differ. `masked`: it takes a mask of the text; None if
    it gets one and ignores it. `refined`: the text attends to itself before it meets the picture, which comes after it
    and has its place from the length of the text."""

    joint: bool = False
    free: bool = False
    masked: bool | None = False
    refined: bool = False

    def __call__(self, net, second, rows, executor, x, t, c_concat, context, control, options, kwargs) -> Tensor:
        other = text_beside(second, rows, context)
        both, gaps = side_by_side(context, other)
        if any(gaps) and not self.free:
            raise Unfit(
                f"the prompt has {context.shape[1]} tokens and the negative {other.shape[1]}, which this model cannot "
                f"read side by side; make them equally long"
            )
        if self.refined and gaps[0]:
            raise Unfit(
                f"the negative has {other.shape[1]} tokens and the prompt {context.shape[1]}, and a longer text would "
                f"move the picture; shorten the negative or write more into the prompt"
            )
        if self.refined and kwargs.get("ref_latents"):
            raise Unfit(
                "the prompt has reference pictures, which this model lays out between text and picture; remove them or "
                "bypass the node"
            )
        more = functools.partial(with_copies, rows, len(x))
        inside = {**more(kwargs), **self.masks(second, rows, context, other, kwargs)}
        same = Same(second.guide, rows, gaps, both.shape[1])
        options = {
            **options,
            "cond_or_uncond": [*options["cond_or_uncond"], *rows.listed(options["cond_or_uncond"])],
            "uuids": [*options["uuids"], *(uuid.uuid5(u, "azimuth") for u in rows.listed(options["uuids"]))],
            **(same.of_sequence(net, options) if self.refined else self.watched(net, same, options)),
        }
        out = executor(more(x), more(t), more(c_concat), both, more(control), options, **inside)
        return out[: len(x)]

    def masks(self, second, rows, context, other, kwargs) -> dict:
        """The mask of both texts, where the model takes one and either has it."""
        if self.masked is None:
            return {}
        own, theirs = kwargs.get("attention_mask"), second.part("attention_mask", rows, context)
        unmasked = own is None and theirs is None
        further = kwargs.get("txt_byt5") is not None or second.part("txt_byt5", rows, context) is not None
        by_place = own is not None and own.ndim > 2
        if further or by_place or not (unmasked or self.masked):
            raise Unfit(
                "the prompt or its negative has a masked or a second text, which this model cannot read twice; encode "
                "both as one plain text or bypass the node"
            )
        if unmasked:
            return {}
        kind = {"dtype": (theirs if own is None else own).dtype, "device": context.device}
        own = torch.ones(context.shape[:2], **kind) if own is None else own
        theirs = torch.ones(other.shape[:2], **kind) if theirs is None else theirs.to(own)
        return {"attention_mask": side_by_side(own, theirs)[0]}

    def watched(self, net, same: Same, options: dict) -> dict:
        """The options under which every block of a model is watched."""
        replaced = dict(options.get("patches_replace", {}).get("dit", {}))
        for block in blocks.shape_of(net).blocks(net):
            key = f"{block.kind}_block", block.index
            replaced[key] = same.block(self.joint, replaced.get(key))
        return {"patches_replace": {**options.get("patches_replace", {}), "dit": replaced}}


def with_copies(rows: Rows, size: int, value):
    """What a model is called with for a batch of this size, with further rows: copies of the guided ones."""
    more = functools.partial(with_copies, rows, size)
    if isinstance(value, Tensor) and value.ndim and len(value) == size:
        return torch.cat((value, rows.of(value)))
    if isinstance(value, dict):
        return {key: more(one) for key, one in value.items()}
    return [more(one) for one in value] if type(value) is list else value


class Same:
    """The attentions of one call, after which the guided rows and their copies have the same picture tokens."""

    def __init__(self, guide: Callable, rows: Rows, gaps: tuple[int, int], longest: int):
        self.guide = guide
        self.rows = rows
        self.gaps = gaps
        self.longest = longest

    def block(self, joint: bool, earlier: Callable | None) -> Callable:
        """In place of a block: the block, or what another node put there, with its attention overridden inside."""

        def replacement(args, extra):
            options = args["transformer_options"]
            place = picture(args, options) if joint else (0, None)
            override = functools.partial(self.override, *place, options.get(OVERRIDE))
            inside = {**args, "transformer_options": {**options, OVERRIDE: override}}
            return earlier(inside, extra) if earlier else extra["original_block"](inside)

        return replacement

    def of_sequence(self, net, options: dict) -> dict:
        """The options for a model that runs over one sequence, text first, after the text has looked at itself."""
        step = getattr(net, "pad_tokens_multiple", None) or 1
        place = -(-self.longest // step) * step, None
        before, refiners = options.get(OVERRIDE), iter(range(len(net.context_refiner)))

        def override(attention, q, k, v, heads, *rest, **how):
            if "block_index" in how["transformer_options"]:
                return self.override(*place, before, attention, q, k, v, heads, *rest, **how)
            total = None if next(refiners, None) is not None else 0  # the text comes first, and then the picture
            return self.override(place[0], total, before, attention, q, k, v, heads, *rest, **how)

        return {OVERRIDE: override}

    def override(self, start, total, before, attention, q, k, v, heads, *rest, **how) -> Tensor:
        """In place of an attention, of which the picture's queries begin at `start`. Those over `total` tokens read the
        text, or may do so where that is None; what a picture sees of itself is the same in both rows, and stays so."""
        if not how.get("skip_reshape"):  # some come with their heads apart all the same
            q, k, v = (t.flatten(2) for t in (q, k, v))
        mask, *rest = rest or (how.pop("mask", None),)
        run = attending(before, attention, heads, tuple(rest), how)
        if total not in (None, k.shape[-2]):
            return run(q, k, v, mask)
        own = len(q) // (self.rows.parts + len(self.rows.guided)) * self.rows.parts
        z, other = self.apart(run, q, k, v, mask, own) if any(self.gaps) else halves(run(q, k, v, mask), own)
        if z.shape[1] <= start:  # the text by itself
            return torch.cat((z, other))
        mine = self.rows.of(z)
        guided = self.guide(mine[:, start:], other[:, start:])
        z = self.rows.put(z, torch.cat((mine[:, :start], guided), 1))
        return torch.cat((z, torch.cat((other[:, :start], guided), 1)))

    def apart(self, run, q, k, v, mask, own: int) -> tuple[Tensor, Tensor]:
        """The attention of the rows and of their copies, each without the tokens that mean nothing there."""
        sides = []
        for rows, gap in zip((slice(own), slice(own, None)), self.gaps, strict=True):
            seen = mask[rows] if mask is not None and mask.ndim > 2 and len(mask) == len(q) else mask
            seen = seen if seen is None else without(seen, gap, self.longest, -1)
            sides.append(run(q[rows], without(k[rows], gap, self.longest), without(v[rows], gap, self.longest), seen))
        return tuple(sides)


def halves(t: Tensor, own: int) -> tuple[Tensor, Tensor]:
    return t[:own], t[own:]


def picture(args: dict, options: dict) -> tuple[int, int]:
    """Where the picture begins in a block's joint attention, and of how many tokens that is."""
    text, images = args.get("txt"), args["img"].shape[1]
    return (options["img_slice"][0], images) if text is None else (text.shape[1], text.shape[1] + images)


# ---- which model takes which way

WAYS = {
    "UNetModel": Beside(patched=True),
    "CausalWanModel": None,  # keeps the keys of a text from call to call
    "WanModel": Beside(along=("clip_fea",)),
    "AudioDiffusionTransformer": Beside(),
    "MiniTrainDIT": Beside(),
    "OpenAISignatureMMDITWrapper": Doubled(joint=True, free=True),
    "Flux": Doubled(joint=True, free=True),
    "Chroma": Doubled(joint=True, free=True),
    "QwenImageTransformer2DModel": Doubled(joint=True, free=True, masked=True),
    "HunyuanVideo": Doubled(joint=True),
    "NextDiT": Doubled(joint=True, free=True, masked=None, refined=True),
    "LTXBaseModel": Doubled(masked=True),
}


def way_of(net) -> Beside | Doubled | None:
    """How a second text gets into a network; None if there is no way."""
    return next((WAYS[c.__name__] for c in type(net).__mro__ if c.__name__ in WAYS), None)


def no_way(model, positive: list) -> str:
    """Why a second text cannot get into a model, in the words that follow `has no effect`; empty if it can."""
    net = model.diffusion_model
    if way_of(net):
        return ""
    return f"on this model ({type(net).__name__}), whose attention it cannot reach; use cfg above 1 and its negative"
