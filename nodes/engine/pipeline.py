"""How stages reach the host: five wrappers and one post-CFG function, installed once per MODEL.

The host calls a wrapper around one of its own functions, here in the order of a run:

OUTER_SAMPLE      around a whole run: opens the `Run`, and closes it whatever happens in between
PREPARE_SAMPLING  around loading: lets the host also load second models and the ControlNets of branches
SAMPLER_SAMPLE    around the sampler: processes the conditionings of branches, second models and second texts
PREDICT_NOISE     around each model call: finds its step, sets the guider's weight and conditionings, adds the branches
APPLY_MODEL       around the network: tells image adapters positives from negatives, brings in a second text
post-CFG          after the passes of a call: turns their predictions into the guided one (guided.py)
"""

from __future__ import annotations

import functools
import logging
import math

import torch
from comfy.patcher_extension import WrappersMP

from . import (
    branches,
    caches,
    conditioning,
    guiders,
    inputs,
    parametrisation,
    remarks,
    reused_passes,
    second_model,
    second_text,
    stages,
    two_passes,
    weak,
)
from .guided import guide
from .handed import given_back
from .run import RUN, WEIGHT_TOLERANCE, Run, run_in
from .stages import KEY
from .steps import SIGMA_TOLERANCE


def add_stage(model, stage: stages.Stage):
    """A clone of the MODEL with one more stage. Raises ValueError where two stages answer the same question."""
    own = inputs.a_model(stage.node, "model", model).model_options.get(stages.OPTION, ())
    stages.refuse_conflict(own, stage)
    patched = model.clone()
    patched.model_options[stages.OPTION] = (*own, stage)
    for place, wrapper in WRAPPERS.items():
        if not patched.get_wrappers(place, KEY):
            patched.add_wrapper_with_key(place, KEY, wrapper)
    if guide not in patched.model_options.get("sampler_post_cfg_function", ()):
        patched.set_model_sampler_post_cfg_function(guide)
    return patched


def starts_from_noise(model, sigmas: tuple[float, ...]) -> bool:
    """Whether a run begins at the model's largest sigma, and so from noise alone."""
    largest = float(model.get_model_object("model_sampling").sigma_max)
    return sigmas[0] >= largest * (1 - SIGMA_TOLERANCE)


# ---- the run


def outer_sample(executor, noise, latent_image, sampler, sigmas, *args, **kwargs):
    guider = executor.class_obj
    if len(sigmas) < 2:  # no step to guide
        return executor(noise, latent_image, sampler, sigmas, *args, **kwargs)
    row = guiders.kind_of(guider)
    idle = {stage: why for stage in stages.of(guider) if (why := obstacle(guider, row, stage))}
    levels = tuple(sigmas.tolist())
    own = tuple(stage for stage in stages.of(guider) if stage not in idle)
    if any(isinstance(stage, stages.Pair) for stage in own):
        row = guiders.PLAIN  # a Basic Guider too will use the negative that a `Pair` stage gives it
    network, from_noise = parametrisation.of(guider.model_patcher), starts_from_noise(guider.model_patcher, levels)
    shapes = kwargs.get("latent_shapes") or [noise.shape]
    run = Run.open(own, levels, network, row, sampler, shapes, from_noise)
    guider.model_options[RUN] = run
    run.cfg_function = guider.model_options.get("sampler_cfg_function")
    run.before = guiders.weight_of(guider, row, len(shapes))
    run.usual = run.sampler.usual_weight(run.before) if row.follows else guiders.UNKNOWN
    weak.open_terms(guider.model_patcher, run)
    run.neutral = run.is_neutral
    for stage, why in idle.items():
        run.say(f"{stage.node} has no effect {why}.", logging.WARNING)
    remarks.introduce(guider, run)
    if run.neutral:
        return finish(run, executor, noise, latent_image, sampler, sigmas, *args, **kwargs)
    parametrisation.name_unknown(guider.model_patcher, run)
    try:
        with guiders.kept(guider, row):
            second_text.open_texts(run)
            if run.before is not None:
                branches.open_branches(guider, run)
            if sets_weight(run):
                guiders.set_weight(guider, row, loading_weight(run))
            return finish(run, executor, noise, latent_image, sampler, sigmas, *args, **kwargs)
    finally:
        branches.close_branches(run)
        second_model.end(run)


