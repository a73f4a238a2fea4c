"""What must be true of the result, and of all that is there afterwards, whatever is wired."""

from __future__ import annotations

import dataclasses
import random

import torch
from rows import NODES

from .asking import NUDGE, ROUNDING, apart, ended, fails_alone
from .foreign import ASKS, COUPLES, WATCHES
from .samplers import OWN, PEEKING, STEADY
from .scene import Ours, Scene, display_name, rewired, ways_off
from .trial import Seen, Trial, equal


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
    if near(together, alone):
        return ""
    bare = ended(trial, scene.bare(), scene.bare().alone(sample))
    if not bare or not near(bare[0].latent[sample], bare[1].latent[0]):
        return ""  # nor is it without us
    nudged = trial.run(dataclasses.replace(scene.alone(sample), nudge=NUDGE))
    if nudged.error is None and not near(nudged.latent[0], alone, 0.1 * ROUNDING):
        return ""  # which a rounding of the noise alone would do
    return f"sample {sample} of 3: {apart(together, alone)}"


def near(a: torch.Tensor, b: torch.Tensor, share: float = ROUNDING) -> bool:
    return bool((a - b).abs().max() <= share * b.abs().max())


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
