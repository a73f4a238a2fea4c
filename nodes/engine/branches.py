"""Branches: the further negatives of a run.

They are prepared as the host prepares its own conditionings and evaluated in one batch with these. They are kept apart
from the guider's own conditionings, because an area on one of them would make the host add areas to the others.
"""

from __future__ import annotations

import ctypes
import logging
import math
from collections.abc import Callable
from dataclasses import dataclass, field

import comfy.context_windows
import comfy.model_patcher
import comfy.sampler_helpers
import comfy.samplers
import torch

from . import conditioning, guiders
from .handed import given_back
from .run import Run
from .stages import Negative
from .steps import Step

# A key in `transformer_options`: what image adapters are told of each conditioning of a step, 0 positive or 1 negative.
SHOWN = "azimuth_shown"

# Keys that keep a conditioning from covering the whole picture at full strength.
RESTRICTIONS = ("area", "mask", "mask_strength", "strength", "timestep_start", "timestep_end")


@dataclass(eq=False)
class Branch:
    """One further negative of a run.

    stage  the stage that brought it
    conds  its conditioning in the host's form, which the host processes when it starts to sample
    """

    stage: Negative
    conds: list = field(repr=False)

    @property
    def timed(self) -> bool:
        return is_timed(self.conds)

    @property
    def restricted(self) -> bool:
        return any(key in cond for cond in self.conds for key in RESTRICTIONS)


def is_timed(conds: list[dict]) -> bool:
    """Whether a time range keeps any of these processed conditionings from some steps."""
    return any("timestep_start" in cond or "timestep_end" in cond for cond in conds)


def in_time(conds: list[dict], sigma: float) -> bool:
    """Whether the time range of any of these conditionings includes this sigma. Compared in float32, as by the host."""
    ranges = [(cond.get("timestep_end", -math.inf), cond.get("timestep_start", math.inf)) for cond in conds]
    return any(as_float32(end) <= sigma <= as_float32(start) for end, start in ranges)


def as_float32(number: float) -> float:
    return ctypes.c_float(number).value


def open_branches(guider, run: Run) -> None:
    """Give the run its branches, and register their LoRA hooks together with the guider's."""
    run.branches = [Branch(s, comfy.sampler_helpers.convert_cond(s.conditioning)) for s in run.of(Negative)]
    if not run.branches:
        return
    own = as_host_conds(run)
    comfy.samplers.preprocess_conds_hooks(own)
    if any("hooks" in cond for conds in own.values() for cond in conds):
        register_hooks(guider, run, own)
    comfy.samplers.filter_registered_hooks_on_conds(own, guider.model_options)


def as_host_conds(run: Run) -> dict[str, list]:
    return {f"{conditioning.BRANCH}_{i}": branch.conds for i, branch in enumerate(run.branches)}


def conds_of_step(guider, run: Run, branch: Branch) -> list[dict]:
    """The branch's conditionings, changed by this step's `Condition` stages.

    These stages are the positive's model's, so a separate model for the negative gets the conditionings unchanged.
    """
    if guiders.negative_model(guider) is not guider.inner_model:
        return branch.conds
    return conditioning.changed(run, f"{conditioning.BRANCH}_{run.branches.index(branch)}", branch.conds)


def register_hooks(guider, run: Run, own: dict[str, list]) -> None:
    """Register the union of the guider's hooks and ours; the host registered the guider's before we were called.

    Registering again would double the wrappers that hooks bring, so a throw-away copy of the options receives these.
    """
    if hasattr(guider, "uncond_model_patcher"):
        run.say(
            f"{run.of(Negative)[0].node}: LoRA hooks have no effect under the {run.guider_kind.name}, whose negative "
            f"model takes none; apply the LoRA to that model.",
            logging.WARNING,
        )
    if guider.model_patcher.is_dynamic():  # it takes no hooks, so the host too uses this form of it
        guider.model_patcher = guider.model_patcher.get_non_dynamic_delegate()
    options = comfy.model_patcher.create_model_options_clone(guider.model_options)
    comfy.sampler_helpers.prepare_model_patcher(guider.model_patcher, {**guider.conds, **own}, options)
    for key in ("registered_hooks", "to_load_options"):
        if key in options:
            guider.model_options[key] = options[key]


def process_branches(guider, run: Run, noise, latent_image, denoise_mask, seed) -> None:
    """Process each branch as the host processes its negative, together with the positive; keep only the branch."""
    model = guiders.negative_model(guider)
    if model is None:
        return
    for branch in run.branches:
        processed = comfy.samplers.process_conds(
            model,
            noise,
            {"positive": guider.conds.get("positive") or [], "negative": branch.conds},
            noise.device,
            latent_image,
            denoise_mask,
            seed,
            latent_shapes=run.latent_shapes,
        )
        branch.conds = processed["negative"]


