"""How stages reach the host: four wrappers and one post-CFG function, installed once per MODEL.

OUTER_SAMPLE     opens the run and closes it, whatever happens in between
PREPARE_SAMPLING lets the host load what the further negatives need (ControlNets), and second models
SAMPLER_SAMPLE   processes the conditionings of both as the host processes its own
PREDICT_NOISE    finds the step, sets the guider's conditionings and weight for it and hands the further negatives down
APPLY_MODEL      shows models and adapters a pair, whatever the branches of a batch are
post-CFG         turns the raw predictions of a step into the guided one (guided.py)
"""

from __future__ import annotations

import functools
import logging
import math

import comfy.model_sampling
import comfy.sampler_helpers
import torch
from comfy.patcher_extension import WrappersMP

from . import branches, conditions, guiders, run, second_model, stages, weak
from .guided import earlier_post_functions, guide, name

KEY = "azimuth"


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
    weak.open_terms(guider.model_patcher, this)
    this.neutral = this.is_neutral(this.before)
    for stage, why in idle.items():
        this.say(f"{stage.node} has no effect {why}.", logging.WARNING)
    introduce(guider, this)
    if this.neutral:
        return finish(this, executor, noise, latent_image, sampler, sigmas, *args, **kwargs)
    try:
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
    if isinstance(stage, stages.Pair):
        if row not in (guiders.BASIC, guiders.PLAIN):
            return f"under the {row.name}, which makes a pair of its own; use KSampler, CFG Guider or Basic Guider"
        if not math.isclose(guider.cfg, 1.0):
            return f"at cfg {guider.cfg:g}, where the sampler's negative is contrasted; set the sampler's cfg to 1"
    if isinstance(stage, (stages.Condition, stages.Pair)):
        return stage.obstacle(guider.model_patcher.model, guider.conds.get("positive", []))
    return ""


def finish(this: run.Run, executor, *args, **kwargs):
    """Sample, and report what was not finite and what was skipped even if the run was interrupted."""
    try:
        return executor(*args, **kwargs)
    finally:
        report_non_finite(this)
        report_skipped(this)


def loading_weight(this: run.Run) -> float:
    """The weight under which the guider decides what to load: not 1 if any step needs the negative pass."""
    return next((scale for scale in this.scales(this.before) if scale != 1.0), this.before)


def weight_of(guider, this: run.Run) -> float | None:
    return getattr(guider, this.guider.weight) if this.guider.weight else None


def set_weight(guider, this: run.Run, scale: float | None) -> None:
    if this.guider.weight:
        setattr(guider, this.guider.weight, scale)


def introduce(guider, this: run.Run) -> None:
    """Say once what this run's guidance does that its user might not expect."""
    introduce_conditions(this)
    if this.before is None:
        warn_without_negative(this)
        return
    warn_stranded(guider, this)
    if not this.neutral:
        scales = this.scales(this.before)
        introduce_weight(this, scales)
        warn_at_weight_1(guider, this, scales)
        for stage in this.of(stages.Negative):
            if stage.remark and this.ever_counts(stage, this.before):
                stage.remark(this)
        name_foreign(guider.model_options, this)


def warn_stranded(guider, this: run.Run) -> None:
    """A guider with a second model for the negative runs the first model's functions only."""
    stranded = set(stages.of(getattr(guider, "uncond_model_patcher", guider))) - set(stages.of(guider))
    if stranded:
        names = ", ".join(sorted(stage.node for stage in stranded))
        this.say(
            f"{names} on the negative model of the {this.guider.name} has no effect; wire it to the positive model.",
            logging.WARNING,
        )


def contrasting(this: run.Run) -> list[stages.Stage]:
    """The stages that are nothing without a negative pass."""
    needy = [stage for stage in this.of(stages.Correct) if stage.needs_pair]
    return this.of(stages.Negative) + this.of(stages.Baseline) + this.of(stages.Combine) + needy


def warn_without_negative(this: run.Run) -> None:
    for stage in this.of(stages.Weight) + this.of(stages.Skip) + contrasting(this):
        this.say(
            f"{stage.node} has no effect under the {this.guider.name}, which makes no negative pass; use a CFG Guider "
            f"or KSampler.",
            logging.WARNING,
        )


