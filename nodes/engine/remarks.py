"""What a run logs about itself, each sentence once.

It says what its stages do that a user might not expect, and what they cannot do under this guider, at this weight or
together with another node.
"""

from __future__ import annotations

import logging
import math

import torch

from . import guiders, reused_passes, stages
from .guided import earlier_post_functions, functions_of_others, name
from .run import Run
from .steps import Step, find_step

OUT_OF_TIME = "Azimuth: the negative's time range does not reach every step; those steps run at weight 1."


def introduce(guider, run: Run) -> None:
    """Log, when the run opens, what its user might not expect."""
    introduce_conditions(run)
    if not run.neutral:
        say_how_steps_are_found(run)
    for pair in run.of(stages.Pair):
        introduce_pair(guider, run, pair)
    if run.before is None:
        warn_without_negative(run)
        return
    warn_stranded(guider, run)
    scales = run.scales(run.usual)
    if not run.neutral or would_skip(run):
        warn_at_weight_1(guider, run, scales)
    warn_where_faint(guider, run, scales)
    if not run.neutral:
        introduce_weight(run, scales)
        for stage in run.of(stages.Negative):
            if stage.remark and run.ever_counts(stage, run.usual):
                stage.remark(run)
        name_foreign(guider.model_options, run)
        reused_passes.name_witnesses(guider.model_options, run)


def say_how_steps_are_found(run: Run) -> None:
    """Say which step a call counts for, where it is not known which calls of the sampler belong to one step."""
    if run.needs_step and not run.sampler.is_known:
        run.say(
            f"Azimuth: which calls of the sampler {run.sampler.name} belong to one step is not known; each counts for "
            f"the step in whose range of sigmas it lies."
        )


def warn_stranded(guider, run: Run) -> None:
    """Warn of stages on a model of the negative's own (Dual Model CFG Guider), where the host calls none of them."""
    stranded = set(stages.of(getattr(guider, "uncond_model_patcher", guider))) - set(stages.of(guider))
    if stranded:
        names = ", ".join(sorted(stage.node for stage in stranded))
        run.say(
            f"{names} on the negative model of the {run.guider_kind.name} has no effect; wire it to the positive "
            f"model.",
            logging.WARNING,
        )


def contrasting(run: Run) -> list[stages.Stage]:
    """The stages that do nothing without a negative pass."""
    return [stage for kind in stages.CONTRASTING for stage in run.of(kind)] + comparing(run)


def weighing(run: Run) -> list[stages.Stage]:
    """The stages that do nothing at weight 1 even if a negative pass is made there."""
    if any(rule.acts_at_1 and run.on(rule) for rule in run.of(stages.Combine)):
        return []
    replacing = [stage for stage in run.of(stages.Negative) if stage.baseline]
    further = len(replacing) < len(run.of(stages.Negative))  # these contrast with what the others replace
    alone = run.guider_kind.contrasted and not further and not adding(run)
    rules = run.of(stages.Baseline) + run.of(stages.Combine)
    return ([] if further else replacing) + rules + (comparing(run) if alone else [])


def comparing(run: Run) -> list[stages.Correct]:
    """The corrections that have nothing to do where the result is the positive's prediction."""
    return [stage for stage in run.of(stages.Correct) if stage.needs_pair or is_idle_alone(run, stage)]


def adding(run: Run) -> list[stages.Add]:
    """The added terms that count at some step."""
    return [stage for stage in run.of(stages.Add) if run.ever_counts(stage, run.usual)]


def is_idle_alone(run: Run, stage: stages.Correct) -> bool:
    """Whether a correction leaves the positive's prediction as it is at every step, and no term is added to it."""
    return not adding(run) and all(stage.idle(run.value(stage, step)) for step in run.on(stage))


def warn_without_negative(run: Run) -> None:
    for stage in run.of(stages.Weight) + run.of(stages.Skip) + run.of(stages.Reuse) + contrasting(run):
        run.say(
            f"{stage.node} has no effect under the {run.guider_kind.name}, which makes no negative pass; use a CFG "
            f"Guider or KSampler.",
            logging.WARNING,
        )


