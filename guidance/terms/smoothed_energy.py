"""Smoothed energy guidance (SEG): the queries of a self-attention, blurred over the picture.

Paper: Hong 2024, "Smoothed Energy Guidance: Guiding Diffusion Models with Reduced Energy Curvature of Attention" (SEG),
arXiv 2408.00760. Its code is pipeline_seg.py.
Formula: Q' = G_sigma * Q, a Gaussian over height and width with ceil(6 sigma) taps, made odd, reflected at the
borders; for sigma > 9999 the mean of a frame's queries. Blurring the queries blurs the logits Q K^T over the queries.
Space: the model's hidden states. Shapes: queries (..., N, D), N = frames height width; frames are blurred one by one.
Units: sigma in tokens.
Identity: sigma = 0 is the queries, bit for bit.
Departures: there are at most as many taps as tokens along an axis, or one more if these are even in number. The code
uses the width for both axes; here height and width have taps of their own.
"""

import math

import torch
from torch import Tensor

from ..tensors.blur import blur_matrix
from ..tensors.operands import operands

__all__ = ["smooth_queries"]

MEAN_ABOVE = 9999.0


@operands
def smooth_queries(queries: Tensor, *, size: tuple[int, int, int], sigma: float) -> Tensor:
    """The blurred queries of a map of `size` (frames, height, width) tokens.

    Raises ValueError if `size` does not hold as many tokens as there are queries.
    """
    if math.prod(size) != queries.shape[-2]:
        raise ValueError(f"a map of {size} tokens does not have {queries.shape[-2]} queries.")
    if sigma == 0:
        return queries.clone()
    grid = queries.unflatten(-2, size)
    if sigma > MEAN_ABOVE:
        mean = grid.mean((-3, -2), keepdim=True, dtype=torch.promote_types(queries.dtype, torch.float32))
        return mean.to(queries.dtype).expand_as(grid).flatten(-4, -2)
    height, width = (blur_matrix(n, taps=_taps(sigma), sigma=sigma, like=queries) for n in size[1:])
    across = width @ grid
    return (height @ across.transpose(-3, -2)).transpose(-3, -2).flatten(-4, -2)


def _taps(sigma: float) -> int:
    taps = math.ceil(6 * sigma)
    return taps + 1 - taps % 2
