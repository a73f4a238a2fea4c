"""Norm limits: the guided prediction at most as long as the conditional one, or a multiple of it.

Paper: Qin et al. 2025, "Lumina-Image 2.0: A Unified and Efficient Image Generative Framework" (CFG-Renormalization),
arXiv 2503.21758, scope "sample". Scope "pixel" has no paper; the host has it as CFGNorm.
Formula: D = G min(1, k ||D_c||/||G||)
Space: x0. Shapes: guided, cond (B, C, *spatial); the norms run over a whole sample, or over the channels of each pixel.
Units: limit is k, a ratio; a float or B values.
Identity: what is within its limit is returned bit for bit, so a large k changes nothing; with k = 1, D_c stays D_c.
Departures: Lumina's own code takes both norms of the velocity; this function, as the host's nodes, takes them of x0.
Every sample has its own limit; the host's RenormCFG fails for a batch. The host's CFGNorm also shrinks what is within
its limit, by 1e-8/||G||.
"""

import torch
from torch import Tensor

from ..tensors.operands import operands
from ..tensors.reduce import norm, per_sample, safe, wide

__all__ = ["norm_limit"]


@operands
def norm_limit(guided: Tensor, cond: Tensor, *, limit: float | Tensor = 1.0, scope: str = "sample") -> Tensor:
    """G min(1, k ||D_c||/||G||), in the dtype of `guided`. `scope` is "sample" or "pixel"."""
    length = _LENGTHS[scope]
    actual, most = length(guided), length(cond) * per_sample(limit, cond)
    factor = torch.where(actual <= most, 1.0, most / safe(actual))
    return (wide(guided) * factor).to(guided.dtype)


def _pixel_norm(t: Tensor) -> Tensor:
    """||t||_2 over the channels of each pixel, (B, 1, *spatial)."""
    # Channel by channel: a reduction over several samples at once may round differently than one over a single sample.
    first, *others = t.split(1, dim=1)
    square = wide(first).square()
    for channel in map(wide, others):
        square.addcmul_(channel, channel)
    return square.sqrt_()


_LENGTHS = {"sample": norm, "pixel": _pixel_norm}
