"""Condition-Annealed Diffusion Sampling (CADS): noise on the conditioning early in a run, for more variety.

Paper: Sadat, Buhmann, Bradley, Hilliges, Weber 2023, "CADS: Unleashing the Diversity of Diffusion Models through
Condition-Annealed Sampling", arXiv 2310.17347.
Formula: y' = sqrt(gamma) y + s sqrt(1 - gamma) n    y" = (y' - mean y') std y/std y' + mean y
         result = psi y" + (1 - psi) y'
    gamma = 1 for t <= tau1, (tau2 - t)/(tau2 - tau1) up to tau2, 0 above; t = 1 - progress
Space: the conditioning, not a prediction. Shapes: y, noise (B, ...), one mean and one deviation per sample.
Units: noise n is standard normal; s, a float or B values, is measured against embeddings whose deviation is about 1
(0.02 to 0.3 there); tau1, tau2 and psi in [0, 1].
Identity: gamma = 1 returns y itself. At gamma = 0 and psi = 1 the result is the same for every s above 0.
Departures: statistics are per sample. A constant y (a zeroed null embedding) has no deviation to restore, so the result
is y'.
"""

import math

import torch
from torch import Tensor

from ..tensors.operands import operands
from ..tensors.reduce import norm, per_sample, reduce_each, safe, wide

__all__ = ["cads", "cads_gamma"]


@operands
def cads(y: Tensor, noise: Tensor, *, gamma: float, scale: float | Tensor, psi: float = 1.0) -> Tensor:
    """The conditioning with its noise, in the dtype of `y`."""
    if gamma >= 1.0:
        return y
    out = wide(y) * math.sqrt(gamma) + wide(noise) * per_sample(scale, y) * math.sqrt(1.0 - gamma)
    if psi == 0.0:
        return out.to(y.dtype)
    mean, deviation = _statistics(wide(y))
    mean_now, deviation_now = _statistics(out)
    share = (deviation > 0.0).to(deviation.dtype) * psi
    ratio = deviation / safe(deviation_now)
    # The mean is taken out first: a ratio far from 1 would magnify its rounding.
    out.sub_(mean_now).mul_(1.0 + share * (ratio - 1.0)).add_(torch.lerp(mean_now, mean, share))
    return out.to(y.dtype)


def cads_gamma(progress: float, *, tau1: float = 0.6, tau2: float = 0.9) -> float:
    """gamma, how much of the conditioning a step keeps: 0 at first, 1 from progress 1 - tau1 on."""
    t = 1.0 - progress
    if t <= tau1:
        return 1.0
    return max(tau2 - t, 0.0) / (tau2 - tau1) if tau2 > tau1 else 0.0


def _statistics(t: Tensor) -> tuple[Tensor, Tensor]:
    """Mean per sample, and the deviation from it times the root of the number of values."""
    mean = reduce_each(torch.mean, t)
    return mean, norm(t - mean)
