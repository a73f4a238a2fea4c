"""A second text in a run: an attention of the model reads it beside the positive's text, for `Attention` stages.

Only the text of its conditioning counts. It needs no pass of its own: it enters the positive's passes where the model
is called (attention_rows.py), whoever makes them and however the host batches them.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field

import comfy.sampler_helpers
import comfy.samplers
from comfy.utils import repeat_to_batch_size
from torch import Tensor

from . import branches, conditioning, weak
from .networks.attention_rows import Rows, way_of
from .networks.compiled import UNCOMPILED, bare
from .networks.unfit import Unfit
from .run import Run
from .stages import Add, Attention

# The key in `transformer_options` of a step's second text.
KEY = "azimuth_second_text"

# The name of its list of conditionings, which `Condition` rules are given as `place`.
PLACE = f"{conditioning.BRANCH}_text"

# Parts of a conditioning that have no meaning inside an attention.
APART = ("area", "mask", "strength", "control", "hooks", "gligen")


@dataclass(eq=False)
class Text:
    """The second text of a run: its conditionings in the host's form, which the host processes when sampling starts."""

    conds: list = field(repr=False)

    @property
    def timed(self) -> bool:
        return branches.is_timed(self.conds)


@dataclass(frozen=True, eq=False)
class SecondText:
    """The second text of a step.

    cond       its processed conditioning
    uuids      the ids of the conditionings in whose passes it is read: the positive's
    guide      `guide(z, other)` returns the output of an attention, (B, N, C), from its outputs for the positive's text
               and for this one
    leave_out  `leave_out(reason)` logs that the text has no effect
    """

    cond: dict
    uuids: frozenset
    guide: Callable[[Tensor, Tensor], Tensor]
    leave_out: Callable[[str], None]

    def part(self, name: str, rows: Rows, like: Tensor) -> Tensor | None:
        """The tensor `name` of its conditioning, repeated for the guided rows of the batch `like`; None if absent."""
        if name not in self.cond["model_conds"]:
            return None
        of_part = repeat_to_batch_size(self.cond["model_conds"][name].cond, len(like) // rows.parts)
        return of_part.repeat(len(rows.guided), *(1,) * (of_part.ndim - 1)).to(like.device)


# ---- the run


def open_texts(run: Run) -> None:
    for stage in run.of(Attention):
        conds = comfy.sampler_helpers.convert_cond(stage.conditioning)
        timed = any(key.endswith("_percent") for cond in conds for key in cond)
        if (len(conds) > 1 and not timed) or any(key in cond for cond in conds for key in APART):
            run.say(
                f"{stage.node} reads one text of its negative; further texts, areas, masks, ControlNets and LoRA hooks "
                f"on it count for nothing."
            )
        run.texts[stage] = Text([{k: v for k, v in cond.items() if k not in APART} for cond in conds])


def process_texts(guider, run: Run, noise, latent_image, denoise_mask, seed) -> None:
    """Process the texts as the host does its negative, for the model of the positive."""
    for text in run.texts.values():
        text.conds = comfy.samplers.process_conds(
            guider.inner_model,
            noise,
            {"negative": text.conds},
            noise.device,
            latent_image,
            denoise_mask,
            seed,
            latent_shapes=run.latent_shapes,
        )["negative"]


def report_unmet(run: Run) -> None:
    """Warn, after the run, of a text that no attention of the model has read."""
    for stage in run.account.offered - run.account.met:
        run.say(
            f"{stage.node} has no effect: no attention of the model was reached; bypass nodes that replace the model's "
            f"attention or make its predictions themselves.",
            logging.WARNING,
        )


# ---- the step


def with_text(guider, run: Run, model_options: dict) -> dict:
    """The options of a step's passes, with the second text of the stage that counts there, if one does."""
    for stage in run.counting(Attention, 1.0):
        conds = conditioning.changed(run, PLACE, run.texts[stage].conds)
        cond = next((c for c in conds if branches.in_time([c], run.call.step.called_at)), None)
        if cond is not None:
            options = {**model_options.get("transformer_options", {}), KEY: of_step(guider, run, stage, cond)}
            return {**model_options, "transformer_options": options}
    return model_options


def of_step(guider, run: Run, stage: Attention, cond: dict) -> SecondText:
    keys = ("positive", "negative") if run.makes_pair() else ("positive",)
    value = run.value(stage, run.call.step)
    run.account.offered.add(stage)

    def guide(z: Tensor, other: Tensor) -> Tensor:
        run.account.met.add(stage)
        return stage.rule(z, other, value)

    def leave_out(reason: str) -> None:
        run.account.met.add(stage)  # said already
        run.say(f"{stage.node} has no effect: {reason}.", logging.WARNING)

    own = [cond for key in keys for cond in guider.conds.get(key, [])]
    terms = [conditioning.as_another(cond, weak.id_of(i)) for cond in own for i, _ in enumerate(run.of(Add))]
    uuids = frozenset(cond["uuid"] for cond in (*own, *terms))
    return SecondText(cond, uuids, guide, leave_out)


def apply(executor, second: SecondText, x, t, c_concat, c_crossattn, control, options, kwargs) -> Tensor:
    """Call the model, with the second text in the rows of the batch that belong to the positive."""
    found = enumerate(options.get("uuids", ()))
    guided = tuple(i for i, uuid in found if uuid in second.uuids)
    if guided:
        rows, net = Rows(len(options["uuids"]), guided), bare(executor.class_obj.diffusion_model)
        try:
            way = way_of(net)
            with UNCOMPILED:
                return way(net, second, rows, executor, x, t, c_concat, c_crossattn, control, options, kwargs)
        except Unfit as reason:
            second.leave_out(str(reason))
    return executor(x, t, c_concat, c_crossattn, control, options, **kwargs)