def sets_weight(run: Run) -> bool:
    """Whether the guider has a weight that can be set for a step: a number."""
    return run.before is not None and guiders.is_known(run.before)


def obstacle(guider, row: guiders.GuiderKind, stage: stages.Stage) -> str:
    """Why a stage cannot act in this run at all, in the words that follow "<node> has no effect"; "" if it can."""
    if isinstance(stage, (stages.Condition, stages.Attention, stages.Pair)):
        if why := stage.obstacle(guider.model_patcher.model, guider.conds.get("positive", [])):
            return why
    if isinstance(stage, stages.Pair):
        if row not in (guiders.BASIC, guiders.PLAIN):
            return f"under the {row.name}, which makes a pair of its own; use KSampler, CFG Guider or Basic Guider"
        cfg = guiders.weight_of(guider, guiders.PLAIN, 1)
        if not math.isclose(cfg, 1.0, rel_tol=WEIGHT_TOLERANCE):
            return f"at cfg {cfg:g}, where the sampler's negative is contrasted; set the sampler's cfg to 1"
    if isinstance(stage, (stages.Weight, stages.Skip)) and row.weights:
        if not guiders.is_known(guiders.weight_of(guider, row, 1)):
            return f"under the {row.name}, whose weight is not one number; use KSampler or CFG Guider"
    if isinstance(stage, stages.Reuse) and not row.one_model:
        return f"under the {row.name}, whose negative has a model of its own; use KSampler or CFG Guider"
    return ""


def finish(run: Run, executor, *args, **kwargs):
    """Sample, and log the run's reports at its end, also if it is interrupted."""
    try:
        out = executor(*args, **kwargs)
        remarks.report_at_weight_1(run)
        remarks.report_sizes(run)
        remarks.report_unmet(run)
        return out
    finally:
        remarks.report_non_finite(run)
        remarks.report_skipped(run)
        remarks.report_rested(run)
        remarks.report_followed(run)
        remarks.report_weights(run)
        second_text.report_unmet(run)


def loading_weight(run: Run) -> float:
    """The weight under which the guider decides what to load.

    At 1 it may leave the negative's model out, so this is another weight if any step has one.
    """
    usual = run.before if math.isnan(guiders.gauge(run.usual)) else run.usual
    return next((scale for scale in run.scales(usual) if scale != 1.0), usual)


def prepare_sampling(executor, model, noise_shape, conds, *args, model_options=None, **kwargs):
    run = run_in(model_options)
    if run is None or not (run.branches or run.seconds):
        return executor(model, noise_shape, conds, *args, model_options=model_options, **kwargs)
    own = {**branches.as_host_conds(run), **second_model.to_load(run)}
    loaded, together, models = executor(
        model, noise_shape, {**conds, **own}, *args, model_options=model_options, **kwargs
    )
    return loaded, {key: value for key, value in together.items() if key not in own}, models


def sampler_sample(executor, guider, sigmas, extra_args, callback, noise, latent_image=None, denoise_mask=None, *args):
    run = run_in(guider.model_options)
    seed = extra_args.get("seed")
    if run is not None:
        run.seed = seed or 0
    if run is not None and not run.neutral:
        if sets_weight(run):
            guiders.set_weight(guider, run.guider_kind, run.before)
        branches.process_branches(guider, run, noise, latent_image, denoise_mask, seed)
        second_model.begin(guider, run, noise, latent_image, denoise_mask, seed)
        second_text.process_texts(guider, run, noise, latent_image, denoise_mask, seed)
        tell_apart(guider, run)
        callback = reporting(run, callback)
    return executor(guider, sigmas, extra_args, callback, noise, latent_image, denoise_mask, *args)


def reporting(run: Run, callback):
    """The sampler's callback, by which the run too learns that the first call of a step has been made."""

    def report(step, *args):
        run.course.report(step)
        return callback(step, *args) if callback else None

    return report


