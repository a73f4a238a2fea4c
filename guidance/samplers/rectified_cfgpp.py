"""Rectified-CFG++: every step follows the positive, corrected by guidance that is measured further along it.

Paper: Saini, Gupta, Bovik 2025, "Rectified-CFG++ for Flow Based Models", arXiv 2510.07631, Algorithm 1.
Formula, velocities v = (x - D)/t:
    t~ = t + f (t' - t),  x~ = x + (t~ - t) v_c(x)             predictor, f = 1/2
    v  = v_c(x) + alpha(t) [v_c(x~) - v_u(x~)],  x' = x + (t' - t) v
    alpha(t) = lam_max (1 - t)^gamma
In x0: D = D_c(x) + (t/t~) [D_w(x~) - D_c(x~)], with D_w = D_u + w (D_c - D_u) at the host scale w = 1 + alpha.
Space: velocity. Shapes: tensors (B, C, *spatial). Units: sigmas are floats, the host's own, of one run and so the
same for all samples; sigma_middle above 0; alpha is not a host scale but w - 1.
Identity: alpha = 0 is an Euler step of the positive alone. Without a predictor (t~ = t) it is plain CFG at w.
Departures: it is written with D_w, so that any rule of combination can make the guided prediction at x~ in place of
plain CFG. The paper is about flow models. Ours for VE models is the same with the noise (x - D)/sigma in place of the
velocity and t = sigma/(1 + sigma) in alpha. The authors' code goes the whole step (f = 1) at a constant alpha of 4.5,
adds a little noise to x~, and gives the network a time that is almost t.
"""

import torch
from torch import Tensor

from ..tensors.convert import noise_level
from ..tensors.operands import operands
from ..tensors.reduce import wide

__all__ = ["euler_step", "predictor_sigma", "rectified_alpha", "rectified_cfgpp"]


def rectified_alpha(sigma: float, *, lam_max: float, gamma: float, kind: str) -> float:
    """The weight alpha of the correction at a level; lam_max throughout for gamma 0."""
    return lam_max * max(0.0, 1.0 - noise_level(sigma, kind=kind)) ** gamma


def predictor_sigma(sigma: float, sigma_next: float, *, fraction: float = 0.5) -> float:
    """The level t~ at which the correction is measured."""
    return sigma + fraction * (sigma_next - sigma)


@operands
def euler_step(x: Tensor, denoised: Tensor, *, sigma: float, sigma_next: float) -> Tensor:
    """x + (s' - s)(x - D)/s: along the velocity (flow) or the noise (VE) that belongs to a prediction."""
    return torch.lerp(wide(denoised), wide(x), sigma_next / sigma).to(x.dtype)


@operands
def rectified_cfgpp(
    cond: Tensor, guided_middle: Tensor, cond_middle: Tensor, *, sigma: float, sigma_middle: float
) -> Tensor:
    """The prediction for an Euler step from `sigma`, in the dtype of `cond`.

    `cond` is the positive's at `sigma`; `guided_middle` and `cond_middle` are D_w and D_c at x~, whose level t~ is
    `sigma_middle`.
    """
    push = torch.sub(wide(guided_middle), cond_middle).mul_(sigma / sigma_middle)
    return push.add_(cond).to(cond.dtype)
