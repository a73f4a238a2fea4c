"""What must be true of the nodes of others, and of the passes that the network makes."""

from __future__ import annotations

import dataclasses
import math
import re

import torch

from .asking import alike, apart, ended
from .foreign import CACHES, MAY, WATCHES
from .scene import Scene
from .trial import Seen, Trial, equal


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
        if {CACHES, MAY} & scene.stack[i].foreign.does:
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
        if not found or equal(found[0].latent, found[1].latent):
            continue
        part = re.search(r" at (\d+) of \d+ steps\.$", named[0])
        if not part or is_left_out(trial, i) < int(part[1]):
            return f"{named[0]} In truth {apart(found[0].latent, found[1].latent)} without it."
    return ""


def is_left_out(trial: Trial, index: int) -> int | float:
    """At how many steps the latent is what it is without a node's cfg function there; inf if steps are not calls."""
    scene, seen = trial.scene, trial.run()
    if len(seen.scales) != scene.steps:
        return math.inf
    rests = [scene.but(index, dataclasses.replace(scene.stack[index], rests=step)) for step in range(scene.steps)]
    return sum(equal(seen.latent, found.latent) for found in map(trial.run, rests) if found.error is None)


def caches_move_no_further(trial: Trial) -> str:
    """EasyCache moves the latent about as far as it does without us, or a sentence says why not."""
    scene, seen = trial.scene, trial.run()
    for place, i in enumerate(scene.theirs):
        if scene.stack[i].name != "EasyCache" or any("ache" in sentence for sentence in seen.sentences()):
            continue
        found = ended(trial, scene, scene.without(i), scene.bare(), scene.bare().without(place))
        if not found:
            continue
        ours, theirs = ((a.latent - b.latent).abs().max() / b.latent.std() for a, b in (found[:2], found[2:]))
        if theirs > SERVED and ours > CACHED * theirs:
            return f"{scene.stack[i].name} moves the latent by {ours:.2g} of its spread, and without us by {theirs:.2g}"
    return ""


CACHED, SERVED = 3.0, 0.1  # without us it has served something if it moves the latent by so much of its spread


def caches_repeat_steps_and_no_more(trial: Trial) -> str:
    """LazyCache gives what a sampler gives that repeats the same steps, where it does so without us."""
    scene, seen = trial.scene, trial.run()
    for place, i in enumerate(scene.theirs):
        if scene.stack[i].name != "LazyCache" or any("ache" in sentence for sentence in seen.sentences()):
            continue
        theirs = repeated(trial, scene.bare(), place)
        ours = repeated(trial, scene, i) if theirs and alike(*theirs) else []
        if ours and not alike(*ours):
            return f"beside LazyCache, held to a sampler that repeats the same calls: {apart(*ours)}"
    return ""


def repeated(trial: Trial, scene: Scene, index: int) -> list[torch.Tensor]:
    """The latent beside LazyCache and that of a sampler that repeats the same calls; none if none was repeated."""
    found = ended(trial, scene)
    calls = tuple(k for k, by_itself in enumerate(found[0].ledgers[index]["answered"]) if by_itself) if found else ()
    found += ended(trial, dataclasses.replace(scene.without(index), repeats=calls)) if calls else []
    return [seen.latent for seen in found] if len(found) == 2 else []


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
            if not int(match[1]) - left_out_anyway(trial.run(scene.bare())) <= saved <= int(match[1]):
                return f"{sentence} In truth {saved}."
    return ""


def left_out_anyway(bare: Seen) -> int:
    """At how many levels of a run without us nothing but the positive is told, which nobody knows who leaves it out."""
    sigmas = {sigma for sigma, _ in bare.passes}
    return len(sigmas - {sigma for sigma, texts in bare.passes if any(text != 1 for text in texts)})


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
