"""What a run says of itself, each sentence once: what its stages do that its user might not expect, and what they can
not do under this guider, at this weight or beside another node."""

from __future__ import annotations

import logging
import math

import torch

from . import guiders, reused_passes, run, stages
from .guided import earlier_post_functions, functions_of_others, name


def introduce(guider, this: run.Run) -> None:
    """Say once what this run's guidance does that its user might not expect."""
    introduce_conditions(this)
    if this.pair:
        introduce_pair(guider, this)
    if this.before is None:
        warn_without_negative(this)
        return
    warn_stranded(guider, this)
    scales = this.scales(this.usual)
    if not this.neutral or would_skip(this):
        warn_at_weight_1(guider, this, scales)
    warn_where_faint(this, scales)
    if not this.neutral:
        introduce_weight(this, scales)
        for stage in this.of(stages.Negative):
            if stage.remark and this.ever_counts(stage, this.usual):
                stage.remark(this)
        name_foreign(guider.model_options, this)
        reused_passes.name_witnesses(guider.model_options, this)


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
    return this.of(stages.Negative) + this.of(stages.Baseline) + this.of(stages.Combine) + comparing(this)


def weighing(this: run.Run) -> list[stages.Stage]:
    """The stages of which nothing is left at weight 1, where a negative pass is made all the same."""
    if any(rule.acts_at_1 for rule in this.of(stages.Combine)):
        return []
    replacing = [stage for stage in this.of(stages.Negative) if stage.baseline]
    alone = this.guider.contrasted and len(replacing) == len(this.of(stages.Negative)) and not this.of(stages.Add)
    return replacing + this.of(stages.Baseline) + this.of(stages.Combine) + (comparing(this) if alone else [])


def comparing(this: run.Run) -> list[stages.Correct]:
    """The corrections that have nothing to do where the result is the positive."""
    return [stage for stage in this.of(stages.Correct) if stage.needs_pair or is_idle_alone(this, stage)]


def is_idle_alone(this: run.Run, stage: stages.Correct) -> bool:
    """Whether a correction leaves the positive as it is at every step, and nothing is added to it."""
    return not this.of(stages.Add) and all(stage.idle(stage.value(this, step)) for step in this.steps)


def warn_without_negative(this: run.Run) -> None:
    for stage in this.of(stages.Weight) + this.of(stages.Skip) + this.of(stages.Reuse) + contrasting(this):
        this.say(
            f"{stage.node} has no effect under the {this.guider.name}, which makes no negative pass; use a CFG Guider "
            f"or KSampler.",
            logging.WARNING,
        )


def introduce_conditions(this: run.Run) -> None:
    for stage in this.of(stages.Condition) + this.of(stages.Attention):
        steps = sum(stage.counts(this, step, 1.0) and has_say(this, stage, step) for step in this.steps)
        if steps:
            this.say(f"{stage} ({steps} of {len(this.steps)} steps).")


def has_say(this: run.Run, stage: stages.Stage, step: run.Step) -> bool:
    """Whether a stage has its say at a step that makes a pair, or there is none."""
    return getattr(stage, "beside_pair", True) or not this.makes_pair(step)


def introduce_pair(guider, this: run.Run) -> None:
    """Say at how many steps it is made, and what other nodes are shown of it."""
    made = [
        this.makes_pair(step) and wants_both(guider, this, scale)
        for step, scale in zip(this.steps, this.scales(this.usual), strict=True)
    ]
    this.say(f"{this.pair}; {sum(made)} of {len(made)} steps make two passes.")
    others = functions_of_others(guider.model_options, "sampler_post_cfg_function")
    if others and any(made):
        names = ", ".join(map(name, others))
        this.say(
            f"{this.pair.node}: passes that functions of other nodes ({names}) make are at guidance 1, beside which "
            f"D_c is an estimate unless low is 1."
        )


def wants_both(guider, this: run.Run, scale: float) -> bool:
    """Whether a step at this scale needs both predictions of its pair."""
    return this.is_cfgpp or guiders.wants_negative_pass(guider, this.guider, scale, guider.model_options)


