"""Effective scale: the CFG scale that would push as far along D_c - D_u as a result does.

Paper: Xie, Shao, Bai, Zhou, Cheng, Yang, Wu, Xie 2026, "Guidance Matters: Rethinking the Evaluation Pitfall for
Text-to-Image Generation" (GA-Eval), arXiv 2602.22570, its matching criterion. Methods are compared at equal effective
scale.
Formula: <D - D_u, D_c - D_u> / ||D_c - D_u||^2
Space: free for results of space-free rules; for others it is meant in x0. Shapes: all (B, C, *spatial) ->
(B,).
Units: host scale w; for `cfg` it is w itself, for cond 1, for uncond 0.
Identity: none, it is a measurement. Departures: 1 where cond equals uncond, where every scale would fit.
"""

import torch
from torch import Tensor

from .operands import operands
from .reduce import products_along, share

__all__ = ["effective_scale"]


@operands(dtype_of="wide")
def effective_scale(guided: Tensor, cond: Tensor, uncond: Tensor) -> Tensor:
    """<D - D_u, Delta>/||Delta||^2 per sample, shape (B,), in float32 or better."""
    square, product = products_along(uncond, cond, guided)
    along = share(product, square)
    return torch.where(square > torch.finfo(square.dtype).tiny, along, 1.0).flatten()
