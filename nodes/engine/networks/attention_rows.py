"""The ways in which an attention of a model reads a second text beside the positive's.

Guided rows are the rows of a batch that belong to the positive. `guide(z, other)` makes the output of an attention from
its outputs for the first and for the second text.

Beside   For models with cross-attention, whose text is read and never changed. The second text follows the first in the
         batch of texts, and every cross-attention is computed for both. All else is computed once.
Doubled  For models in which text and picture attend together, or in which the text is laid out by the batch. The guided
         rows are evaluated twice, once with each text. After every attention both get the same picture tokens, so that
         their next queries are the same too.

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
from .compiled import bare
from .unfit import Unfit


@dataclass(frozen=True)
class Rows:
    """Some rows of a batch.

    parts   the number of conditionings in the batch, each of which has an equal part of it
    guided  which of these parts are guided, by their numbers
    """

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
        """The batch t, with `guided` in the place of its guided rows."""
        if self.all:
            return guided
        parts = list(t.chunk(self.parts))
        for i, part in zip(self.guided, guided.chunk(len(self.guided)), strict=True):
            parts[i] = part
        return torch.cat(parts)

    def listed(self, of_parts: list) -> list:
        return [of_parts[i] for i in self.guided]


def text_beside(second, rows: Rows, context: Tensor | None) -> Tensor:
    """The second text, repeated for the guided rows. Raises Unfit if it or the prompt, `context`, holds no text."""
    other = None if context is None else second.part("c_crossattn", rows, context)
    if other is None:
        raise Unfit("the prompt or its negative holds no text; encode both from one, or bypass the node")
    return other


def side_by_side(own: Tensor, other: Tensor) -> tuple[Tensor, tuple[int, int]]:
    """Two batches of texts (B, L, C) as one, and by how many tokens each was lengthened. These tokens mean nothing."""
    longest = max(own.shape[1], other.shape[1])
    gaps = longest - own.shape[1], longest - other.shape[1]
    return torch.cat([lengthened(t, gap) for t, gap in zip((own, other), gaps, strict=True)]), gaps


def lengthened(t: Tensor, gap: int) -> Tensor:
    return torch.nn.functional.pad(t, (0, 0) * (t.ndim - 2) + (0, gap)) if gap else t


def without(t: Tensor, gap: int, end: int, dim: int = -2) -> Tensor:
    """The tokens, without the `gap` tokens just before the place `end`."""
    if not gap:
        return t
    return torch.cat((t.narrow(dim, 0, end - gap), t.narrow(dim, end, t.shape[dim] - end)), dim)


def attending(before: Callable | None, attention: Callable, heads: int, rest: tuple, how: dict) -> Callable:
    """The attention of a call as a function of q, k and v: the one of another node, `before`, or the model's own."""
    run = functools.partial(before, attention) if before else attention
    return lambda q, k, v, *mask: run(q, k, v, heads, *mask, *rest, **how)


# ---- cross-attention


