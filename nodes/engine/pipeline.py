"""How stages reach the host: four wrappers and one post-CFG function, installed once per MODEL.

OUTER_SAMPLE     opens the run and closes it, whatever happens in between
PREPARE_SAMPLING lets the host load what the further negatives need (ControlNets), and second models
SAMPLER_SAMPLE   processes the conditionings of both as the host processes its own
PREDICT_NOISE    finds the step, sets the guider's conditionings and weight for it and hands the further negatives down
APPLY_MODEL      shows models and adapters a pair, whatever the branches of a batch are; brings in a second text
post-CFG         turns the raw predictions of a step into the guided one (guided.py)
"""

from __future__ import annotations

import logging
import math

import comfy.model_sampling
import comfy.sampler_helpers
import torch
from comfy.patcher_extension import WrappersMP

from . import (
    branches,
    conditioning,
    guiders,
    remarks,
    reused_passes,
    run,
    second_model,
    second_text,
    stages,
    two_passes,
    weak,
)
from .guided import guide
from .stages import KEY


def add_stage(model, stage: stages.Stage):
    """A clone of the MODEL with one more stage. Raises ValueError where two stages answer the same question."""
    own = model.model_options.get(stages.OPTION, ())
    stages.refuse_conflict(own, stage)
    patched = model.clone()
    patched.model_options[stages.OPTION] = (*own, stage)
    for place, wrapper in WRAPPERS.items():
        if not patched.get_wrappers(place, KEY):
            patched.add_wrapper_with_key(place, KEY, wrapper)
    if guide not in patched.model_options.get("sampler_post_cfg_function", ()):
        patched.set_model_sampler_post_cfg_function(guide)
    return patched


def model_kind(model) -> str:
    """The family: "flow" for rectified-flow models, "ve" for all that the host presents in sigma coordinates."""
    sampling = model.get_model_object("model_sampling")
    return "flow" if isinstance(sampling, comfy.model_sampling.CONST) else "ve"


def starts_from_noise(model, sigmas: tuple[float, ...]) -> bool:
    """Whether a run begins at the model's largest sigma, by the tolerance of the host, and so from noise alone."""
    largest = float(model.get_model_object("model_sampling").sigma_max)
    return sigmas[0] >= largest * (1 - run.SIGMA_TOLERANCE)


# ---- the run


def outer_sample(executor, noise, latent_image, sampler, sigmas, *args, **kwargs):
    guider = executor.class_obj
    if len(sigmas) < 2:  # no step to guide
        return executor(noise, latent_image, sampler, sigmas, *args, **kwargs)
    row = guiders.kind_of(guider)
    idle = {stage: why for stage in stages.of(guider) if (why := obstacle(guider, row, stage))}
    own = tuple(stage for stage in stages.of(guider) if stage not in idle)
    if any(isinstance(stage, stages.Pair) for stage in own):
        row = guiders.PLAIN  # a Basic Guider uses the negative that it is given for a step
    levels = tuple(sigmas.tolist())
    kind, from_noise = model_kind(guider.model_patcher), starts_from_noise(guider.model_patcher, levels)
    shapes = kwargs.get("latent_shapes") or [noise.shape]
    this = run.Run.open(own, levels, kind, row, sampler, shapes, from_noise)
    guider.model_options[run.OPTION] = this
    this.before = weight_of(guider, this)
    this.usual = this.sampler_weight(this.before)
    weak.open_terms(guider.model_patcher, this)
    this.neutral = this.is_neutral(this.usual)
    for stage, why in idle.items():
        this.say(f"{stage.node} has no effect {why}.", logging.WARNING)
    remarks.introduce(guider, this)
    if this.neutral:
        return finish(this, executor, noise, latent_image, sampler, sigmas, *args, **kwargs)
    try:
        second_text.open_texts(this)
        if this.before is not None:
            branches.open_branches(guider, this)
            set_weight(guider, this, loading_weight(this))
        return finish(this, executor, noise, latent_image, sampler, sigmas, *args, **kwargs)
    finally:
        set_weight(guider, this, this.before)
        branches.close_branches(this)
        second_model.end(this)


def obstacle(guider, row: guiders.GuiderKind, stage: stages.Stage) -> str:
    """Why a stage cannot act in this run at all, in the words that follow its node's name; empty if it can."""
    if isinstance(stage, (stages.Condition, stages.Attention, stages.Pair)):
        if why := stage.obstacle(guider.model_patcher.model, guider.conds.get("positive", [])):
            return why
    if isinstance(stage, stages.Pair):
        if row not in (guiders.BASIC, guiders.PLAIN):
            return f"under the {row.name}, which makes a pair of its own; use KSampler, CFG Guider or Basic Guider"
        if not math.isclose(guider.cfg, 1.0, rel_tol=run.WEIGHT_TOLERANCE):
            return f"at cfg {guider.cfg:g}, where the sampler's negative is contrasted; set the sampler's cfg to 1"
    if isinstance(stage, stages.Reuse) and not row.one_model:
        return f"under the {row.name}, whose negative has a model of its own; use KSampler or CFG Guider"
    return ""