def introduce_weight(this: run.Run, scales: list[float]) -> None:
    for stage in this.of(stages.Weight)[-1:]:
        overruled = overrules(this) if any(scale not in (1.0, this.usual) for scale in scales) else []
        for rule in overruled:
            this.say(
                f"{rule.node} replaces the weight that {stage.node} sets, wherever it is not 1, by its "
                f"{rule.own_weight}; set its weight to sampler cfg or bypass {stage.node}.",
                logging.WARNING,
            )
        if not overruled and any(scale != this.usual for scale in scales):
            replaced = f"that of {this.pair.node}" if this.pair else f"the sampler's {this.usual:g}"
            this.say(
                f"{stage.node} sets the weight to {min(scales):g} to {max(scales):g} over {len(scales)} steps, in "
                f"place of {replaced}."
            )
        if this.guider.steered:
            this.say(f"Under the {this.guider.name}, {stage.node} steers {this.guider.steered}.")


def overrules(this: run.Run) -> list[stages.Combine]:
    """The combine rules beside which nothing but its being 1 matters of the weight of a step."""
    return [
        rule
        for rule in this.of(stages.Combine)
        if rule.own_weight and rule.strength == 1.0 and this.ever_counts(rule, this.usual)
    ]


def would_skip(this: run.Run) -> list[stages.Skip]:
    """The stages that leave the negative pass out at some step where one is made, at a weight other than 1."""
    return [stage for stage in this.of(stages.Skip) if any(stage.counts(this, step, math.inf) for step in this.steps)]


def warn_at_weight_1(guider, this: run.Run, scales: list[float]) -> None:
    if all(scale == 1.0 for scale in scales):
        made = wants_both(guider, this, 1.0)
        why = "where the positive is all that counts" if made else "where no negative pass is made"
        for stage in would_skip(this) + (weighing(this) if made else this.of(stages.Reuse) + contrasting(this)):
            this.say(f"{stage.node} has no effect at weight 1, {why}; {raise_weight(this)}.", logging.WARNING)
    reached = 1.0 in scales or any(this.ever_counts(stage, this.usual) for stage in this.of(stages.Skip))
    if reached and not this.guider.corrects:
        for stage in this.of(stages.Add) + this.of(stages.Correct):
            this.say(
                f"{stage.node} has no effect at weight 1 under the {this.guider.name}, which skips it there; keep the "
                f"weight away from 1.",
                logging.WARNING,
            )


def warn_where_faint(this: run.Run, scales: list[float]) -> None:
    """Name the rules for which no weight of the run is large enough."""
    if all(scale == 1.0 for scale in scales):
        return
    rules = [rule for rule in this.of(stages.Combine) if is_faint(this, rule, scales)]
    if len(rules) == len(this.of(stages.Combine)) and not (this.of(stages.Negative) or this.of(stages.Add)):
        rules += [stage for stage in this.of(stages.Correct) if is_faint(this, stage, scales)]
    for rule in rules:
        this.say(f"{rule.node} has {rule.fainter}; {raise_weight(this)}, or bypass the node.", logging.WARNING)


def is_faint(this: run.Run, stage: stages.Blended, scales: list[float]) -> bool:
    """Whether a stage is faint at every step, and would not be switched off at another weight."""
    on = any(stage.counts(this, step, math.inf) for step in this.steps)
    steps = zip(this.steps, scales, strict=True)
    return on and all(stage.faint(scale, stage.value(this, step)) for step, scale in steps)


def raise_weight(this: run.Run) -> str:
    """What gives a run a larger weight, in a user's words."""
    if this.is_cfgpp:
        return f"{this.sampler_name} takes lambda for the weight, so use a sampler that is not CFG++"
    if setting := this.of(stages.Weight)[-1:] or [this.pair] * bool(this.pair):
        wider = " or widen its window" if setting[0] is this.pair else ""
        return f"raise {getattr(setting[0], 'unit', '') or setting[0].input} of {setting[0].node}{wider}"
    return "raise lam_max of the sampler" if this.sets_weight else "raise the sampler's cfg"


def name_foreign(model_options: dict, this: run.Run) -> None:
    """Name what a combine rule takes the place of, and what it keeps."""
    for stage in this.of(stages.Combine):
        if not this.ever_counts(stage, this.usual):
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
    for stage in this.of(stages.Skip) + this.of(stages.Reuse):
        if this.due[stage]:
            this.say(f"{stage.node} skipped {this.left_out[stage]} of {this.due[stage]} negative passes.")


def name_other_weight(this: run.Run, before: float, scale: float) -> None:
    """Say what becomes of a weight that another node, wired before ours, gave this step (the host's CFG Override)."""
    if before != this.before and not this.sets_weight:
        this.say_weight_of_another_node(this.of(stages.Weight)[-1:] if scale != before else [])