@dataclass(frozen=True)
class Beside:
    """The way for cross-attention.

    along    names of further arguments that the model joins to its text, row by row
    patched  whether the host lets nodes patch its cross-attention
    """

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
    """The cross-attentions of one call.

    An attention is known as one by its keys: with both texts they have more rows than the queries.
    """

    def __init__(self, guide: Callable, rows: Rows, gaps: tuple[int, int], longest: int):
        self.guide = guide
        self.rows = rows
        self.gaps = self.now = gaps
        self.longest = longest

    def override(self, before, attention, q, k, v, heads, *rest, **how) -> Tensor:
        run = attending(before, attention, heads, rest, how)
        return run(q, k, v) if len(k) == len(q) else self.guided(run, run, q, k, v)

    def guided(self, run: Callable, run_other: Callable, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        gaps = self.now if k.shape[-2] == self.longest else (0, 0)  # other keys, such as a picture's, have no gaps
        (k, other_k), (v, other_v) = self.split(k, len(q), gaps), self.split(v, len(q), gaps)
        z = run(q, k, v)
        return self.rows.put(z, self.guide(self.rows.of(z), run_other(self.rows.of(q), other_k, other_v)))

    @staticmethod
    def split(t: Tensor, own: int, gaps: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """The tokens of the first and of the second text, without the `gaps` at their ends."""
        return tuple(part[..., : t.shape[-2] - gap, :] for part, gap in zip((t[:own], t[own:]), gaps, strict=True))

    def among_patches(self, options: dict) -> dict:
        """The options in which the patches of other nodes in a UNet's cross-attentions see one text at a time."""
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
        """The `extra` argument of a patch, for a batch that holds the guided rows alone."""
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
    """The way in which the guided rows are evaluated twice.

    joint    whether text and picture attend together, the text first
    free     whether the two texts may differ in length: the model reads a text token by token, so the tokens that
             lengthen one do no harm if no attention reads them
    masked   whether the model takes a mask of its text; None if it gets one and ignores it
    refined  whether the text attends to itself before it meets the picture. The picture then follows the text, and its
             place depends on the length of the text
    """

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
        """The mask of both texts as a keyword argument; empty if neither text has one.

        Raises Unfit for masks and further texts that the model cannot read twice.
        """
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
        """The options in which every block of the model has its attention overridden by `same`."""
        replaced = dict(options.get("patches_replace", {}).get("dit", {}))
        for block in blocks.shape_of(net).blocks(net):
            key = f"{block.kind}_block", block.index
            replaced[key] = same.block(self.joint, replaced.get(key))
        return {"patches_replace": {**options.get("patches_replace", {}), "dit": replaced}}


def with_copies(rows: Rows, size: int, value):
    """An argument of the model with copies of the guided rows added to each tensor that has `size` rows.

    Dictionaries and lists are searched for such tensors.
    """
    more = functools.partial(with_copies, rows, size)
    if isinstance(value, Tensor) and value.ndim and len(value) == size:
        return torch.cat((value, rows.of(value)))
    if isinstance(value, dict):
        return {key: more(one) for key, one in value.items()}
    return [more(one) for one in value] if type(value) is list else value


class Same:
    """The attentions of one call. Each gives the guided rows and their copies the same picture tokens."""

    def __init__(self, guide: Callable, rows: Rows, gaps: tuple[int, int], longest: int):
        self.guide = guide
        self.rows = rows
        self.gaps = gaps
        self.longest = longest

    def block(self, joint: bool, earlier: Callable | None) -> Callable:
        """A replacement for a block: the block itself, or another node's replacement, with its attention overridden."""

        def replacement(args, extra):
            options = args["transformer_options"]
            place = picture(args, options) if joint else (0, None)
            override = functools.partial(self.override, *place, options.get(OVERRIDE))
            inside = {**args, "transformer_options": {**options, OVERRIDE: override}}
            return earlier(inside, extra) if earlier else extra["original_block"](inside)

        return replacement

    def of_sequence(self, net, options: dict) -> dict:
        """The options for a model that runs over one sequence, text first, after refiners have run over the text."""
        step = getattr(net, "pad_tokens_multiple", None) or 1
        place = -(-self.longest // step) * step, None
        before, refiners = options.get(OVERRIDE), iter(range(len(net.context_refiner)))

        def override(attention, q, k, v, heads, *rest, **how):
            if "block_index" in how["transformer_options"]:
                return self.override(*place, before, attention, q, k, v, heads, *rest, **how)
            total = None if next(refiners, None) is not None else 0  # the text's refiners run first, then the picture's
            return self.override(place[0], total, before, attention, q, k, v, heads, *rest, **how)

        return {OVERRIDE: override}

    def override(self, start, total, before, attention, q, k, v, heads, *rest, **how) -> Tensor:
        """The output of an attention, guided if it reads the text.

        The picture's queries begin at `start`. An attention over `total` tokens reads the text; where `total` is None,
        any may. In all others the picture reads itself, which is the same for the guided rows and their copies.
        """
        if not how.get("skip_reshape"):  # the heads may come apart, contrary to what the flag says
            q, k, v = (t.flatten(2) for t in (q, k, v))
        mask, *rest = rest or (how.pop("mask", None),)
        run = attending(before, attention, heads, tuple(rest), how)
        if total not in (None, k.shape[-2]):
            return run(q, k, v, mask)
        own = len(q) // (self.rows.parts + len(self.rows.guided)) * self.rows.parts
        z, other = self.apart(run, q, k, v, mask, own) if any(self.gaps) else halves(run(q, k, v, mask), own)
        if z.shape[1] <= start:  # the text reads itself
            return torch.cat((z, other))
        mine = self.rows.of(z)
        guided = self.guide(mine[:, start:], other[:, start:])
        z = self.rows.put(z, torch.cat((mine[:, :start], guided), 1))
        return torch.cat((z, torch.cat((other[:, :start], guided), 1)))

    def apart(self, run, q, k, v, mask, own: int) -> tuple[Tensor, Tensor]:
        """The attention of the batch's own rows and that of the copies, each without the tokens of its text's gap."""
        sides = []
        for rows, gap in zip((slice(own), slice(own, None)), self.gaps, strict=True):
            seen = mask[rows] if mask is not None and mask.ndim > 2 and len(mask) == len(q) else mask
            seen = seen if seen is None else without(seen, gap, self.longest, -1)
            sides.append(run(q[rows], without(k[rows], gap, self.longest), without(v[rows], gap, self.longest), seen))
        return tuple(sides)


def halves(t: Tensor, own: int) -> tuple[Tensor, Tensor]:
    return t[:own], t[own:]


def picture(args: dict, options: dict) -> tuple[int, int]:
    """Where the picture begins in a block's joint attention, and over how many tokens this attention is."""
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

INSTEAD = "use cfg above 1 and its negative"


def way_of(net) -> Beside | Doubled:
    """How a second text gets into a network, out of a compiler's wrapper. Raises Unfit if there is no way."""
    way = next((WAYS[c.__name__] for c in type(net).__mro__ if c.__name__ in WAYS), None)
    if way is None:
        raise Unfit(f"it cannot reach the attention of this model ({type(net).__name__}); {INSTEAD}")
    return way


def no_way(model, positive: list) -> str:
    """Why a model cannot read a second text, as `Condition.obstacle` says it; "" if it can."""
    net = bare(model.diffusion_model)
    try:
        way_of(net)
    except Unfit:
        return f"on this model ({type(net).__name__}), whose attention it cannot reach; {INSTEAD}"
    return ""