def introduce_conditions(this: run.Run) -> None:
    for stage in this.of(stages.Condition):
        steps = sum(stage.counts(this, step, 1.0) for step in this.steps)
        if steps:
            this.say(f"{stage} ({steps} of {len(this.steps)} steps).")
    if this.pair:
        steps = sum(map(this.makes_pair, this.steps))
        this.say(f"{this.pair}; {steps} of {len(this.steps)} steps make two passes.")


def introduce_weight(this: run.Run, scales: list[float]) -> None:
    for stage in this.of(stages.Weight)[-1:]:
        if any(scale != this.before for scale in scales):
            replaced = f"that of {this.pair.node}" if this.pair else f"the sampler's {this.before:g}"
            this.say(
                f"{stage.node} sets the weight to {min(scales):g} to {max(scales):g} over {len(scales)} steps, in "
                f"place of {replaced}."
            )
        if this.guider.steered:
            this.say(f"Under the {this.guider.name}, {stage.node} steers {this.guider.steered}.")


def warn_at_weight_1(guider, this: run.Run, scales: list[float]) -> None:
    wants = functools.partial(guiders.wants_negative_pass, guider, this.guider, model_options=guider.model_options)
    if not this.pair and not this.sampler_name.endswith("_cfg_pp") and not any(map(wants, scales)):
        for stage in contrasting(this):
            this.say(
                f"{stage.node} has no effect at weight 1, where no negative pass is made; raise the sampler's cfg.",
                logging.WARNING,
            )
    reached = 1.0 in scales or any(this.ever_counts(stage, this.before) for stage in this.of(stages.Skip))
    if reached and not this.guider.corrects:
        for stage in this.of(stages.Add) + this.of(stages.Correct):
            this.say(
                f"{stage.node} has no effect at weight 1 under the {this.guider.name}, which skips it there; keep the "
                f"weight away from 1.",
                logging.WARNING,
            )


def name_foreign(model_options: dict, this: run.Run) -> None:
    """Name what a combine rule takes the place of, and what it keeps."""
    for stage in this.of(stages.Combine):
        if not this.ever_counts(stage, this.before):
            continue
        if "sampler_cfg_function" in model_options:
            this.say(f"{stage.node} replaces the cfg function {name(model_options['sampler_cfg_function'])}.")
        earlier = earlier_post_functions(model_options)
        if earlier:
            names = ", ".join(name(function) for function in earlier)
            fate = "replaces" if "sampler_cfg_function" in model_options else "keeps the difference made by"
            this.say(f"{stage.node} {fate} the earlier post-CFG function {names}.")


def report_non_finite(this: run.Run) -> None:
    """Warn once, after the run, of steps whose predictions were not finite: one read of the device for all steps."""
    if not this.non_finite:
        return
    sigmas, flags = zip(*this.non_finite, strict=True)
    bad = torch.stack(flags).tolist()
    steps = [run.find_step(this.sigmas, s).index for s, b in zip(torch.stack(sigmas).tolist(), bad, strict=True) if b]
    if steps:
        this.say(
            f"Azimuth: the model's prediction holds NaN or infinity at step {steps[0] + 1} of {len(this.sigmas) - 1}; "
            f"it was passed on as it came, so check the model's precision or lower the guidance weight.",
            logging.WARNING,
        )


def report_skipped(this: run.Run) -> None:
    for stage in this.of(stages.Skip):
        if this.passes_due:
            this.say(f"{stage.node} skipped {this.passes_skipped} of {this.passes_due} negative passes.")


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
    return executor(guider, sigmas, extra_args, callback, noise, latent_image, denoise_mask, *args)


# ---- the step


def predict_noise(executor, x, timestep, model_options=None, seed=None):
    guider, model_options = executor.class_obj, model_options or {}
    this = guider.model_options.get(run.OPTION)
    if this is None or this.neutral:
        return executor(x, timestep, model_options, seed)
    find_step(guider, this, timestep)
    before, conds = weight_of(guider, this), guider.conds
    this.predictions, this.active = [], []
    try:
        guider.conds = conditions.of_step(guider, this)
        if before is not None:  # a pair to weigh; other stages act without one
            model_options = weigh(guider, this, before, model_options)
        scale = 1.0 if before is None else weight_of(guider, this)
        return executor(x, timestep, weak.watched(this, scale, model_options), seed)
    finally:
        set_weight(guider, this, before)
        guider.conds = conds


