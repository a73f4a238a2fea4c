"""The guided prediction of a step: baseline, combine, add and correct, on the model's own predictions, in x0 space.

Every post-CFG function gets the host's `args`: `cond_denoised` and `uncond_denoised` are the model's predictions,
`denoised` is the host's result so far, to which earlier functions of other nodes may have contributed.
"""

from __future__ import annotations

import logging

import comfy.utils
import torch

from ...guidance import finite_per_sample, select_per_sample
from . import branches, caches, guiders, stages, two_passes, weak
from .networks.unfit import Unfit
from .run import Run, run_in
from .stages import Moment


def guide(args: dict) -> torch.Tensor:
    """The post-CFG function that every MODEL with stages carries; returns the guided prediction."""
    run = run_in(args["model_options"])
    if run is None:
        return args["denoised"]
    if run.neutral or args["cond"] is None:
        note_non_finite(args, run, args["denoised"])
        if not run.neutral:
            warn_without_prediction(args, run)
        return args["denoised"]
    scale = weight_seen(args, run)
    run.account.see(run.call.scale, scale)
    warn_overruled(run, scale)
    run.calls += 1
    moment = moment_of(args, run, scale)
    guided = args["denoised"]
    run.call.contrasted = moment.uncond is not None
    pair = [moment.cond] if moment.uncond is None else [moment.cond, moment.uncond]
    finite = note_non_finite(args, run, *pair, *run.call.predictions)
    if moment.uncond is not None:
        moment, guided = settle(args, run, moment, combine(args, run, moment, finite))
    return correct(run, moment, add_terms(args, run, moment, guided))


def note_non_finite(args: dict, run: Run, *predictions: torch.Tensor) -> torch.Tensor:
    """Which samples are finite in all of these predictions: bool, (B,); read after the run only."""
    finite = finite_per_sample(predictions[0])
    for prediction in predictions[1:]:
        finite &= finite_per_sample(prediction)
    run.account.finite.append((args["sigma"][:1].clone(), finite))  # some samplers write into their sigma
    return finite


def weight_seen(args: dict, run: Run) -> guiders.Weight | torch.Tensor:
    """The weight of this call, as far as the call itself shows it.

    A number, one number for each part of a packed latent, a tensor with one for each sample or place, or UNKNOWN.
    """
    kind, given = run.guider_kind, args.get("cond_scale", run.call.scale)
    if kind.follows:
        return run.call.scale if isinstance(run.call.scale, tuple) else as_weight(given)
    own = args["model_options"].get("sampler_cfg_function") is not run.cfg_function
    return guiders.UNKNOWN if own or "cond_scale" not in args else as_weight(given)


def as_weight(given) -> guiders.Weight | torch.Tensor:
    return given if isinstance(given, torch.Tensor) and given.ndim else guiders.as_number(given)


def warn_overruled(run: Run, scale: guiders.Weight | torch.Tensor) -> None:
    """Warn if something has set another weight than ours for this step.

    That may be a node wired after ours (the host's CFG Override), or a guider that nobody here knows.
    """
    if run.call.scale is None or isinstance(scale, torch.Tensor) or scale == run.call.scale:
        return
    run.account.raised = True
    if not run.guider_kind.follows:
        for stage in run.of(stages.Weight):
            run.say(
                f"{stage.node} has no effect on the steps at which the {run.guider_kind.name} takes another weight "
                f"than its cfg; use KSampler or CFG Guider.",
                logging.WARNING,
            )
        return
    if not run.of(stages.Weight):
        run.say_weight_of_another_node()
    fates = [(stage, "has no effect") for stage in run.of(stages.Weight)]
    fates += [(stage, "saves no pass") for stage in run.of(stages.Skip) if run.skipping]
    for stage, fate in fates:
        run.say(
            f"{stage.node} {fate} on the steps of which another node sets the weight; wire that node first, "
            f"or do without one of the two.",
            logging.WARNING,
        )


def warn_without_prediction(args: dict, run: Run) -> None:
    """Warn that stages have nothing to act on.

    The Dual CFG Guider makes no prediction of its pair where both of its weights are 1, and adds the whole result
    after us.
    """
    for kind in (stages.Add, stages.Correct):
        for stage in run.counting(kind, weight_seen(args, run)):
            run.say(
                f"{stage.node} has no effect at weights of 1 under the {run.guider_kind.name}, which then makes no "
                f"prediction of what it contrasts; raise one of them.",
                logging.WARNING,
            )


def baseline_of(args: dict) -> str:
    """The name in a post-CFG function's `args` of what the positive is contrasted with.

    The Perp-Neg Guider passes its empty prompt as `empty_cond`, and its negative as `uncond`.
    """
    return "empty_cond" if "empty_cond" in args else "uncond"


