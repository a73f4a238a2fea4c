"""What must be true whatever is wired. Each function takes a trial and returns a complaint, or "" where all is well."""

from __future__ import annotations

import dataclasses
import random
import re

import torch
from azimuth import guidance
from azimuth.nodes.engine import stages
from rows import NODES

from .foreign import ASKS, CACHES, COUPLES, WATCHES, WEIGHS
from .samplers import OWN, PEEKING, STEADY
from .scene import Ours, Scene, display_name, rewired, ways_off
from .trial import Seen, Trial, equal

# As far as the host's own rounding goes, which a large weight amplifies; relative to the largest value.
ROUNDING = 1e-3

# A rounding of the noise; and what it may make of a latent, so that who says "no effect" is right.
NUDGE, NOTHING = 1e-6, 1e-5


def fails_alone(trial: Trial, scene: Scene) -> bool:
    """Whether a scene without us raises or is not finite, so that nothing can be asked of one with us."""
    seen = trial.run(scene)
    return seen.error is not None or not torch.isfinite(seen.latent).all()


def ended(trial: Trial, *scenes: Scene) -> list[Seen]:
    """What was seen of scenes, if all of them gave a latent; no other truth is asked of what failed."""
    found = [trial.run(scene) for scene in scenes]
    return found if all(seen.error is None for seen in found) else []


def alike(a: torch.Tensor, b: torch.Tensor) -> bool:
    return equal(a, b) or (a.shape == b.shape and bool((a - b).abs().max() <= NOTHING * b.abs().max()))


def apart(a: torch.Tensor, b: torch.Tensor) -> str:
    if a.shape != b.shape:
        return f"{tuple(a.shape)} in place of {tuple(b.shape)}"
    return f"{((a - b).abs().max() / b.abs().max()).item():.2g} of the largest value apart"


# ---- the result


def it_ends_and_is_finite(trial: Trial) -> str:
    """A run ends with a finite latent, or a node of ours refuses in a sentence that begins with its name."""
    scene = trial.scene
    if fails_alone(trial, scene.bare()):
        usual = dataclasses.replace(scene.bare(), sampler="euler")
        if scene.sampler not in OWN or fails_alone(trial, usual):
            return ""
        return "" if refuses(trial.run(scene.bare())) else f"our sampler: {raised(trial.run(scene.bare()))}"
    seen = trial.run()
    if seen.error is not None:
        return "" if refuses(seen) else raised(seen)
    return "" if torch.isfinite(seen.latent).all() else "the latent is not finite"


def refuses(seen: Seen) -> bool:
    names = tuple(map(display_name, NODES.values()))
    return isinstance(seen.error, ValueError) and str(seen.error).startswith(names)


def raised(seen: Seen) -> str:
    return f"{type(seen.error).__name__}: {seen.error}" if seen.error else "the latent is not finite"


def a_second_run_is_as_the_first(trial: Trial) -> str:
    """No state outlives a run: the same guider samples the same once more."""
    if trial.run().error is not None:
        return ""
    if trial.run(again=True).again or trial.run(trial.scene.bare(), again=True).again is False:
        return ""
    return "the second run gave another latent, or failed"


def wiring_is_in_any_order(trial: Trial) -> str:
    """Our nodes of different kinds may be wired in any order among one another, bit for bit."""
    other = rewired(trial.scene)
    found = ended(trial, trial.scene, other)
    if not found or equal(found[0].latent, found[1].latent):
        return ""
    return f"wired in another order: {apart(found[1].latent, found[0].latent)}"


def all_off_is_nothing(trial: Trial) -> str:
    """With every node of ours off, the latent and the passes are those without us, and nothing is said."""
    scene = trial.scene
    offs = {i: ways_off(scene.stack[i], scene) for i in scene.ours}
    if not all(offs.values()):
        return ""
    off = scene
    for i, ways in offs.items():
        off = off.but(i, dataclasses.replace(scene.stack[i], off=chosen(scene, i, ways)))
    return same_as_without(trial, off, scene.bare())


def one_that_is_off_is_nothing(trial: Trial) -> str:
    """A node of ours that is off, beside others that act, changes neither the latent nor the passes."""
    scene = trial.scene
    found = {i: ways for i in scene.ours if (ways := ways_off(scene.stack[i], scene))}
    if not found or len(scene.ours) < 2:
        return ""
    i = random.Random(scene.seed).choice(list(found))
    off = dataclasses.replace(scene.stack[i], off=chosen(scene, i, found[i]))
    return same_as_without(trial, scene.but(i, off), scene.without(i))


