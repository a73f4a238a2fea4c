"""What must be true of all that is said."""

from __future__ import annotations

import dataclasses
import re

from azimuth import guidance
from azimuth.nodes.engine import stages
from rows import NODES

from .asking import acts, alike, apart, ended
from .foreign import ASKS, WEIGHS
from .scene import Idle, Ours, Scene, Theirs, display_name, stage_of
from .trial import Trial


def nothing_is_said_that_did_not_happen(trial: Trial) -> str:
    """Where a node says that it has no effect, the latent is what it is without the node, but for rounding."""
    scene, seen = trial.scene, trial.run()
    if seen.error is not None:
        return ""
    for sentence in seen.sentences():
        named = re.match(r"(.+?) has no effect", sentence)
        if not named or re.search(PARTLY, sentence) or (scene.does(ASKS) and "not show its weight" in sentence):
            continue
        said_of = [i for i in scene.ours if scene.stack[i].node in named[1].split(", ")]
        without = ended(trial, without_effect_of(trial, said_of)) if said_of else []
        if without and not alike(seen.latent, without[0].latent):
            return f"{sentence!r} In truth {apart(seen.latent, without[0].latent)}."
    return ""


# Sentences about some of a run's steps, or of its calls.
PARTLY = "has no effect where (?!the guider)|(on|at) the steps|at weight 1 under|LoRA hooks|or a small one|or little"


def without_effect_of(trial: Trial, indices: list[int]) -> Scene:
    """The scene without the effect of some of our nodes. Beside any of ours, steps that the negative's time range does
    not reach are at weight 1; where nothing else of ours does that, one takes their place that does nothing else.
    """
    scene, without = trial.scene, trial.scene.without(*indices)
    mended, left = (any("time range" in s for s in trial.run(s).sentences()) for s in (scene, without))
    return scene.but(indices[0], Idle()).without(*indices[1:]) if mended and not left else without


def nothing_happens_that_is_not_said(trial: Trial) -> str:
    """A node of ours that is on changes the latent, or a sentence names it and says why not."""
    scene, seen = trial.scene, trial.run()
    for i in scene.ours:
        part = scene.stack[i]
        if part.off is not None or fades(scene, part):
            continue
        if not ended(trial, scene, scene.without(i)) or acts(trial, scene, i):
            continue
        names = (part.node, "Azimuth: another node sets the weight", "Azimuth: the negative's time range")
        said = any(name in s and re.search(WHY_NOT, s) for s in seen.sentences() for name in names)
        if not (said or is_off_at(part, scene, seen.scales) or is_hidden(trial, i) or is_left_nothing(trial, i)):
            return f"{part.node} [{part.name}] has no effect, and nothing is said; said: {seen.sentences()}"
    return ""


def fades(scene: Scene, part: Ours) -> bool:
    """Whether a rule with a weight of its own is there, which may go to 1 and leave nothing of other negatives."""
    others = [stage_of(scene.stack[i], scene) for i in scene.ours if scene.stack[i] is not part]
    return any(getattr(stage, "own_weight", "") for stage in others)


def is_off_at(part: Ours, scene: Scene, scales: list) -> bool:
    """Whether a node's own numbers switch it off at all these weights, as Skimmed CFG's s of w or more does."""
    if "t_min" in part.method.acting:  # between which and t_max may lie no step of a short run
        return True
    stage = stage_of(part, scene)
    constant = isinstance(stage, stages.Blended) and isinstance(stage.schedule, guidance.Constant)
    if not (constant and scales and all(isinstance(scale, int | float) for scale in scales)):
        return False
    return all(stage.off(scale, stage.schedule.weight(0.0, 1.0)) for scale in scales)