def weigh(guider, this: run.Run, before: float, model_options: dict) -> dict:
    """Set the guider's weight and what its step contrasts, and return the options that this takes."""
    scale = step_scale(guider, this, before, model_options)
    set_weight(guider, this, scale)
    if this.makes_pair(this.step):
        model_options = with_pair(guider, this, model_options)
    if guiders.makes_negative_pass(guider, this.guider, scale, model_options):
        if this.baseline_missing:
            stand_in(guider, this)
        elif this.branches:
            this.active = branches.active(this, this.step, scale)
            swap_baseline(guider, this)
            model_options = with_branches(guider, this, model_options)
    return model_options


def with_pair(guider, this: run.Run, model_options: dict) -> dict:
    """Let the host evaluate the positive twice, as positive and negative, and split the two predictions before anyone
    sees them. Both are the positive to the eyes of adapters."""
    positive = guider.conds["positive"]
    guider.conds = {
        **guider.conds,
        "positive": [this.pair.first(cond) for cond in positive],
        "negative": [this.pair.second(cond) for cond in positive],
    }
    functions = [functools.partial(split_pair, this.pair), *model_options.get("sampler_pre_cfg_function", [])]
    own = {"sampler_pre_cfg_function": functions, "disable_cfg1_optimization": True}
    return {**branches.showing(model_options, (0, 0)), **own}


def split_pair(pair: stages.Pair, args: dict) -> list:
    return [*pair.split(*args["conds_out"][:2]), *args["conds_out"][2:]]


def find_step(guider, this: run.Run, timestep) -> None:
    """Note which step this is, and whether the main negative's own time range leaves it without a prediction."""
    baseline = guider.conds.get(this.guider.baseline) or [] if not this.pair else []
    timed = branches.is_timed(baseline)
    if timed or this.needs_step:
        called_at, settled = read(timestep, this.settled)
        this.enter(run.find_step(this.sigmas, called_at), settled)
    this.baseline_missing = timed and not branches.in_time(baseline, this.step.called_at)


def read(timestep, settled) -> tuple[float, bool]:
    """The sigma of a call and whether all samples have settled, in one wait for the device."""
    if settled is None:
        return timestep[0].item(), False
    called_at, all_settled = torch.stack((timestep[0], settled.to(timestep))).tolist()
    return called_at, bool(all_settled)


def step_scale(guider, this: run.Run, before: float, model_options: dict) -> float:
    """The weight of this step; 1 where there is no main negative, of which the host would hand over zeros, and where
    none is needed any more."""
    if this.baseline_missing:
        this.say("Azimuth: the negative's time range does not reach every step; those steps run at weight 1.")
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
        keeper = this.sampler_name if this.sampler_name.endswith("_cfg_pp") else keeper
        this.say(
            f"{stage.node} has no effect: {keeper} wants the negative's prediction at every step; do without one of "
            f"the two.",
            logging.WARNING,
        )
        return False
    this.passes_due += 1
    this.passes_skipped += this.skipping
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


def with_branches(guider, this: run.Run, model_options: dict) -> dict:
    if not this.active:
        return model_options
    conds = [branches.conds_of_step(guider, this, branch) for branch, _ in this.active]
    handler = branches.BranchHandler(this, guiders.negative_model(guider), conds, model_options.get("context_handler"))
    return {**model_options, "context_handler": handler}


def apply_model(executor, x, t, c_concat=None, c_crossattn=None, control=None, transformer_options=None, **kwargs):
    """Adapters index a pair by `cond_or_uncond`: to their eyes a further negative is a negative, and a second pass of
    the positive is a positive."""
    options = transformer_options or {}
    if branches.SHOWN in options:
        shown = options[branches.SHOWN]
        seen = [shown[i] if i < len(shown) else i for i in options["cond_or_uncond"]]
        options = {**options, "cond_or_uncond": seen}
    return executor(x, t, c_concat, c_crossattn, control, options, **kwargs)


WRAPPERS = {
    WrappersMP.OUTER_SAMPLE: outer_sample,
    WrappersMP.PREPARE_SAMPLING: prepare_sampling,
    WrappersMP.SAMPLER_SAMPLE: sampler_sample,
    WrappersMP.PREDICT_NOISE: predict_noise,
    WrappersMP.APPLY_MODEL: apply_model,
}