def tell_apart(guider, run: Run) -> None:
    """Give doubles of the positive's conditionings ids of their own, in the guider's lists and in the branches.

    An id then tells whether a pass is the positive's.
    """
    own = guider.conds.get("positive") or []
    guider.conds = {
        key: conds if key == "positive" else conditioning.told_apart(own, conds) for key, conds in guider.conds.items()
    }
    for branch in run.branches:
        branch.conds = conditioning.told_apart(own, branch.conds)


# ---- the step


def predict_noise(executor, x, timestep, model_options=None, seed=None):
    guider, model_options = executor.class_obj, model_options or {}
    run = run_in(guider.model_options)
    if run is None or run.neutral:
        return executor(x, timestep, model_options, seed)
    outer, conds = run.call, guider.conds
    begin_call(guider, run, x, timestep)
    try:
        with guiders.kept(guider, run.guider_kind):
            handed = prepared(guider, run, model_options)
            with given_back(model_options, handed):
                out = executor(x, timestep, handed, seed)
            caches.note_followed(run, handed)
            return out
    finally:
        remarks.count_passes(run)
        run.end(outer)
        guider.conds = conds


def prepared(guider, run: Run, model_options: dict) -> dict:
    """Set what the guider works with in this call: its conditionings and weight; return the options to call it with."""
    before = guiders.weight_of(guider, run.guider_kind, len(run.latent_shapes))
    guider.conds = conditioning.of_step(guider, run)
    scale = 1.0
    if before is not None:  # the guider has a weight; stages that need none act without one too
        scale = step_scale(guider, run, before, model_options)
        model_options = weigh(guider, run, before, scale, model_options)
    model_options = second_text.with_text(guider, run, model_options)
    return caches.watched(run, weak.watched(run, scale, model_options))


def weigh(guider, run: Run, before: guiders.Weight, scale: guiders.Weight, model_options: dict) -> dict:
    """Set the guider's weight for this step and what it contrasts; return the options with which it is called."""
    if guiders.is_known(scale) and guiders.is_known(before):
        run.call.scale = scale
        remarks.name_other_weight(run, before, scale)
        guiders.set_weight(guider, run.guider_kind, scale)
    if run.makes_pair():
        left_out = run.skipping and scale != run.scale_at(run.call.step, before)
        model_options = two_passes.of_step(guider, run, scale, left_out, model_options)
    if guiders.makes_negative_pass(guider, run.guider_kind, scale, model_options):
        if run.call.baseline_missing:
            stand_in(guider, run)
        else:
            run.call.active = [] if run.unshown else branches.active(run, run.call.step, scale)
            swap_baseline(guider, run)
            model_options = with_branches(guider, run, model_options)
    return model_options


def begin_call(guider, run: Run, x, timestep) -> None:
    """Begin a call: find its step, and whether the time range of the sampler's own negative leaves it out."""
    unasked = run.pair and run.pair.window.always  # the negative is not used at any step
    baseline = [] if unasked else guider.conds.get(run.guider_kind.baseline) or []
    timed = branches.is_timed(baseline)
    if not (timed or run.needs_step):  # nothing depends on the step
        run.begin(run.call.step)
        return
    called_at, settled = read(timestep, run.settled)
    step = run.course.step(called_at, x)
    out_of_time = timed and not branches.in_time(baseline, step.called_at)
    run.begin(step, settled, out_of_time and not run.makes_pair(step))


def read(timestep, settled) -> tuple[float, bool]:
    """The sigma of a call, and whether all samples have settled. One transfer brings both: one wait for the device."""
    if settled is None:
        return timestep[0].item(), False
    called_at, all_settled = torch.stack((timestep[0], settled.to(timestep))).tolist()
    return called_at, bool(all_settled)


def step_scale(guider, run: Run, before: guiders.Weight, model_options: dict) -> guiders.Weight:
    """The weight of this call.

    It is 1 where no negative is needed, and where there is none: the host would guide away from zeros.
    """
    if not guiders.is_known(before):
        return before
    alone = run.pair and not run.makes_pair()
    if alone and (before == run.before or not guider.conds.get(run.guider_kind.baseline)):
        return 1.0
    if run.call.baseline_missing:
        run.say(remarks.OUT_OF_TIME)
        return 1.0
    if run.positive_alone and not run.makes_pair():
        return 1.0
    scale = run.scale_at(run.call.step, before)
    return 1.0 if skips(guider, run, scale, model_options) else scale


