"""Norm-capped guidance (PMC-CFG): as much of the weight as keeps the norm near that of the positive prediction.

Paper: Peng, Ma 2026, "Classifier-Free Guidance in Flow Matching: Non-Autonomous Potentials, Overshoot, and
Posterior-Mean Control" (PMC-CFG), arXiv 2609.24287. There is no code, and two readers give the same formula.
Formula: D = D_c + beta Delta with Delta = D_c - D_u and the largest beta <= w - 1 for which
||D_c + beta Delta|| <= gamma ||D_c||. With k the cosine between D_c and Delta and r = sqrt(k^2 + gamma^2 - 1) that is
    beta = min(w - 1, (r - k) ||D_c||/||Delta||)        r - k = (gamma^2 - 1)/(k + r) where k > 0
Space: x0; the beta found there serves in every space. Shapes: cond, uncond (B, C, *spatial), one beta per sample.
Units: scale is the host scale w; gamma >= 1 is a ratio of norms (1.05 to 1.15); floor in [0, 1] is the least share
of w - 1 that is kept.
Identity: up to a scale of 1, and with floor = 1, it is `cfg`, bit for bit; a large gamma is `cfg` too.
Departures: floor is ours; above 0 the norm may pass the cap. Where D_c equals D_u the result is D_c.
"""

import torch
from torch import Tensor

from ..cfg import cfg
from ..tensors.operands import operands
from ..tensors.reduce import per_sample, products_with_difference, safe, wide

__all__ = ["pmc"]


@operands
def pmc(cond: Tensor, uncond: Tensor, *, scale: float | Tensor, gamma: float = 1.05, floor: float = 0.0) -> Tensor:
    """D_c + beta (D_c - D_u), in the dtype of `cond`.

    Raises ValueError for a gamma below 1 and a floor outside [0, 1].
    """
    if gamma < 1.0 or not 0.0 <= floor <= 1.0:
        raise ValueError(f"gamma must be at least 1 and floor between 0 and 1, got {gamma} and {floor}.")
    w = per_sample(scale, cond)
    if floor == 1.0 or isinstance(w, float) and w <= 1.0:
        return cfg(cond, uncond, scale=w)
    c, u = wide(cond), wide(uncond)
    extra = w - 1.0
    # Where w is below 1 the lower bound is above the upper one; clamp then returns the upper one, which is plain CFG.
    beta = _largest(c, u, gamma).clamp(floor * extra, extra)
    return torch.lerp(u, c, 1.0 + beta).to(cond.dtype)


def _largest(c: Tensor, u: Tensor, gamma: float) -> Tensor:
    """The beta at which ||D_c + beta Delta|| = gamma ||D_c||; inf if Delta is 0."""
    cc, cu, dd = products_with_difference(u, c)
    length, step = cc.sqrt(), dd.sqrt()
    k = -cu / safe(length) / safe(step)
    spare = gamma * gamma - 1.0
    r = (k.square() + spare).sqrt()
    beta = torch.where(k > 0, spare / safe(k + r), r - k) * length / safe(step)
    return torch.where(dd > torch.finfo(dd.dtype).tiny, beta, torch.inf)
