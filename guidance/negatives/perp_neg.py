"""Perp-Neg: negatives that cannot take anything away from the positive.

Paper: Armandpour, Sadeghian, Zheng, Sadeghian, Zhou 2023, "Re-imagine the Negative Prompt Algorithm" (Perp-Neg), arXiv
2304.04968.
Formula: p = D_c - D_u, n_i = D_ni - D_u, perp(a) = a - (<a, p>/||p||^2) p
         D = D_u + w [p - sum_i w_i perp(n_i)]
Space: free. Shapes: cond, uncond and each negative (B, C, *spatial); inner products per sample.
Units: scale is the host scale w; w_i is relative to it. The host's node calls it neg_scale, with a default of 1.
Identity: no negatives, or all weights 0, is `cfg`; so is a negative parallel to the positive.
Departures: the host's node reduces over the batch and returns NaN where cond equals uncond; here each sample
has its own projection, and with p = 0 there is no direction to protect: perp(a) = a.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from ..cfg import cfg
from ..tensors.operands import operands
from ..tensors.reduce import add_, by_piece, per_sample, plus, products_along, share
from .compose import weighted

__all__ = ["perp_neg", "perp_terms"]


@operands
def perp_neg(
    cond: Tensor,
    uncond: Tensor,
    negatives: Sequence[Tensor],
    *,
    scale: float | Tensor,
    weights: Sequence[float | Tensor],
) -> Tensor:
    """D_u + w [p - sum_i w_i perp(n_i)], in the dtype of `cond`."""
    negatives, weights = _effective(negatives, weights, cond)
    if not negatives:
        return cfg(cond, uncond, scale=scale)
    w = per_sample(scale, cond)
    taken = [w * each for each in weights]
    reach = _reach(w, cond, uncond, negatives, taken)

    def guided(c: Tensor, u: Tensor, reach: Tensor, *rest: float | Tensor, out: Tensor | None = None) -> Tensor:
        return _less_negatives(torch.lerp(u, c, reach, out=out), u, *rest)

    return by_piece(guided, cond, uncond, reach, *negatives, *taken)


@operands
def perp_terms(
    cond: Tensor, uncond: Tensor, negatives: Sequence[Tensor], *, weights: Sequence[float | Tensor]
) -> Tensor:
    """- sum_i w_i perp(n_i) alone, without the factor w; zeros without negatives."""
    negatives, weights = _effective(negatives, weights, cond)
    if not negatives:
        return torch.zeros_like(cond)

    def terms(c: Tensor, u: Tensor, reach: Tensor, *rest: float | Tensor, out: Tensor | None = None) -> Tensor:
        return _less_negatives(torch.sub(c, u, out=out).mul_(reach), u, *rest)

    return by_piece(terms, cond, uncond, _reach(0.0, cond, uncond, negatives, weights), *negatives, *weights)


def _effective(negatives, weights, like: Tensor) -> tuple[list[Tensor], list[float | Tensor]]:
    """The negatives that have a weight, and their weights."""
    pairs = weighted(negatives, weights)
    return [n for n, _ in pairs], [per_sample(w, like) for _, w in pairs]


def _reach(
    scale: float | Tensor, cond: Tensor, uncond: Tensor, negatives: list[Tensor], weights: list[float | Tensor]
) -> Tensor:
    """w + sum_i w_i <n_i, p>/||p||^2, the scale of p that gives back the negatives' parts along it; w where p is 0."""
    square, *products = products_along(uncond, cond, *negatives)
    reach = scale if isinstance(scale, Tensor) else torch.full_like(square, scale)
    for product, w in zip(products, weights, strict=True):
        reach = plus(reach, share(product, square), w)
    return reach


def _less_negatives(start: Tensor, u: Tensor, *rest: float | Tensor) -> Tensor:
    """start - sum_i w_i (D_ni - D_u), written into `start`; `rest` is all negatives, followed by all weights."""
    count = len(rest) // 2
    for n, w in zip(rest[:count], rest[count:], strict=True):
        add_(start, n - u, -w)
    return start