def finish(this: run.Run, executor, *args, **kwargs):
    """Sample, and report what was not finite and what was skipped even if the run was interrupted."""
    try:
        return executor(*args, **kwargs)
    finally:
        remarks.report_non_finite(this)
        remarks.report_skipped(this)
        second_text.report_unmet(this)


def loading_weight(this: run.Run) -> float:
    """The weight under which the guider decides what to load: not 1 if any step needs the negative pass."""
    return next((scale for scale in this.scales(this.usual) if scale != 1.0), this.usual)


def weight_of(guider, this: run.Run) -> float | None:
    return getattr(guider, this.guider.weight) if this.guider.weight else None


def set_weight(guider, this: run.Run, scale: float | None) -> None:
    if this.guider.weight:
        setattr(guider, this.guider.weight, scale)


def prepare_sampling(executor, model, noise_shape, conds, *args, model_options=None, **kwargs):
    this = (model_options or {}).get(run.OPTION)
    if this is None or not (this.branches or this.seconds):
        return executor(model, noise_shape, conds, *args, model_options=model_options, **kwargs)
    own = {**branches.as_host_conds(this), **second_model.to_load(this)}
    loaded, together, models = executor(
        model, noise_shape, {**conds, **own}, *args, model_options=model_options, **kwargs
    )
    return loaded, {key: value for key, value in together.items() if key not in own}, models


def sampler_sample(executor, guider, sigmas, extra_args, callback, noise, latent_image=None, denoise_mask=None, *args):
    this = guider.model_options.get(run.OPTION)
    seed = extra_args.get("seed")
    if this is not None:
        this.seed = seed or 0
    if this is not None and not this.neutral:
        set_weight(guider, this, this.before)
        branches.process_branches(guider, this, noise, latent_image, denoise_mask, seed)
        second_model.begin(guider, this, noise, latent_image, denoise_mask, seed)
        second_text.process_texts(guider, this, noise, latent_image, denoise_mask, seed)
        tell_apart(guider, this)
    return executor(guider, sigmas, extra_args, callback, noise, latent_image, denoise_mask, *args)


def tell_apart(guider, this: run.Run) -> None:
    """Let a conditioning be known by its id, whichever list it is in."""
    own = guider.conds.get("positive", [])
    guider.conds = {
        key: conds if key == "positive" else conditioning.told_apart(own, conds) for key, conds in guider.conds.items()
    }
    for branch in this.branches:
        branch.conds = conditioning.told_apart(own, branch.conds)


# ---- the step


def predict_noise(executor, x, timestep, model_options=None, seed=None):
    guider, model_options = executor.class_obj, model_options or {}
    this = guider.model_options.get(run.OPTION)
    if this is None or this.neutral:
        return executor(x, timestep, model_options, seed)
    find_step(guider, this, timestep)
    before, conds = weight_of(guider, this), guider.conds
    this.predictions, this.active, this.swapped = [], [], None
    this.reusing, this.weakened, this.first_pass = False, None, None
    try:
        guider.conds = conditioning.of_step(guider, this)
        if before is not None:  # a pair to weigh; other stages act without one
            model_options = weigh(guider, this, before, model_options)
        scale = 1.0 if before is None else weight_of(guider, this)
        model_options = second_text.with_text(guider, this, model_options)
        return executor(x, timestep, weak.watched(this, scale, model_options), seed)
    finally:
        this.first_pass = None
        set_weight(guider, this, before)
        guider.conds = conds


def weigh(guider, this: run.Run, before: float, model_options: dict) -> dict:
    """Set the guider's weight and what its step contrasts, and return the options that this takes."""
    scale = this.scale = step_scale(guider, this, before, model_options)
    remarks.name_other_weight(this, before, scale)
    set_weight(guider, this, scale)
    if this.makes_pair(this.step):
        left_out = this.skipping and scale != this.scale_at(this.step, before)
        model_options = two_passes.of_step(guider, this, scale, left_out, model_options)
    if guiders.makes_negative_pass(guider, this.guider, scale, model_options):
        if this.baseline_missing:
            stand_in(guider, this)
        else:
            this.active = branches.active(this, this.step, scale)
            swap_baseline(guider, this)
            model_options = with_branches(guider, this, model_options)
    return model_options


