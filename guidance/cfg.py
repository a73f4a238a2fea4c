"""Classifier-free guidance.

Paper: Ho, Salimans 2022, "Classifier-Free Diffusion Guidance", arXiv 2207.12598, equation 6.
Formula: D = D_u + w (D_c - D_u)
Space: free; the same w gives the same result in x0, eps, v and flow velocity.
Shapes: cond, uncond (B, C, *spatial).
Units: scale is the HOST scale w: 0 unconditional, 1 conditional, above 1 guided; a float or B values.
Identity: scale = 1 returns cond and scale = 0 returns uncond, bit for bit (a zero may change its sign).
Departures: the paper writes eps_c + W (eps_c - eps_u), so w = 1 + W. `uncond + (cond - uncond) * 1` is not an
identity in floating point; `torch.lerp` is.
"""

import torch
from torch import Tensor

from .tensors.operands import operands
from .tensors.reduce import per_sample, wide

__all__ = ["cfg"]


@operands
def cfg(cond: Tensor, uncond: Tensor, *, scale: float | Tensor) -> Tensor:
    """D_u + w (D_c - D_u), in the dtype of `cond`."""
    w = per_sample(scale, cond)
    if isinstance(w, float):
        return torch.lerp(uncond, cond, w)
    return torch.lerp(wide(uncond), wide(cond), w).to(cond.dtype)
