"""Perp-Neg: negatives that cannot take anything away from the positive.

Paper: Armandpour, Sadeghian, Zheng, Sadeghian, Zhou 2023, "Re-imagine the Negative Prompt Algorithm",
arXiv 2304.04968.
Formula: p = D_c - D_u, n_i = D_ni - D_u, perp(a) = a - (<a, p>/||p||^2) p
         D = D_u + w [p - sum_i w_i perp(n_i)]
Space: free. Shapes: cond, uncond and each negative (B, C, *spatial); inner products per sample.
Units: scale is the host scale w; w_i is relative to it (the host's node calls it neg_scale; there it is 1).
Identity: no negatives, or all weights 0, is `cfg`; so is a negative parallel to the positive.
Departures: the host's node reduces over the batch and returns NaN where cond equals uncond; here each sample
has its own projection, and with p = 0 there is no direction to protect: perp(a) = a.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from .cfg import cfg
from .compose import total, weighted
from .reduce import dot, per_sample, safe, wide


def perp_neg(
    cond: Tensor,
    uncond: Tensor,
    negatives: Sequence[Tensor],
    *,
    scale: float | Tensor,
    weights: Sequence[float | Tensor],
) -> Tensor:
    """D_u + w [p - sum_i w_i perp(n_i)], in the dtype of `cond`."""
    c, u = wide(cond), wide(uncond)
    pull = perp_terms(c, u, negatives, weights=weights).mul_(per_sample(scale, c))
    return pull.add_(cfg(c, u, scale=scale)).to(cond.dtype)


def perp_terms(
    cond: Tensor, uncond: Tensor, negatives: Sequence[Tensor], *, weights: Sequence[float | Tensor]
) -> Tensor:
    """- sum_i w_i perp(n_i) alone, without the factor w; zeros without negatives."""
    c, u = wide(cond), wide(uncond)
    pairs = weighted(negatives, weights)
    if not pairs:
        return torch.zeros_like(c).to(cond.dtype)
    pull = total(((wide(n) - u).mul_(-per_sample(w, u)) for n, w in pairs), like=u)
    positive = c - u
    square = dot(positive, positive)
    defined = square > torch.finfo(square.dtype).tiny
    # The sum of the negatives has the sum of their parallel parts.
    along = torch.where(defined, dot(pull, positive) / safe(square), 0.0)
    return pull.sub_(positive.mul_(along)).to(cond.dtype)