def introduce_conditions(run: Run) -> None:
    for stage in run.of(stages.Condition) + run.of(stages.Attention):
        steps = sum(run.counts(stage, step, 1.0) and takes_effect(run, stage, step) for step in run.steps)
        if steps:
            run.say(f"{stage} ({steps} of {len(run.steps)} steps).")


def takes_effect(run: Run, stage: stages.Stage, step: Step) -> bool:
    """Whether a stage has an effect at this step: a `Pair` stage overwrites what some stages set (`beside_pair`)."""
    return getattr(stage, "beside_pair", True) or not run.makes_pair(step)


def introduce_pair(guider, run: Run, pair: stages.Pair) -> None:
    """Say at how many steps the `Pair` stage makes two passes, and what the functions of other nodes see."""
    made = [
        run.makes_pair(step) and wants_both(guider, run, scale)
        for step, scale in zip(run.steps, run.scales(run.usual), strict=True)
    ]
    run.say(f"{pair}; {sum(made)} of {len(made)} steps make two passes.")
    others = functions_of_others(guider.model_options, "sampler_post_cfg_function")
    if others and any(made):
        names = ", ".join(map(name, others))
        run.say(
            f"{pair.node}: passes that functions of other nodes ({names}) make are at guidance 1, beside which "
            f"D_c is an estimate unless low is 1."
        )


def wants_both(guider, run: Run, scale: guiders.Weight) -> bool:
    """Whether a step at this scale needs both predictions of its pair, and can have both."""
    if not run.guider_kind.one_model and all(other == 1.0 for other in run.scales(run.usual)):
        return False  # the model of the negative is not loaded
    return run.sampler.is_cfgpp or guiders.wants_negative_pass(guider, run.guider_kind, scale, guider.model_options)


def introduce_weight(run: Run, scales: list) -> None:
    if not run.guider_kind.follows:  # what it made of the weight is reported afterwards, as its calls show it
        return
    for stage in run.of(stages.Weight)[-1:]:
        steps = dict(zip(run.steps, scales, strict=True))
        new = [step for step, scale in steps.items() if scale not in (1.0, run.usual)]
        overruled = [step for step in new if overrules(run, step, steps[step])]
        wholly = bool(new) and overruled == new
        for rule in run.of(stages.Combine) if overruled else ():
            where = "wherever it is not 1" if wholly else f"at {len(overruled)} of {len(steps)} steps"
            run.say(
                f"{rule.node} replaces the weight that {stage.node} sets, {where}, by its {rule.own_weight}; set its "
                f"weight to sampler cfg or bypass {stage.node}.",
                logging.WARNING,
            )
        standing = [scale for step, scale in steps.items() if step not in overruled]
        if not wholly and any(scale != run.usual for scale in standing):
            own = " and ".join(f"{scale:g}" for scale in guiders.numbers_of(run.usual))
            replaced = f"that of {run.pair.node}" if run.pair else f"the sampler's {own}"
            found = [number for scale in standing for number in guiders.numbers_of(scale)]
            run.say(
                f"{stage.node} sets the weight to {min(found):g} to {max(found):g} over {len(standing)} steps, in "
                f"place of {replaced}."
            )
        if run.guider_kind.steered:
            run.say(f"Under the {run.guider_kind.name}, {stage.node} steers {run.guider_kind.steered}.")


def overrules(run: Run, step: Step, scale: float) -> bool:
    """Whether the combine rule puts a weight of its own in the place of a step's."""
    return any(
        rule.own_weight and run.share(rule, step) == 1.0 and run.counts(rule, step, scale)
        for rule in run.of(stages.Combine)
    )


def would_skip(run: Run) -> list[stages.Skip]:
    """The `Skip` stages that count at some step if its weight is not 1."""
    return [stage for stage in run.of(stages.Skip) if any(run.counts(stage, step, math.inf) for step in run.steps)]


