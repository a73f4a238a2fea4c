"""Ratio-aware guidance (RAAG, later MAMBO-G): a weight that is damped where the update is large beside the prediction.

Paper: Zhu, Peng, Shu et al. 2025, "RAAG: Ratio Aware Adaptive Guidance" (later "MAMBO-G: Magnitude-Aware Mitigation for
Boosted Guidance"), arXiv 2508.03442.
Formula: rho = ||v_c - v_u||/||v_u|| = ||D_c - D_u||/||x - D_u||        w = 1 + (w_max - 1) exp(-alpha rho)
Space: the velocity of a flow model. The same ratio of eps for VE models, where it is tiny and the weight stays
close to w_max. Shapes: cond, uncond, x (B, C, *spatial) -> (B,), a scale for `cfg`.
Units: scale is the host scale w_max (18 in RAAG, 10 in MAMBO-G), a float or B values; alpha at least 0 (12, 8).
Identity: alpha = 0 is w_max; w_max = 1 is 1, the conditional prediction.
Departures: where a norm is zero, the limit of the formula: w_max for D_c = D_u, else 1 for x = D_u.
"""

import torch
from torch import Tensor

from ..tensors.operands import operands
from ..tensors.reduce import distances, per_sample

__all__ = ["ratio_aware_scale"]


@operands(dtype_of="wide")
def ratio_aware_scale(cond: Tensor, uncond: Tensor, *, x: Tensor, scale: float | Tensor, alpha: float) -> Tensor:
    """1 + (w_max - 1) exp(-alpha rho) per sample, shape (B,), in float32 or better."""
    difference, length = distances(uncond, cond, x)
    limits = torch.finfo(length.dtype)
    rho = (difference / length.clamp(min=limits.tiny)).clamp(max=limits.max)
    w_max = per_sample(scale, cond)
    return (1.0 + (w_max - 1.0) * torch.exp(-alpha * rho)).flatten()
