"""Tangential Amplifying Guidance (TAG): the part of a step that does not point along x, amplified.

Paper: Cho, Ahn, Hong, Kim, Kim, Jin 2025, "TAG: Tangential Amplifying Guidance for Hallucination-Resistant Sampling",
arXiv 2510.04533. The paper splits the step of the sampler; this is the prediction that makes an Euler or DDIM step the
paper's.
Formula: D' = D + (eta - 1) (D - (<D, x>/||x||^2) x)
Space: x0; the same D' serves VE, VP and flow coordinates. Shapes: denoised, x (B, C, *spatial), products per sample.
Units: eta is a ratio, a float or B values: 1.15 SD1.5 and SD2.1, 1.20 SDXL, 1.05 SD3 in the paper's unconditional runs.
Identity: eta = 1 returns D bit for bit.
Departures: the paper splits a step, which is the same for Euler and DDIM only; with samplers that use several
predictions for a step ours is another form. Where x is zero all of D is tangential. The paper's second form, inside
CFG, is left out.
"""

from torch import Tensor

from ..tensors.operands import operands
from ..tensors.reduce import per_sample, products, share, weighted_sum

__all__ = ["tangential_amplify"]


@operands
def tangential_amplify(denoised: Tensor, *, x: Tensor, eta: float | Tensor) -> Tensor:
    """D with its part orthogonal to x times eta, in the dtype of `denoised`."""
    eta = per_sample(eta, denoised)
    square, along = products(x, denoised)
    return weighted_sum((eta, denoised), (share(along, square) * (1.0 - eta), x))