def warn_at_weight_1(guider, run: Run, scales: list[float]) -> None:
    if all(scale == 1.0 for scale in scales):
        made = wants_both(guider, run, 1.0)
        why = "where the positive is all that counts" if made else "where no negative pass is made"
        for stage in would_skip(run) + (weighing(run) if made else run.of(stages.Reuse) + contrasting(run)):
            run.account.say_later(stage, f"{stage.node} has no effect at weight 1, {why}; {raise_weight(run)}.")
    reached = 1.0 in scales or any(run.ever_counts(stage, run.usual) for stage in run.of(stages.Skip))
    if reached and not run.guider_kind.corrects:
        for stage in run.of(stages.Add) + run.of(stages.Correct):
            run.say(
                f"{stage.node} has no effect at weight 1 under the {run.guider_kind.name}, which skips it there; keep "
                f"the weight away from 1.",
                logging.WARNING,
            )


def warn_where_faint(guider, run: Run, scales: list) -> None:
    """Warn of rules for which every weight of the run is too small; at 1 of those that other words do not reach."""
    at_1 = all(scale == 1.0 for scale in scales)
    if at_1 and not (run.sampler.is_cfgpp and wants_both(guider, run, 1.0)):
        return
    rules = [rule for rule in run.of(stages.Combine) if is_faint(run, rule, scales)]
    if len(rules) == len(run.of(stages.Combine)) and not (run.of(stages.Negative) or adding(run) or at_1):
        rules += [stage for stage in run.of(stages.Correct) if is_faint(run, stage, scales)]
    for rule in rules:
        if not at_1 or rule.acts_at_1:
            remedy = f"{raise_weight(run)}, or bypass the node"
            run.account.say_later(rule, f"{rule.node} has {rule.fainter}; {remedy}.")


def is_faint(run: Run, stage: stages.Blended, scales: list[float]) -> bool:
    """Whether a stage is faint at every step, although it counts at some step if the weight is large enough."""
    weighed = [(step, scale) for step, scale in zip(run.steps, scales, strict=True) if run.share(stage, step) > 0.0]
    on = any(run.counts(stage, step, math.inf) for step, _ in weighed)
    return on and all(stage.faint(guiders.gauge(scale), run.value(stage, step)) for step, scale in weighed)


def raise_weight(run: Run) -> str:
    """What a user can do to give this run a larger weight: the end of a sentence."""
    if run.sampler.is_cfgpp:
        return f"{run.sampler.name} takes lambda for the weight, so use a sampler that is not CFG++"
    if setting := run.of(stages.Weight)[-1:] or run.of(stages.Pair):
        wider = " or widen its window" if isinstance(setting[0], stages.Pair) else ""
        return f"raise {getattr(setting[0], 'unit', '') or setting[0].input} of {setting[0].node}{wider}"
    return "raise lam_max of the sampler" if run.sampler.sets_weight else "raise the sampler's cfg"


def name_foreign(model_options: dict, run: Run) -> None:
    """Name the functions of other nodes that a combine rule replaces, and those whose effect it keeps."""
    for stage in run.of(stages.Combine):
        if not run.ever_counts(stage, run.usual):
            continue
        steps = run.on(stage)
        where = "" if len(steps) == len(run.steps) else f" at {len(steps)} of {len(run.steps)} steps"
        if "sampler_cfg_function" in model_options:
            run.say(f"{stage.node} replaces the cfg function {name(model_options['sampler_cfg_function'])}{where}.")
        earlier = earlier_post_functions(model_options)
        if earlier:
            names = ", ".join(name(function) for function in earlier)
            if "sampler_cfg_function" in model_options:
                run.say(f"{stage.node} replaces the earlier post-CFG function {names}{where}.")
            else:
                run.say(f"{stage.node} keeps the difference made by the earlier post-CFG function {names}.")


def report_non_finite(run: Run) -> None:
    """Warn, after the run, of predictions that were not finite. The device is read here only, for all calls at once."""
    if not run.account.finite:
        return
    sigmas, flags = zip(*run.account.finite, strict=True)
    finite = torch.stack([flag.all() for flag in flags]).tolist()
    levels = torch.cat(sigmas).tolist()
    steps = [find_step(run.sigmas, s).index for s, fine in zip(levels, finite, strict=True) if not fine]
    if steps:
        run.say(
            f"Azimuth: the model's prediction holds NaN or infinity at step {steps[0] + 1} of {len(run.sigmas) - 1}; "
            f"it was passed on as it came, so check the model's precision or lower the guidance weight.",
            logging.WARNING,
        )