def moment_of(args: dict, run: Run, scale: guiders.Weight | torch.Tensor) -> Moment:
    """The step as rules see it. Without a negative pass `uncond` is None, although the host hands over zeros for it."""
    own = baseline_of(args)
    alone = args[own] is None or run.before is None or run.call.baseline_missing
    network, x, sigma = run.network, args["input"], args["sigma"]
    return Moment(
        cond=args["cond_denoised"],
        uncond=None if alone else args[f"{own}_denoised"],
        x=network.x_seen(x, sigma),
        sigma=network.sigma_seen(sigma),
        network=network.seen,
        sigmas=run.sigmas_seen,
        scale=scale,
        from_noise=run.from_noise,
        step=run.call.step.index,
        begun=network.sigma_seen(run.call.step.sigma),
        progress=run.call.step.progress,
    )


def combine(args: dict, run: Run, moment: Moment, finite: torch.Tensor) -> torch.Tensor:
    """The combined result: the combine rule's if one counts, else the host's; in either case with further negatives.

    A sample whose predictions are not `finite` keeps the host's result.
    """
    raw = moment.uncond
    if not guiders.is_known(moment.scale):
        warn_without_weight(run)
        return args["denoised"]
    moment, terms = negatives(args, run, moment)
    moment = contrasted(run, moment)
    stage = next(iter(run.counting(stages.Combine, moment.scale)), None)
    if stage is None and moment.uncond is raw:
        return add(args["denoised"], terms)
    ours = apply(run, stage, blended(stage.rule, run.share(stage, run.call.step)) if stage else plain, moment)
    if keeps_foreign(args, stage):
        terms = [*terms, args["denoised"] - plainly(run, moment.but(uncond=raw))]
    return select_per_sample(finite, add(ours, terms), args["denoised"])


def warn_without_weight(run: Run) -> None:
    """Warn that a rule has nothing to go by: the call does not show with which weight it was guided."""
    run.unshown = True
    for stage in [stage for kind in stages.CONTRASTING for stage in run.counting(kind, guiders.UNKNOWN)]:
        run.say(
            f"{stage.node} has no effect where the {run.guider_kind.name} does not show its weight, which the node "
            f"works with; use KSampler or CFG Guider.",
            logging.WARNING,
        )


def negatives(args: dict, run: Run, moment: Moment) -> tuple[Moment, list[torch.Tensor]]:
    """Apply the further negatives: the moment with the baseline that they change, and the terms that they add."""
    if run.call.active and not run.call.predictions:
        warn_not_evaluated(args, run)
        return moment, []
    cached = caches.serve(run, args["cond"])
    found = [
        (
            branch.stage,
            branches.filled(branch, prediction, getattr(moment, branch.stage.beside), args["input"], args["sigma"]),
        )
        for (branch, _), prediction in zip(run.call.active, run.call.predictions, strict=True)
        if caches.serve(run, branch.conds) == cached
    ]
    for stage, prediction in found:
        if stage.baseline:
            seen = moment.but(other=prediction)
            moment = moment.but(uncond=apply(run, stage, stage.baseline, seen))
    terms = [apply(run, stage, stage.term, moment.but(other=prediction)) for stage, prediction in found if stage.term]
    return moment, terms


def contrasted(run: Run, moment: Moment) -> Moment:
    """The moment with the baseline that the `Baseline` stages make."""
    for stage in run.counting(stages.Baseline, moment.scale):
        ours = apply(run, stage, stage.rule, moment)
        share = run.share(stage, run.call.step)
        moment = moment.but(uncond=mixed(moment.uncond, ours, share))
    return moment


def warn_not_evaluated(args: dict, run: Run) -> None:
    function = args["model_options"].get("sampler_calc_cond_batch_function", args["model"])
    for branch, _ in run.call.active:
        run.say(
            f"{branch.stage.node} has no effect where {name(function)} of another node makes the predictions itself; "
            f"use one of the two.",
            logging.WARNING,
        )


def plain(m: Moment) -> torch.Tensor:
    """Plain CFG, to the last bit as the host computes it.

    What differs from it in the host's result was therefore added by another node.
    """
    return m.uncond + (m.cond - m.uncond) * m.scale


def plainly(run: Run, m: Moment) -> torch.Tensor:
    """Plain CFG of a whole latent, each of whose parts may have a weight of its own."""
    return apply(run, None, plain, m) if isinstance(m.scale, tuple) else plain(m)


def blended(rule, share: float):
    """A combine rule blended with plain CFG: share 0 is plain CFG, 1 is the rule."""
    return rule if share == 1.0 else lambda m: mixed(plain(m), rule(m), share)


def keeps_foreign(args: dict, stage: stages.Combine | None) -> bool:
    """Whether the result keeps what others have added to plain CFG before us.

    Others are earlier post-CFG functions, the Perp-Neg Guider's negative and a cfg function of another node. Such a cfg
    function, with the post-CFG functions after it, is replaced by a combine rule.
    """
    options = args["model_options"]
    if "empty_cond" in args:
        return True
    if "sampler_cfg_function" in options:
        return stage is None
    return bool(earlier_post_functions(options))


