"""Uncond reuse: a negative prediction made from this step's positive one and the difference at an earlier step.

Paper: Lv, Si, Song, Yang, Qiao, Liu, Wong 2024, "FasterCache: Training-Free Video Diffusion Model Acceleration with
High Quality", arXiv 2410.19355, its CFG-Cache without the split by frequency and the growing factors.
Formula: D_u = D_c - (r(sigma)/r(sigma_last)) Delta_last, Delta_last = D_c - D_u of the earlier step. The ratio holds
the difference of the two predictions constant in one space (`frozen`), with r = |r|/q of `Parametrisation`:
    x0         1
    eps        sigma (VE), t/(1 - t) (flow)
    velocity   sigma/sqrt(sigma^2 + d^2) (VE; d = data_sigma), t (flow)
Space: x0, which is where the result is wanted; r converts the difference. Shapes: cond, difference (B, C, *spatial).
Units: sigma and sigma_last are those of `kind`, floats or B values; data_sigma is the deviation of the data that an EDM
model is made for.
Identity: at sigma = sigma_last it is cond - difference; with x0 held it is that at every sigma.
Departures: the ratio is 1 where r is 0 or infinite at either level. That is so at sigma 0, and for eps at t = 1, where
the noise is x whatever the prompt; the formula would give no guidance there, or 0/0. The velocity of a VE model is the
v-prediction, in EDM's form where data_sigma is not 1.
"""

import torch
from torch import Tensor

from ..tensors.operands import operands
from ..tensors.parametrisation import Parametrisation
from ..tensors.reduce import per_sample, safe, wide

__all__ = ["uncond_reuse"]


@operands
def uncond_reuse(
    cond: Tensor,
    difference: Tensor,
    *,
    sigma: float | Tensor,
    sigma_last: float | Tensor,
    kind: str,
    frozen: str = "velocity",
    data_sigma: float = 1.0,
) -> Tensor:
    """D_u of this step, in the dtype of `cond`; `frozen` is "velocity", "eps" or "x0"."""
    of = Parametrisation(kind, "v" if (frozen, kind) == ("velocity", "ve") else frozen, data_sigma)
    _, bottom, top = of.coefficients(per_sample(sigma, cond))
    _, bottom_last, top_last = of.coefficients(per_sample(sigma_last, cond))
    factor = _quotient(top * bottom_last, bottom * top_last)
    cond_wide, difference_wide = wide(cond), wide(difference)
    if isinstance(factor, Tensor):
        return torch.addcmul(cond_wide, difference_wide, factor, value=-1.0).to(cond.dtype)
    return torch.sub(cond_wide, difference_wide, alpha=factor).to(cond.dtype)


def _quotient(a: float | Tensor, b: float | Tensor) -> float | Tensor:
    """a/b, and 1 where either is zero."""
    known = (a > 0.0) & (b > 0.0)
    if isinstance(known, Tensor):
        return torch.where(known, a / safe(b), 1.0)
    return a / b if known else 1.0
