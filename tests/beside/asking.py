"""How truths ask a trial, and how two latents are compared."""

from __future__ import annotations

import torch

from .scene import Scene
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


def acts(trial: Trial, scene: Scene, index: int) -> bool:
    """Whether a node changes the latent of a scene."""
    found = ended(trial, scene, scene.without(index))
    return bool(found) and not alike(found[0].latent, found[1].latent)


def apart(a: torch.Tensor, b: torch.Tensor) -> str:
    if a.shape != b.shape:
        return f"{tuple(a.shape)} in place of {tuple(b.shape)}"
    return f"{((a - b).abs().max() / b.abs().max()).item():.2g} of the largest value apart"