def is_hidden(trial: Trial, index: int) -> bool:
    """Whether nobody can tell: the guider hides its weight, which is 1; the steps of the node's window lie where nearly
    no noise is left, and in other ones it acts; or it is a limit that acts where it is lower.
    """
    scene, part = trial.scene, trial.scene.stack[index]
    if scene.guider == "unknown: no weight in its calls" and scene.cfg == 1.0:
        return True
    if scene.scheduler in STEEP and "start" in dict(part.changes):
        return acts(trial, dataclasses.replace(scene, scheduler="simple"), index)
    lower = dataclasses.replace(part, changes=tuple({**dict(part.changes), **LOWER.get(part.name, {})}.items()))
    return part.name in LOWER and acts(trial, scene.but(index, lower), index)


STEEP = ("karras", "exponential")
LOWER = {"norm_limit": {"limit": 0.5}, "norm_limit_pixel": {"limit": 0.5}, "pmc": {"gamma": 1.0}}


def is_left_nothing(trial: Trial, index: int) -> bool:
    """Whether a node acts without another one beside it that leaves it nothing to do, as both are meant."""
    scene = trial.scene
    others = [k for k in range(len(scene.stack)) if k != index and leaves_nothing(scene, k, index)]
    return any(acts(trial, *without(scene, k, index)) for k in others)


def without(scene: Scene, other: int, index: int) -> tuple[Scene, int]:
    """The scene without another node, and the place of this one in it."""
    left = scene.without(other)
    return left, left.stack.index(scene.stack[index])


def leaves_nothing(scene: Scene, other: int, index: int) -> bool:
    """Whether a node takes the guidance from settled samples, or the negative from steps in whose window alone the
    node at `index` acts; or both set the size of the result, so that the earlier one leaves nothing of itself.
    """
    part, one = scene.stack[other], scene.stack[index]
    if isinstance(part, Theirs):
        return part.name.startswith("calc_cond_batch function that makes no negative") and "start" in dict(one.changes)
    return isinstance(stage_of(part, scene), stages.Skip) or {part.name, one.name} <= SIZING


SIZING = {"energy", "energy_robust", "rescale", "rescale_eps"}

WHY_NOT = "effect|skipped 0 of|saves no pass|leaves no pass out|does little|replaces|\\(0 of|another node|time range"


def weights_are_as_logged(trial: Trial) -> str:
    """Where a node says which weights it sets, the post-CFG functions are told weights between these, or 1."""
    scene, seen = trial.scene, trial.run()
    if seen.error is not None or scene.does(WEIGHS, ASKS) or scene.guider.startswith(("Dual", "Perp")):
        return ""
    for sentence in seen.sentences():
        match = re.search(r"sets the weight to (\S+) to (\S+) over (\d+) steps", sentence)
        if match and not all(lies_between(scale, float(match[1]), float(match[2])) for scale in seen.scales):
            return f"{sentence!r} In truth {seen.scales}."
    return ""


def lies_between(scale, low: float, high: float) -> bool:
    if not isinstance(scale, int | float):
        return False
    return scale == 1.0 or low * (1 - 1e-4) <= scale <= high * (1 + 1e-4)


def non_finite_is_as_logged(trial: Trial) -> str:
    """That a prediction is not finite is said where one is, and only there."""
    seen = trial.run()
    if seen.error is not None:
        return ""
    said = any("NaN or infinity" in sentence for sentence in seen.sentences())
    return "NaN is said to be where none is" if said and all(seen.pairs) else ""


def sentences_are_whole(trial: Trial) -> str:
    """Every sentence is said once, ends as one, and begins with a node's name or the pack's."""
    seen = trial.run()
    sentences = seen.sentences()
    for sentence in sentences:
        if sentences.count(sentence) > 1:
            return f"said {sentences.count(sentence)} times: {sentence!r}"
        if not sentence.endswith(".") or "None" in sentence or "object at 0x" in sentence:
            return f"not a sentence for users: {sentence!r}"
        if not any(name in sentence for name in (*map(display_name, NODES.values()), "Azimuth")):
            return f"names no node: {sentence!r}"
    return ""