def close_branches(run: Run) -> None:
    """Release the ControlNets that the branches loaded; the host releases those of its own conditionings only."""
    for conds in as_host_conds(run).values():
        controls = comfy.sampler_helpers.get_models_from_cond(conds, "control")
        comfy.sampler_helpers.cleanup_additional_models(set(controls))


def filled(branch: Branch, prediction, beside, x, sigma):
    """The branch's prediction, with `beside` wherever an area, a mask, a strength or a time range leaves it out.

    `beside` is the prediction that the branch's rule compares it with, so the effect there is exactly zero.
    """
    if not branch.restricted:
        return prediction
    return torch.lerp(beside, prediction, coverage(branch.conds, x, sigma).to(prediction.dtype))


def coverage(conds: list[dict], x, sigma):
    """How much of each value the host takes from these conditionings: 0 to 1, in the shape of x."""
    total = torch.zeros_like(x)
    for cond in conds:
        found = comfy.samplers.get_area_and_mult(cond, x, sigma)
        if found is not None:
            inside(total, found.area or []).add_(found.mult)
    return total.clamp_(max=1.0)


def inside(total, area):
    """The view of a tensor that an area covers.

    An area lists its sizes along the dimensions after the channel, then its starts along them; an empty one is all.
    """
    half = len(area) // 2
    for dim in range(half):
        total = total.narrow(dim + 2, area[half + dim], area[dim])
    return total


def showing(model_options: dict, shown: tuple[int, ...]) -> dict:
    return {**model_options, "transformer_options": {**model_options.get("transformer_options", {}), SHOWN: shown}}


class BranchHandler(comfy.context_windows.ContextHandlerABC):
    """A context handler that adds the branches to the first batch of a step, and then stands aside.

    The host asks its context handler before every batch. In that place the branches are cut into context windows by
    the real handler like any other conditioning. They stay out of the step's later batches, which PAG, SAG and SLG
    make.

    conds         the conditionings of the branches at this step
    joins         `joins(batch)`: whether the batch, or one that follows it in this call, holds what the positive is
                  contrasted with, which some guiders and nodes leave out
    real_handler  the host's own context handler, or None
    passes        decides which passes are made (reused_passes.py); None if all are
    """

    def __init__(self, run: Run, model, conds: list[list[dict]], joins: Callable, real_handler, passes=None):
        self.run = run
        self.model = model
        self.conds = conds
        self.joins = joins
        self.passes = passes
        self.real = real_handler
        self.spent = set()

    def __getattr__(self, name):
        if name == "real" or self.real is None:
            raise AttributeError(name)
        return getattr(self.real, name)

    def wants(self, model, conds, size: tuple) -> bool:
        """Whether the branches join this batch: the first that may, for a latent of its size.

        Some nodes look at a latent of another size first.
        """
        return size not in self.spent and model is self.model and self.joins(conds)

    def should_use_context(self, model, conds, x_in, timestep, model_options) -> bool:
        return self.wants(model, conds, x_in.shape) or self.real_wants(model, conds, x_in, timestep, model_options)

    def real_wants(self, model, conds, x_in, timestep, model_options) -> bool:
        return self.real is not None and self.real.should_use_context(model, conds, x_in, timestep, model_options)

    def get_resized_cond(self, cond_in, x_in, window, device=None) -> list:
        return self.real.get_resized_cond(cond_in, x_in, window, device)

    def execute(self, calc_cond_batch, model, conds, x_in, timestep, model_options):
        if not self.wants(model, conds, x_in.shape):
            return self.real.execute(calc_cond_batch, model, conds, x_in, timestep, model_options)
        self.spent.add(x_in.shape)
        batch = [*conds, *self.conds]
        shown = model_options.get("transformer_options", {}).get(SHOWN, range(len(conds)))
        options = {**showing(model_options, (*shown, *(1 for _ in self.conds))), "context_handler": self.real}

        def calculate(batch):
            with given_back(model_options, options):
                if self.real_wants(model, batch, x_in, timestep, options):
                    return self.real.execute(calc_cond_batch, model, batch, x_in, timestep, options)
                return calc_cond_batch(model, batch, x_in, timestep, options)

        if self.passes:
            out = self.passes.predictions(calculate, batch, self.names(len(conds)), timestep, x_in.shape)
        else:
            out = calculate(batch)
        self.run.call.predictions = out[len(conds) :]
        return out[: len(conds)]

    def names(self, count: int) -> list:
        """A name for each conditioning of a batch, by which later steps find its pass again.

        The first `count` conditionings are the host's. Their names hold their place, and the branch that the host
        evaluates in the place of the sampler's negative: with another branch it is another pass.
        """
        return [*((i, self.run.call.swapped) for i in range(count)), *(branch for branch, _ in self.run.call.active)]


def active(run: Run, step: Step, scale: float) -> list[tuple[Branch, float]]:
    """The branches that count at a step, each with its weight there."""
    return [
        (branch, run.value(branch.stage, step))
        for branch in run.branches
        if run.counts(branch.stage, step, scale) and in_time(branch.conds, step.called_at)
    ]