def chosen(scene: Scene, index: int, ways: list) -> tuple:
    return random.Random(scene.seed + index).choice(ways)


def same_as_without(trial: Trial, off: Scene, without: Scene) -> str:
    if fails_alone(trial, without):
        return ""
    ours, theirs = trial.run(off), trial.run(without)
    names = " and ".join(f"{part.node} {dict(part.off)}" for part in off.stack if isinstance(part, Ours) and part.off)
    if ours.error is not None:
        return f"off ({names}): {type(ours.error).__name__}: {ours.error}"
    if not equal(ours.latent, theirs.latent):
        return f"off ({names}): {apart(ours.latent, theirs.latent)}"
    if counted(ours) != counted(theirs):
        return f"off ({names}): {sum(counted(ours))} rows of passes in place of {sum(counted(theirs))}"
    return ""


def counted(seen: Seen) -> list[int]:
    return [sum(texts.values()) for _, texts in seen.passes]


def samples_are_alone(trial: Trial) -> str:
    """A sample of a batch is what it is alone, as far as the host's rounding goes."""
    scene = dataclasses.replace(trial.scene, batch=3)
    if scene.sampler not in STEADY or scene.does(COUPLES) or scene.guider == "Perp-Neg Guider":
        return ""  # the host's Perp-Neg compares whole batches
    if scene.seed % 2:
        return ""  # to save time
    by_index = any(scene.stack[i].method.by_index for i in scene.ours)
    sample = 0 if by_index else scene.seed // 2 % 3
    found = ended(trial, scene, scene.alone(sample))
    if not found:
        return ""
    together, alone = found[0].latent[sample], found[1].latent[0]
    largest = alone.abs().max()
    if (together - alone).abs().max() <= ROUNDING * largest:
        return ""
    nudged = trial.run(dataclasses.replace(scene.alone(sample), nudge=NUDGE))
    if nudged.error is None and (nudged.latent[0] - alone).abs().max() > 0.1 * ROUNDING * largest:
        return ""  # which a rounding of the noise alone would do
    return f"sample {sample} of 3: {apart(together, alone)}"


def a_look_at_another_size_changes_nothing(trial: Trial) -> str:
    """A sampler that looks at half the size within a step gets what the same sampler gets that does not."""
    scene = trial.scene
    others = [scene.stack[i].foreign for i in scene.theirs]
    by_call = any(scene.stack[i].method.by_call for i in scene.ours)
    if scene.sampler != PEEKING or by_call or not all(WATCHES in foreign.does for foreign in others):
        return ""
    found = ended(trial, scene, dataclasses.replace(scene, sampler="euler"))
    if not found or equal(found[0].latent, found[1].latent):
        return ""
    return f"with a look at half the size: {apart(found[0].latent, found[1].latent)}"


# ---- the others


def foreign_state_is_intact(trial: Trial) -> str:
    """What nodes of others keep in the host's options is still there at their next call."""
    seen = trial.run()
    if seen.error is not None:
        return ""
    for i in trial.scene.theirs:
        part = trial.scene.stack[i]
        lost = part.foreign.intact(seen.ledgers[i])
        place = trial.scene.theirs.index(i)
        bare = trial.run(trial.scene.bare())
        if lost and bare.error is None and not part.foreign.intact(bare.ledgers[place]):
            return lost
    return ""


def others_are_called_as_often(trial: Trial) -> str:
    """Functions of others that are called once a prediction of the guider are called as often as without us."""
    scene = trial.scene
    found = ended(trial, scene, scene.bare())
    if not found or scene.guider == "Dual Model CFG Guider":
        return ""
    for place, i in enumerate(scene.theirs):
        calls = [found[0].ledgers[i].get("known"), found[1].ledgers[place].get("known")]
        if calls[0] != calls[1] and "MODEL wrapper" not in scene.stack[i].name:
            return f"{scene.stack[i].name}: called {calls[0]} times in place of {calls[1]}"
    return ""


def who_watches_changes_nothing(trial: Trial) -> str:
    """A node of others that only watches beside us leaves the latent as it is, bit for bit."""
    scene = trial.scene
    watchers = [i for i in scene.theirs if scene.stack[i].foreign.does == {WATCHES}]
    found = ended(trial, scene, scene.without(*watchers)) if watchers else []
    if not found or equal(found[0].latent, found[1].latent):
        return ""
    return f"without those who watch: {apart(found[0].latent, found[1].latent)}"


