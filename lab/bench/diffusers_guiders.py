"""The guiders of `diffusers` as counterparts for bench.py: each a function of (cond, uncond, x), all denoised or noisy.

Those of velocities are given x - D, and their result is turned back: the host has no velocities, so this is part of
doing the same.
"""

import functools

import diffusers.guiders
from torch import Tensor


@functools.cache
def guider(name: str, **knobs) -> diffusers.guiders.BaseGuidance:
    """In the middle of a run."""
    made = getattr(diffusers.guiders, name)(**knobs)
    made.set_state(step=5, num_inference_steps=10, timestep=None)
    return made


def cfg(cond: Tensor, uncond: Tensor, x: Tensor) -> Tensor:
    return guider("ClassifierFreeGuidance", guidance_scale=7.0).forward(cond, uncond).pred


def apg(cond: Tensor, uncond: Tensor, x: Tensor) -> Tensor:
    made = guider(
        "AdaptiveProjectedGuidance",
        guidance_scale=7.0,
        eta=0.0,
        adaptive_projected_guidance_rescale=15.0,
        use_original_formulation=True,
    )
    return made.forward(cond, uncond).pred


def cfg_zero_star(cond: Tensor, uncond: Tensor, x: Tensor) -> Tensor:
    made = guider("ClassifierFreeZeroStarGuidance", guidance_scale=7.0)
    return x - made.forward(x - cond, x - uncond).pred


def tcfg(cond: Tensor, uncond: Tensor, x: Tensor) -> Tensor:
    made = guider("TangentialClassifierFreeGuidance", guidance_scale=7.0)
    return x - made.forward(x - cond, x - uncond).pred


def magnitude_aware(cond: Tensor, uncond: Tensor, x: Tensor) -> Tensor:
    """In three dimensions, for it fails with others."""
    made = guider("MagnitudeAwareGuidance", guidance_scale=18.0, alpha=12.0)
    velocities = ((x - t).flatten(2) for t in (cond, uncond))
    return x - made.forward(*velocities).pred.view_as(x)


def frequency_decoupled(cond: Tensor, uncond: Tensor, x: Tensor) -> Tensor:
    """Frame by frame, for it knows four dimensions alone."""
    made = guider("FrequencyDecoupledGuidance", guidance_scales=(7.0, 3.5))
    frames = (t.movedim(2, 1).flatten(0, 1) if t.ndim == 5 else t for t in (cond, uncond))
    pred = made.forward(*frames).pred
    return pred.unflatten(0, (cond.shape[0], -1)).movedim(1, 2) if cond.ndim == 5 else pred


def rescale(cond: Tensor, uncond: Tensor, x: Tensor) -> Tensor:
    made = guider("ClassifierFreeGuidance", guidance_scale=7.0, guidance_rescale=0.7)
    return made.forward(cond, uncond).pred
