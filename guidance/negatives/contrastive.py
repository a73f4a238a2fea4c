"""Contrastive CFG (CCFG): a prompt attracts more, and a negative repels less, the further off its prediction is.

Paper: Chang, Chung, Ye 2024, "Contrastive CFG: Improving CFG in Diffusion Models by Contrasting Positive and
Negative Concepts", arXiv 2411.17077.
Formula: D = D_u + p (D_c - D_u) - q (D_n - D_u),  p = 2 w s(tau ||eps_c - eps_u||^2),
         q = 2 w s(-tau ||eps_n - eps_u||^2),  s(z) = 1/(1 + exp(-z))
Space: the norms are of eps, the rest is free. Shapes: cond, uncond, negative (B, C, *spatial); norms per sample.
Units: scale is the host scale w; p lies in [w, 2 w), q in (0, w]. tau >= 0 multiplies a SUM over the latent, which
is tens to hundreds for 4 x 64 x 64 values. At the paper's tau of 0.2 that gives p = 2 w and q = 0; the negative then
acts at high noise alone, where the predictions differ least. sigma is the host's, a float or a tensor of B values.
Identity: tau = 0 is `compose` with the weight w, bit for bit; a negative equal to uncond has no term.
Departures: per_element is ours. It takes the MEAN of the squares, so that tau means the same at every size; 50 to 500
are useful then. Where predictions are equal their norm is 0 at sigma = 0 too.
"""

import torch
from torch import Tensor

from ..tensors.convert import noise_ratio
from ..tensors.operands import operands
from ..tensors.reduce import distances, per_sample, weighted_sum
from .compose import compose, negative_terms

__all__ = ["contrastive", "contrastive_terms"]


@operands
def contrastive(
    cond: Tensor,
    uncond: Tensor,
    negative: Tensor,
    *,
    scale: float | Tensor,
    sigma: float | Tensor,
    kind: str,
    tau: float = 0.2,
    per_element: bool = False,
) -> Tensor:
    """D_u + p (D_c - D_u) - q (D_n - D_u), in the dtype of `cond`."""
    if tau == 0.0:
        return compose(cond, uncond, [negative], scale=scale, weights=[scale])
    p, q = _weights(cond, uncond, negative, scale, sigma, kind, tau, per_element)
    return weighted_sum((p, cond), (1.0 - p + q, uncond), (-q, negative))


@operands
def contrastive_terms(
    cond: Tensor,
    uncond: Tensor,
    negative: Tensor,
    *,
    scale: float | Tensor,
    sigma: float | Tensor,
    kind: str,
    tau: float = 0.2,
    per_element: bool = False,
) -> Tensor:
    """(p - w) (D_c - D_u) - q (D_n - D_u): what `contrastive` adds to plain CFG."""
    if tau == 0.0:
        return negative_terms(uncond, [negative], weights=[scale])
    p, q = _weights(cond, uncond, negative, scale, sigma, kind, tau, per_element)
    more = p - per_sample(scale, cond)
    return weighted_sum((more, cond), (q - more, uncond), (-q, negative))


def _weights(c, u, n, scale, sigma, kind: str, tau: float, per_element: bool) -> tuple[Tensor, Tensor]:
    """p and q, each (B, 1, ..., 1)."""
    ratio = noise_ratio(per_sample(sigma, c), kind=kind)
    count = c[0].numel() if per_element else 1
    twice = 2.0 * per_sample(scale, c)

    def strength(length: Tensor) -> Tensor:
        square = length.square()
        return torch.where(square > 0.0, tau / count * square / ratio**2, 0.0)

    positive, negative = map(strength, distances(u, c, n))
    return twice * torch.sigmoid(positive), twice * torch.sigmoid(-negative)
