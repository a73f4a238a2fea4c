"""CFG-Zero*: guidance against the part of the conditional velocity that the unconditional one explains.

Paper: Fan, Zheng, Yeh, Liu 2025, "CFG-Zero*: Improved Classifier-Free Guidance for Flow Matching Models", arXiv
2503.18886.
Formula: v = s v_u + w (v_c - s v_u),  s = <v_c, v_u>/||v_u||^2; with x - D = t v this is
         D = D_u + w (D_c - D_u) + (1 - w) (1 - s) (x - D_u)
Space: velocity of a flow; x - D in general, which for VE models is sigma eps. Shapes: cond, uncond and the noisy x (B,
C, *spatial), one s per sample. Units: scale is the host scale w, a float or a tensor of B values.
Identity: scale = 1 returns cond, bit for bit. scale = 0 is x - s (x - D_u), not uncond.
Departures: the paper adds 1e-8 to ||v_u||^2; here s is 1 where v_u = 0. Its zero-init, D = x for the first steps of a
run, is left to the caller. The host's node multiplies D_u by s, which differs by (w - 1) (1 - s) x.
"""

import torch
from torch import Tensor

from ..tensors.operands import operands
from ..tensors.reduce import by_piece, per_sample, products_along, share

__all__ = ["cfg_zero_star"]


@operands
def cfg_zero_star(cond: Tensor, uncond: Tensor, *, scale: float | Tensor, x: Tensor) -> Tensor:
    """D_u + w (D_c - D_u) + (1 - w) (1 - s) (x - D_u), in the dtype of `cond`."""
    square, along = products_along(uncond, x, cond)
    # 1 - s = <D_c - D_u, x - D_u>/||x - D_u||^2. Taken from s, which is near 1, it would lose digits where x is large.
    unexplained = share(along, square)
    return by_piece(_against_scaled, cond, uncond, x, per_sample(scale, cond), unexplained)


def _against_scaled(
    c: Tensor, u: Tensor, x: Tensor, w: float | Tensor, unexplained: Tensor, *, out: Tensor | None = None
) -> Tensor:
    # First the unconditional prediction whose velocity is s v_u, then CFG with it.
    return torch.lerp(u, x, unexplained, out=out).lerp_(c, w)