def earlier_post_functions(model_options: dict) -> list:
    functions = model_options.get("sampler_post_cfg_function", [])
    return functions[: functions.index(guide)]


def functions_of_others(model_options: dict, *places: str) -> list:
    """The functions of other nodes in the lists of `model_options` that `places` names."""
    return [function for place in places for function in model_options.get(place, []) if function is not guide]


def name(function) -> str:
    return getattr(function, "__qualname__", type(function).__name__).split(".")[0]


def add_terms(args: dict, run: Run, moment: Moment, guided: torch.Tensor) -> torch.Tensor:
    """The combined result with every added term that counts. Each term takes a pass of its weaker model."""
    args, moment = two_passes.of_terms(args, run, not_reused(args, run, moment))
    cached = caches.serve(run, args["cond"])
    for i, stage in enumerate(run.counting(stages.Add, moment.scale)):
        run.account.count_rest(stage, cached)
        if cached:
            continue
        try:
            seen = run.terms[stage](weak.apart(args, i), run, moment)
        except Unfit as reason:
            weak.leave_out(run, stage, reason)
            continue
        finite = note_non_finite(args, run, seen.cond, seen.other)
        ours = apply(run, stage, stage.rule, seen.but(guided=guided))
        guided = select_per_sample(finite, ours, guided)
    return guided


def not_reused(args: dict, run: Run, moment: Moment) -> Moment:
    """The moment as added terms need it: `cond` is a prediction of this very call, also where the pair's is reused."""
    if run.call.weakened is None:
        return moment
    note_non_finite(args, run, run.call.weakened)
    return moment.but(cond=run.call.weakened)


def settle(args: dict, run: Run, moment: Moment, guided: torch.Tensor) -> tuple[Moment, torch.Tensor]:
    """Note which samples have settled by now, and give those settled earlier the result of one pass.

    `guided` is the combined result. A sample that had settled before this step gets the prediction of its first pass in
    place of its combined result, and in place of `moment.cond` for the stages that follow. Where the negative's
    prediction is reused it shows nothing new, so no sample settles.
    """
    seen = moment
    for stage in () if run.call.keeps_pass else run.counting(stages.Skip, moment.scale):
        memory = run.memory(stage)
        before = memory.value
        if before is not None:
            alone = two_passes.first_prediction(run, moment.cond)
            guided = select_per_sample(before, unguided(args, run, moment, alone), guided)
            seen = seen.but(cond=select_per_sample(before, alone, moment.cond))
        if not run.call.reusing:
            parts = moment.but(value=run.value(stage, run.call.step)).parts(run.latent_shapes)
            settled = torch.stack([stage.rule(part) for part in parts]).all(dim=0)
            settled = settled if before is None else settled | before
            memory.keep(settled)
            run.settled = settled.all()
    return seen, guided


def unguided(args: dict, run: Run, moment: Moment, alone: torch.Tensor) -> torch.Tensor:
    """The host's result for a sample at weight 1: the prediction of its one pass, `alone`.

    What earlier post-CFG functions of other nodes added to this call's result is added to it too.
    """
    options = args["model_options"]
    known = guiders.is_known(moment.scale)
    if "sampler_cfg_function" in options or not earlier_post_functions(options) or not known:
        return alone
    return alone + (args["denoised"] - plainly(run, moment))


def correct(run: Run, moment: Moment, guided: torch.Tensor) -> torch.Tensor:
    for stage in run.counting(stages.Correct, moment.scale):
        if stage.needs_pair and moment.uncond is None:
            continue
        ours = apply(run, stage, stage.rule, moment.but(guided=guided))
        guided = mixed(guided, ours, run.share(stage, run.call.step))
    return guided


def mixed(without: torch.Tensor, ours: torch.Tensor, share: float) -> torch.Tensor:
    return ours if share == 1.0 else torch.lerp(without, ours, share)


def add(tensor: torch.Tensor, terms: list[torch.Tensor]) -> torch.Tensor:
    for term in terms:
        tensor = tensor + term
    return tensor


def apply(run: Run, stage: stages.Stage | None, rule, moment: Moment) -> torch.Tensor:
    """The result of a stage's rule. A packed latent (a video and its sound) goes through the rule part by part."""
    if stage is not None:
        run.account.acted.add(stage)
        moment = moment.but(value=run.value(stage, run.call.step))
    parts = moment.parts(run.latent_shapes)
    results = [rule(part.but(memory=run.memory(stage, i, part.x.shape))) for i, part in enumerate(parts)]
    return results[0] if len(results) == 1 else comfy.utils.pack_latents(results)[0]