def skips(guider, run: Run, scale: guiders.Weight, model_options: dict) -> bool:
    """Whether this step leaves its negative pass out because all samples have settled.

    A sampler, guider or node that wants the negative at every step prevents it, which is logged.
    """
    gauge, step = guiders.gauge(scale), run.call.step
    stage = next((s for s in run.of(stages.Skip) if not s.off(gauge, run.value(s, step))), None)
    if stage is None:
        return False
    keeper = guiders.keeper_of_the_pass(guider, run.guider_kind, model_options)
    run.call.keeps_pass = keeper is not None
    if run.call.keeps_pass:
        keeper = run.sampler.name if run.sampler.is_cfgpp else keeper
        run.say(
            f"{stage.node} has no effect: {keeper} wants the negative's prediction at every step; do without one of "
            f"the two.",
            logging.WARNING,
        )
        return False
    run.call.due = stage
    return run.skipping


def stand_in(guider, run: Run) -> None:
    """Let the positive stand in for a negative that is missing at this step, but whose pass is made all the same.

    CFG++ samplers and some nodes ask for that pass and read its prediction.
    """
    if run.guider_kind.contrasted and run.guider_kind.follows:
        guider.conds = {**guider.conds, run.guider_kind.baseline: guider.conds[run.guider_kind.contrasted]}


def swap_baseline(guider, run: Run) -> None:
    """Let the host evaluate a branch in the place of the sampler's negative, which saves a pass.

    That is possible where the branch takes the whole place of the baseline: weight 1, and nothing that leaves it out of
    a part of the picture or run. Baseline rules before it no longer matter.
    """
    whole = [b for b, weight in run.call.active if b.stage.baseline and weight == 1.0 and not b.restricted]
    own = run.guider_kind.follows and guiders.negative_model(guider) is guider.inner_model
    if whole and own and not run.makes_pair():
        after = run.call.active[[b for b, _ in run.call.active].index(whole[-1]) + 1 :]
        run.call.active = [(b, w) for b, w in run.call.active if b.stage.term] + [
            (b, w) for b, w in after if b.stage.baseline
        ]
        guider.conds = {**guider.conds, run.guider_kind.baseline: branches.conds_of_step(guider, run, whole[-1])}
        run.call.swapped = whole[-1]


def with_branches(guider, run: Run, model_options: dict) -> dict:
    """The options of a call whose first batch takes the branches along and leaves out what is reused."""
    passes = reused_passes.of_step(guider, run, model_options)
    if not run.call.active and passes is None:
        return model_options
    conds = [branches.conds_of_step(guider, run, branch) for branch, _ in run.call.active]
    real, model = model_options.get("context_handler"), guiders.negative_model(guider)
    joins = functools.partial(contrasts, guider, run, model_options)
    return {**model_options, "context_handler": branches.BranchHandler(run, model, conds, joins, real, passes)}


def contrasts(guider, run: Run, model_options: dict, batch: list) -> bool:
    """Whether this batch, or one that follows it in this call, holds what the positive is contrasted with.

    By now another node may have set the guider's weight to 1, or taken its negative away. A guider that nobody here
    knows may leave it out by itself.
    """
    kind, baseline = run.guider_kind, guider.conds.get(run.guider_kind.baseline)
    if guiders.negative_model(guider) is not guider.inner_model or sum(cond is not None for cond in batch) > 1:
        return True
    if not kind.follows:
        return baseline is not None and any(cond is baseline for cond in batch)
    weight = guiders.weight_of(guider, kind, len(run.latent_shapes))
    return len(batch) > 1 and baseline is not None and guiders.wants_negative_pass(guider, kind, weight, model_options)


def apply_model(executor, x, t, c_concat=None, c_crossattn=None, control=None, transformer_options=None, **kwargs):
    """Call the network, with `cond_or_uncond` as image adapters need it, and with a second text.

    Adapters use that list as indices 0 (positive) and 1 (negative). The host numbers all conditionings of a batch; a
    branch is shown to adapters as a negative, and the second pass of a `Pair` stage as a positive.
    """
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