def count_passes(run: Run) -> None:
    """Count, after a call, the negative pass that a `Skip` stage was to decide on, as the call itself showed it."""
    unseen = run.call.contrasted is None and run.guider_kind.corrects
    if run.call.due is None or unseen:
        return
    if run.call.contrasted or run.skipping:
        run.account.count(run.call.due, 1, not run.call.contrasted)


def report_weights(run: Run) -> None:
    """Say, after the run, which weights a guider that nobody here knows has taken from a weight stage."""
    if run.guider_kind.follows or not run.account.taken:
        return
    for stage in run.of(stages.Weight)[-1:]:
        found = run.account.taken
        run.say(
            f"{stage.node} has set the weight to {min(found):g} to {max(found):g} in {len(found)} of {run.calls} calls "
            f"of the {run.guider_kind.name}."
        )


def report_rested(run: Run) -> None:
    """Say, after the run, in how many calls an added term rested because a cache answered for the network."""
    for stage in run.of(stages.Add):
        if run.account.rested[stage]:
            run.say(
                f"{stage.node} rested in {run.account.rested[stage]} of {run.account.calls[stage]} calls, in which a "
                f"cache answered for the model."
            )


def report_followed(run: Run) -> None:
    """Say, after the run, that a cache could skip nothing where the pass that it decides by was left out."""
    if run.account.unfollowed:
        run.say(
            f"Azimuth: EasyCache could skip nothing in {run.account.unfollowed} of {run.calls} calls, which left out "
            f"the pass that it decides by; LazyCache has no such pass."
        )


def report_at_weight_1(run: Run) -> None:
    """Say, after the run, what had no effect at its weights: unless another node has set others, and it acted there."""
    for stage, sentence in run.account.later:
        if not (run.account.raised and stage in run.account.acted):
            run.say(sentence, logging.WARNING)


def report_sizes(run: Run) -> None:
    """Warn, after the run, of corrections that never found what they remember, as the latent kept changing its size."""
    for stage in run.of(stages.Correct):
        own = [memory for (of, *_), memory in run.memories.items() if of is stage]
        if len(own) > len(run.latent_shapes) and all(memory.value is None for memory in own):
            run.say(
                f"{stage.node} has no effect: it remembers earlier steps at one size, and the latent changed its size "
                f"at every step; use a sampler that keeps the size.",
                logging.WARNING,
            )


def report_unmet(run: Run) -> None:
    """Warn, after a run, of stages that counted at some step and that nothing in it called, if no sentence did so yet.

    A cache may have answered for whole steps, or a guider that nobody here knows may have made no negative pass.
    """
    for stage in [stage for kind in (*stages.CONTRASTING, stages.Add, stages.Correct) for stage in run.of(kind)]:
        if stage in run.account.acted or not run.ever_counts(stage, run.usual):
            continue
        heads = f"{stage.node} has ", OUT_OF_TIME  # with the latter the run is another than without the node
        if not any(sentence.startswith(heads) for sentence in run.account.said):
            alone = isinstance(stage, stages.CONTRASTING) and run.calls
            why = "no negative pass was made at its steps" if alone else "no prediction of its steps came to it"
            run.say(f"{stage.node} has no effect: {why}; bypass the node or the one that leaves them out.")


def report_skipped(run: Run) -> None:
    for stage in run.of(stages.Skip) + run.of(stages.Reuse):
        if run.skipping and not run.account.left_out[stage] and not run.guider_kind.follows:
            run.say(
                f"{stage.node} skips no pass under the {run.guider_kind.name}, which makes them all the same; a "
                f"settled picture gets what the positive's own pass predicts."
            )
        elif run.account.due[stage]:
            run.say(f"{stage.node} skipped {run.account.left_out[stage]} of {run.account.due[stage]} negative passes.")


def name_other_weight(run: Run, before: guiders.Weight, scale: guiders.Weight) -> None:
    """Say what becomes of a weight that another node, wired before ours, gave this step (the host's CFG Override)."""
    if before != run.before and not run.sampler.sets_weight:
        run.account.raised = True
        run.say_weight_of_another_node(run.of(stages.Weight)[-1:] if scale != before else [])