def no_node_of_others_is_silenced(trial: Trial) -> str:
    """A node of others that acts without us acts beside us too, or a sentence names what became of it."""
    scene, seen = trial.scene, trial.run()
    for place, i in enumerate(scene.theirs):
        if CACHES in scene.stack[i].foreign.does:
            continue
        found = ended(trial, scene, scene.without(i), scene.bare(), scene.bare().without(place))
        if found and equal(found[0].latent, found[1].latent) and not equal(found[2].latent, found[3].latent):
            if not any(re.search(FATE, sentence) for sentence in seen.sentences()):
                return f"{scene.stack[i].name} has no effect beside us, and nothing is said"
    return ""


FATE = "replaces|sets the weight|no effect|another node|time range"


def who_is_replaced_has_no_effect(trial: Trial) -> str:
    """Where a node says that it replaces a cfg function, the latent is what it is without that function."""
    scene, seen = trial.scene, trial.run()
    for i in scene.theirs:
        named = [s for s in seen.sentences() if re.search("replaces the cfg function", s)]
        theirs = scene.stack[i].name.startswith("cfg function") or scene.stack[i].name == "RescaleCFG"
        counts = all(isinstance(scale, int | float) and scale != 1.0 for scale in seen.scales)
        others = [scene.stack[k].foreign for k in scene.theirs if k != i]
        watched = all(WATCHES in foreign.does for foreign in others)  # another function may be replaced with it
        if not (theirs and named and counts and watched) or scene.negatives == "ends":
            continue
        rules = [scene.stack[k] for k in scene.ours if any(s.startswith(scene.stack[k].node) for s in named)]
        whole = all(dict(rule.changes).get("strength", rule.method.acting.get("strength")) == 1.0 for rule in rules)
        found = ended(trial, scene, scene.without(i)) if whole else []
        if found and not equal(found[0].latent, found[1].latent):
            return f"{named[0]} In truth {apart(found[0].latent, found[1].latent)} without it."
    return ""


def caches_move_no_further(trial: Trial) -> str:
    """A cache of the host moves the latent about as far as it does without us, or a sentence says why not."""
    scene, seen = trial.scene, trial.run()
    for place, i in enumerate(scene.theirs):
        if CACHES not in scene.stack[i].foreign.does or any("ache" in sentence for sentence in seen.sentences()):
            continue
        found = ended(trial, scene, scene.without(i), scene.bare(), scene.bare().without(place))
        if not found or found[0].latent.shape != found[2].latent.shape:
            continue
        ours, theirs = ((a.latent - b.latent).abs().max() / b.latent.std() for a, b in (found[:2], found[2:]))
        if ours > CACHED * max(theirs, 0.1):
            return f"{scene.stack[i].name} moves the latent by {ours:.2g} of its spread, and without us by {theirs:.2g}"
    return ""


CACHED = 5.0

# ---- the passes


def passes_are_as_logged(trial: Trial) -> str:
    """Where a node says how many negative passes it skipped, the network was called that much less."""
    scene, seen = trial.scene, trial.run()
    for i in scene.ours:
        for sentence in seen.sentences():
            match = re.fullmatch(
                rf"{re.escape(scene.stack[i].node)} skipped (\d+) of (\d+) negative passes\.", sentence
            )
            found = ended(trial, scene, scene.without(i)) if match else []
            if not found:
                continue
            saved = negatives(found[1], scene) - negatives(found[0], scene)
            if scene.stack[i].name == "adaptive":
                saved = with_negative(found[1]) - with_negative(found[0])
            if saved != int(match[1]):
                return f"{sentence} In truth {saved}."
    return ""


def negatives(seen: Seen, scene: Scene) -> int:
    """How many passes were made of any text but the positive's."""
    rows = sum(count for _, texts in seen.passes for text, count in texts.items() if text != 1)
    return rows // scene.batch


def with_negative(seen: Seen) -> int:
    """How many calls of the network were told any text but the positive's."""
    return sum(any(text != 1 for text in texts) for _, texts in seen.passes)


