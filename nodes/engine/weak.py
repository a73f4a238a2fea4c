"""Terms beside the combined result: what a weaker model makes of the positive, in one more pass each.

A pass goes through the host's `calc_cond_batch`, as those of the host's own PAG do, so that areas, LoRA hooks and
context windows count in it as in the first; with a private copy of `model_options`, and without our further negatives.
"""

from __future__ import annotations

import dataclasses
import functools
import logging
from collections.abc import Callable

import comfy.model_patcher
import comfy.samplers
from torch import Tensor

from ...guidance import add_term
from . import stages
from .branches import BranchHandler
from .networks import block_patches, blocks
from .networks.unfit import Unfit
from .run import Run
from .stages import Add, Moment, Window

Weakened = Callable[[dict, Run, Moment], Moment]


def term(node: str, schedule, window: Window, open_, *, off=False, rescale: float = 0.0, words: str = "") -> Add:
    """A stage that adds scale (cond - other); `off` where the weaker model is the model as it is."""
    rule = functools.partial(pulled, rescale)
    words += f", rescale {rescale:g}" if rescale else ""
    return Add(node, schedule, "scale", window, rule=rule, open=open_, off=off, words=words)


def pulled(rescale: float, m: Moment) -> Tensor:
    return add_term(m.guided, m.cond, m.other, scale=m.value, rescale=rescale)


# ---- the run


def open_terms(model, run: Run) -> None:
    """Have every term that counts at some step prepared; those that this MODEL cannot have are left out."""
    for stage in run.of(Add):
        if run.ever_counts(stage, run.usual):
            try:
                run.terms[stage] = stage.open(model, run)
            except Unfit as reason:
                leave_out(run, stage, reason)


def leave_out(run: Run, stage: stages.Stage, reason: Unfit) -> None:
    run.stages = tuple(other for other in run.stages if other is not stage)
    run.say(f"{stage.node} has no effect: {reason}.", logging.WARNING)


def watched(run: Run, scale: float, model_options: dict) -> dict:
    """The options of a step's first pass, with what the terms that count want to see of it."""
    for stage in run.counting(Add, scale):
        if hasattr(run.terms[stage], "watch"):
            model_options = run.terms[stage].watch(model_options)
    return model_options


# ---- the pass


def copied(model_options: dict) -> dict:
    """What a further pass may change: the host's own copy, with the real context handler in place of ours."""
    return {**host_copy(model_options), "context_handler": real_handler(model_options)}


def host_copy(model_options: dict) -> dict:
    """A copy with dictionaries and lists of its own."""
    return comfy.model_patcher.create_model_options_clone(model_options)


def real_handler(model_options: dict):
    handler = model_options.get("context_handler")
    return handler.real if isinstance(handler, BranchHandler) else handler


def predicted(args: dict, options: dict, conds: str = "cond", x: Tensor | None = None) -> Tensor:
    """D of the positive, or of other conditionings of the step, under these options; at x, or at another place."""
    x = args["input"] if x is None else x
    return comfy.samplers.calc_cond_batch(args["model"], [args[conds]], x, args["sigma"], options)[0]


# What a term is made of: `pick(model, run)` returns, for one run, the kind of network and a function from the number of
# a call to the blocks that this call changes. Both raise Unfit.
Pick = Callable[[object, Run], tuple]


def named(node: str, wanted: tuple | None) -> Pick:
    """The same blocks in every call."""

    def pick(model, run: Run) -> tuple:
        shape, chosen = blocks.choose(model, wanted, run, node, attention=True)
        return shape, lambda call: chosen

    return pick


def with_attention(pick: Pick, change: block_patches.Change):
    """To `open` a term whose weaker model is the model itself with the self-attention of some blocks changed."""

    def open_(model, run: Run) -> Weakened:
        return functools.partial(attended, *pick(model, run), change, blocks.network(model))

    return open_


def attended(shape, chosen_at, change, net, args: dict, run: Run, moment: Moment) -> Moment:
    def patch(options, chosen, reached):
        block_patches.note_sizes(options)
        shape.attend(options, chosen, change, net, reached)

    return patched(patch, chosen_at(run.calls), args, moment)


def without_blocks(pick: Pick):
    """To `open` a term whose weaker model is the model itself without some blocks."""

    def open_(model, run: Run) -> Weakened:
        return functools.partial(skipped, *pick(model, run))

    return open_


def skipped(shape, chosen_at, args: dict, run: Run, moment: Moment) -> Moment:
    return patched(shape.skip, chosen_at(run.calls), args, moment)


def patched(patch: Callable, chosen: list, args: dict, moment: Moment) -> Moment:
    """The moment with what the model predicts under a patch of these blocks; Unfit if none of them met it."""
    options, reached = copied(args["model_options"]), []
    patch(options["transformer_options"], chosen, reached)
    other = predicted(args, options)
    if not reached:
        raise Unfit(
            f"the model never calls anything in {blocks.listed(chosen)} that could be changed; name other blocks or "
            f"choose another term"
        )
    return dataclasses.replace(moment, other=other)