def find_step(guider, this: run.Run, timestep) -> None:
    """Note which step this is, and whether the main negative's own time range leaves it without a prediction."""
    unasked = this.pair and this.pair.window.always
    baseline = [] if unasked else guider.conds.get(this.guider.baseline) or []
    timed = branches.is_timed(baseline)
    if timed or this.needs_step:
        called_at, settled = read(timestep, this.settled)
        this.enter(run.find_step(this.sigmas, called_at), settled)
    out_of_time = timed and not branches.in_time(baseline, this.step.called_at)
    this.baseline_missing = out_of_time and not this.makes_pair(this.step)


def read(timestep, settled) -> tuple[float, bool]:
    """The sigma of a call and whether all samples have settled, in one wait for the device."""
    if settled is None:
        return timestep[0].item(), False
    called_at, all_settled = torch.stack((timestep[0], settled.to(timestep))).tolist()
    return called_at, bool(all_settled)


def step_scale(guider, this: run.Run, before: float, model_options: dict) -> float:
    """The weight of this call; 1 where there is no main negative, of which the host would hand over zeros, and where
    none is needed."""
    alone = this.pair and not this.makes_pair(this.step)
    if alone and (before == this.before or not guider.conds.get(this.guider.baseline)):
        return 1.0
    if this.baseline_missing:
        this.say("Azimuth: the negative's time range does not reach every step; those steps run at weight 1.")
        return 1.0
    if this.positive_alone and not this.makes_pair(this.step):
        return 1.0
    scale = this.scale_at(this.step, before)
    return 1.0 if skips(guider, this, scale, model_options) else scale


def skips(guider, this: run.Run, scale: float, model_options: dict) -> bool:
    """Whether a step leaves its negative pass out because all samples have settled."""
    stage = next((s for s in this.of(stages.Skip) if not s.off(scale, s.value(this, this.step))), None)
    if stage is None:
        return False
    keeper = guiders.keeper_of_the_pass(guider, this.guider, model_options)
    this.keeps_pass = keeper is not None
    if this.keeps_pass:
        keeper = this.sampler_name if this.is_cfgpp else keeper
        this.say(
            f"{stage.node} has no effect: {keeper} wants the negative's prediction at every step; do without one of "
            f"the two.",
            logging.WARNING,
        )
        return False
    this.count(stage, 1, this.skipping)
    return this.skipping


def stand_in(guider, this: run.Run) -> None:
    """Where a negative pass is made without a negative (CFG++ samplers read it), let it equal the positive."""
    if this.guider.contrasted:
        guider.conds = {**guider.conds, this.guider.baseline: guider.conds[this.guider.contrasted]}


def swap_baseline(guider, this: run.Run) -> None:
    """Where a partial negative takes the main one's whole place, let the host evaluate it there: no third pass."""
    whole = [b for b, weight in this.active if b.stage.baseline and weight == 1.0 and not b.restricted]
    if whole and not this.makes_pair(this.step) and guiders.negative_model(guider) is guider.inner_model:
        after = this.active[[b for b, _ in this.active].index(whole[-1]) + 1 :]
        this.active = [(b, w) for b, w in this.active if b.stage.term] + [(b, w) for b, w in after if b.stage.baseline]
        guider.conds = {**guider.conds, this.guider.baseline: branches.conds_of_step(guider, this, whole[-1])}
        this.swapped = whole[-1]


def with_branches(guider, this: run.Run, model_options: dict) -> dict:
    passes = reused_passes.of_step(guider, this, model_options)
    if not this.active and passes is None:
        return model_options
    conds = [branches.conds_of_step(guider, this, branch) for branch, _ in this.active]
    real, model = model_options.get("context_handler"), guiders.negative_model(guider)
    return {**model_options, "context_handler": branches.BranchHandler(this, model, conds, real, passes)}


def apply_model(executor, x, t, c_concat=None, c_crossattn=None, control=None, transformer_options=None, **kwargs):
    """Adapters index a pair by `cond_or_uncond`: to their eyes a further negative is a negative, and a second pass of
    the positive is a positive."""
    options = transformer_options or {}
    if branches.SHOWN in options:
        shown = options[branches.SHOWN]
        seen = [shown[i] if i < len(shown) else i for i in options["cond_or_uncond"]]
        options = {**options, "cond_or_uncond": seen}
    if second_text.KEY in options:
        second = options[second_text.KEY]
        return second_text.apply(executor, second, x, t, c_concat, c_crossattn, control, options, kwargs)
    return executor(x, t, c_concat, c_crossattn, control, options, **kwargs)


WRAPPERS = {
    WrappersMP.OUTER_SAMPLE: outer_sample,
    WrappersMP.PREPARE_SAMPLING: prepare_sampling,
    WrappersMP.SAMPLER_SAMPLE: sampler_sample,
    WrappersMP.PREDICT_NOISE: predict_noise,
    WrappersMP.APPLY_MODEL: apply_model,
}