def a_negative_that_nobody_contrasts_is_not_paid_for(trial: Trial) -> str:
    """At a call in which the network is told no negative without us, it is told no further one with us."""
    scene = trial.scene
    found = ended(trial, scene, scene.bare())
    weighed = any(scene.stack[i].name in ("scheduled_cfg", "cfgpp", "distilled_pair") for i in scene.ours)
    if not found or weighed or scene.guider in ("Basic Guider", "Dual Model CFG Guider"):
        return ""
    alone = {sigma for sigma, texts in found[1].passes if any(text != 1 for text in texts)}
    paid = [s for s, texts in found[0].passes if s not in alone and any(text and text >= 10 for text in texts)]
    known = {sigma for sigma, _ in found[1].passes}
    nag = any(scene.stack[i].name == "nag" for i in scene.ours)
    paid = [sigma for sigma in paid if sigma in known and not nag]
    return f"a further negative was predicted in {len(paid)} calls that make no negative pass" if paid else ""


# ---- what is said


def nothing_is_said_that_did_not_happen(trial: Trial) -> str:
    """Where a node says that it has no effect, the latent is what it is without the node, but for rounding."""
    scene, seen = trial.scene, trial.run()
    if seen.error is not None:
        return ""
    for sentence in seen.sentences():
        named = re.match(r"(.+?) has no effect", sentence)
        if not named or re.search(PARTLY, sentence):
            continue
        said_of = [i for i in scene.ours if scene.stack[i].node in named[1].split(", ")]
        without = ended(trial, scene.without(*said_of))
        if said_of and without and not alike(seen.latent, without[0].latent):
            return f"{sentence!r} In truth {apart(seen.latent, without[0].latent)}."
    return ""


# Sentences about some of a run's steps.
PARTLY = "on the steps|at weight 1 under|LoRA hooks|or a small one|or little"


def nothing_happens_that_is_not_said(trial: Trial) -> str:
    """A node of ours that is on changes the latent, or a sentence names it and says why not."""
    scene, seen = trial.scene, trial.run()
    for i in scene.ours:
        part = scene.stack[i]
        found = ended(trial, scene, scene.without(i)) if part.off is None else []
        if not found or not alike(found[0].latent, found[1].latent):
            continue
        names = (part.node, "Azimuth: another node sets the weight", "Azimuth: the negative's time range")
        said = any(name in s and re.search(WHY_NOT, s) for s in seen.sentences() for name in names)
        if not (said or is_off_at(part, scene, seen.scales)):
            return f"{part.node} [{part.name}] has no effect, and nothing is said; said: {seen.sentences()}"
    return ""


def is_off_at(part: Ours, scene: Scene, scales: list) -> bool:
    """Whether a node's own numbers switch it off at all these weights, as its page says (Skimmed CFG: s = w or more)."""
    (stage,) = stages.of(part.on(scene.made_of.build(), scene.made_of, {}))
    constant = isinstance(stage, stages.Blended) and isinstance(stage.schedule, guidance.Constant)
    if not (constant and scales and all(isinstance(scale, int | float) for scale in scales)):
        return False
    return all(stage.off(scale, stage.schedule.weight(0.0, 1.0)) for scale in scales)


WHY_NOT = "no effect|skipped 0 of|saves no pass|leaves no pass out|has .*effect|does little|replaces|\\(0 of|another node|time range"


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


# ---- afterwards


def all_is_as_before(trial: Trial) -> str:
    """Guider, MODEL and inputs are afterwards what they were before."""
    seen, bare = trial.run(), trial.run(trial.scene.bare())
    new = [change for change in seen.changed if change not in bare.changed]
    return "; ".join(new[:5])


def random_numbers_are_the_hosts(trial: Trial) -> str:
    """We draw none of the random numbers that the host and others draw from."""
    scene = trial.scene
    found = ended(trial, scene, scene.bare())
    if not found or scene.does(ASKS, COUPLES) or torch.equal(found[0].generator, found[1].generator):
        return ""
    return "the host's random numbers are at another place than without us"


TRUTHS = (
    it_ends_and_is_finite,
    a_second_run_is_as_the_first,
    wiring_is_in_any_order,
    all_off_is_nothing,
    one_that_is_off_is_nothing,
    samples_are_alone,
    a_look_at_another_size_changes_nothing,
    foreign_state_is_intact,
    others_are_called_as_often,
    who_watches_changes_nothing,
    no_node_of_others_is_silenced,
    who_is_replaced_has_no_effect,
    caches_move_no_further,
    passes_are_as_logged,
    a_negative_that_nobody_contrasts_is_not_paid_for,
    nothing_is_said_that_did_not_happen,
    nothing_happens_that_is_not_said,
    weights_are_as_logged,
    non_finite_is_as_logged,
    sentences_are_whole,
    all_is_as_before,
    random_numbers_are_the_hosts,
)
