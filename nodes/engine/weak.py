"""What an `Add` stage does: a weaker model predicts the positive in a pass of its own, and a term leads away from that.

The pass goes through the host's `calc_cond_batch`, as the passes of the host's own PAG do. Areas, LoRA hooks and
context windows therefore count in it as in any other. It has a private copy of `model_options` and takes no branches.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable

import comfy.model_patcher
import comfy.samplers
from torch import Tensor

from ...guidance import add_term
from . import stages
from .branches import BranchHandler
from .conditioning import as_another
from .networks import block_patches, blocks
from .networks.unfit import Unfit
from .run import Run
from .stages import Add, Moment, Window
from .term_rescale import NOT_RESCALED, Rescale

# The key in the arguments of a call under which a term finds the name of its pass.
TERM = "azimuth_term"

Weakened = Callable[[dict, Run, Moment], Moment]


def term(
    node: str, schedule, window: Window, open_, *, off=False, rescale: Rescale = NOT_RESCALED, words: str = ""
) -> Add:
    """A stage that adds scale (cond - other); `off` says that the weaker model would be the model as it is."""
    words += f", rescale {rescale}" if rescale.share else ""
    return Add(
        node, schedule, "scale", window, rule=functools.partial(pulled, rescale), open=open_, off=off, words=words
    )


def pulled(rescale: Rescale, m: Moment) -> Tensor:
    return add_term(m.guided, m.cond, m.other, scale=m.value, **rescale.given(m))


# ---- the run


def open_terms(model, run: Run) -> None:
    """Prepare every term that counts at some step; leave out those that this MODEL cannot have."""
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
    """The options of a step's first pass, in which the terms that count record what they need of it (SAG)."""
    for stage in run.counting(Add, scale):
        if hasattr(run.terms[stage], "watch"):
            model_options = run.terms[stage].watch(model_options)
    return model_options


# ---- the pass


def apart(args: dict, index: int) -> dict:
    """The arguments of a call for a term; `index` is its place among those that count."""
    return {**args, TERM: id_of(index)}


def own_ids(args: dict, conds: str) -> list[dict]:
    """Conditionings of the step for the pass of a term, with ids of its own by which caches tell it from others."""
    return [as_another(cond, args[TERM]) for cond in args[conds]]


def id_of(index: int) -> str:
    return f"azimuth term {index}"


def copied(model_options: dict) -> dict:
    """A copy of the options that a further pass may change, with the host's context handler in place of ours."""
    return {**host_copy(model_options), "context_handler": real_handler(model_options)}


def host_copy(model_options: dict) -> dict:
    """A copy with dictionaries and lists of its own."""
    return comfy.model_patcher.create_model_options_clone(model_options)


def real_handler(model_options: dict):
    handler = model_options.get("context_handler")
    return handler.real if isinstance(handler, BranchHandler) else handler


def predicted(args: dict, options: dict, conds: str = "cond", x: Tensor | None = None) -> Tensor:
    """The prediction for conditionings of the step, by default the positive; at the step's latent, or at `x`."""
    x = args["input"] if x is None else x
    return comfy.samplers.calc_cond_batch(args["model"], [own_ids(args, conds)], x, args["sigma"], options)[0]


# Which blocks a term changes: `pick(model, run)` returns, for one run, the kind of network and a function that takes
# the number of a call and returns the blocks that this call changes. Either raises Unfit.
Pick = Callable[[object, Run], tuple]


def named(node: str, wanted: tuple | None) -> Pick:
    """Picks the same blocks in every call: the wanted ones, or the network's usual one for None."""

    def pick(model, run: Run) -> tuple:
        shape, chosen = blocks.choose(model, wanted, run, node, attention=True)
        return shape, lambda call: chosen

    return pick


def with_attention(pick: Pick, change: block_patches.Change):
    """`Add.open` for a weaker model that is the model itself, with the self-attention of some blocks changed."""

    def open_(model, run: Run) -> Weakened:
        return functools.partial(attended, *pick(model, run), change, blocks.network(model))

    return open_


def attended(shape, chosen_at, change, net, args: dict, run: Run, moment: Moment) -> Moment:
    return patched(changing(shape.attend, change, net), chosen_at(run.calls), args, moment)


def changing(way: Callable, change: Callable, net) -> Callable:
    """For `patched`: puts a change into blocks in the way of a kind of network, `shape.attend` or `shape.shuffle`."""
    return lambda options, chosen, reached: way(options, chosen, change, net, reached)


def without_blocks(pick: Pick):
    """`Add.open` for a weaker model that is the model itself, without some of its blocks."""

    def open_(model, run: Run) -> Weakened:
        return functools.partial(skipped, *pick(model, run))

    return open_


def skipped(shape, chosen_at, args: dict, run: Run, moment: Moment) -> Moment:
    return patched(shape.skip, chosen_at(run.calls), args, moment)


def patched(patch: Callable, chosen: list, args: dict, moment: Moment) -> Moment:
    """The moment with what the model predicts while these blocks are patched; raises Unfit if no block was reached."""
    options, reached = copied(args["model_options"]), []
    block_patches.note_sizes(options["transformer_options"])
    patch(options["transformer_options"], chosen, reached)
    other = predicted(args, options)
    if not reached:
        raise Unfit(
            f"the model never calls anything in {blocks.listed(chosen)} that could be changed; choose another term or, "
            f"where this one lets you name them, other blocks"
        )
    return moment.but(other=other)
