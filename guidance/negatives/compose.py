"""Composed (three-term) guidance with further negatives.

Paper: Liu, Li, Du, Torralba, Tenenbaum 2022, "Compositional Visual Generation with Composable Diffusion Models", arXiv
2206.01714.
Paper: Chang, Kim, Choi 2025, "Dynamic VLM-Guided Negative Prompting for Diffusion Models", arXiv 2510.26052, signed
guidance.
Formula: D = D_u + w (D_c - D_u) - sum_i w_i (D_ni - D_u)
         its NOT is w_i = w, which for one negative is D_u + w (D_c - D_n)
Space: free. Shapes: cond, uncond and each negative (B, C, *spatial).
Units: scale is the host scale w; each weight is on that scale too, so w_i = w - 1 pushes away from a negative
as hard as using it in place of the empty prompt does. All floats or tensors of B values. Signed guidance
(which has the negative rewritten during the run) is the same at w_i = 20; hand-written negatives want 1 to 5.
Identity: no negatives, or all weights 0, is `cfg`; a negative equal to uncond changes nothing.
Departures: the strength of a composed negative does not depend on w, whereas a negative in the place of uncond has the
strength w - 1. NOT has the strength w, so at w = 1 it is not cond.
"""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from ..cfg import cfg
from ..tensors.operands import operands
from ..tensors.reduce import per_sample, wide

__all__ = ["compose", "negative_terms"]


@operands
def compose(
    cond: Tensor,
    uncond: Tensor,
    negatives: Sequence[Tensor],
    *,
    scale: float | Tensor,
    weights: Sequence[float | Tensor],
) -> Tensor:
    """D_u + w (D_c - D_u) - sum_i w_i (D_ni - D_u), in the dtype of `cond`."""
    guided = cfg(wide(cond), wide(uncond), scale=scale)
    return guided.add_(negative_terms(wide(uncond), negatives, weights=weights)).to(cond.dtype)


@operands
def negative_terms(uncond: Tensor, negatives: Sequence[Tensor], *, weights: Sequence[float | Tensor]) -> Tensor:
    """- sum_i w_i (D_ni - D_u) alone, to be added to the result of any rule; zeros without negatives."""
    u = wide(uncond)
    terms = ((wide(n) - u).mul_(-per_sample(w, u)) for n, w in weighted(negatives, weights))
    return total(terms, like=u).to(uncond.dtype)


def total(terms: Iterator[Tensor], like: Tensor) -> Tensor:
    """The sum of the terms, or zeros without any. The first term may be overwritten."""
    result = next(terms, None)
    if result is None:
        return torch.zeros_like(like)
    for term in terms:
        result += term
    return result


def weighted(negatives: Sequence[Tensor], weights: Sequence[float | Tensor]) -> list[tuple[Tensor, float | Tensor]]:
    """(negative, weight) for each negative, without those whose weight is the number 0.

    Raises ValueError if there are not as many weights as negatives.
    """
    if len(negatives) != len(weights):
        raise ValueError(f"expected one weight per negative, got {len(weights)} for {len(negatives)}.")
    pairs = zip(negatives, weights, strict=True)
    return [(n, w) for n, w in pairs if isinstance(w, Tensor) or w != 0]
