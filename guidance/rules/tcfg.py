"""Tangential damping (TCFG): the unconditional prediction without what it does not share with the conditional one.

Paper: Kwon, Kim, Jeong, Hsiao, Uh 2025, "TCFG: Tangential Damping Classifier-free Guidance", arXiv 2503.18137.
Formula: a_i = x - D_i; v the first right singular vector of the two rows a_u and a_c; a_u' = <a_u, v> v and D_u' = x -
a_u'. Guidance then takes D_u' for D_u. With the products uu, uc and cc of a_u and a_c this is
    a_u' = alpha a_u + beta a_c,  R = sqrt((uu - cc)^2 + 4 uc^2),  alpha = (1 + (uu - cc)/R)/2,  beta = uc/R
Space: score; x - D is proportional to it for VE models, and is the velocity times t for a flow, where the paper's code
and the host take the velocity too. Shapes: cond, uncond and the noisy x (B, C, *spatial), one pair of numbers per
sample. Units: those of the predictions.
Identity: uncond, up to rounding, where a_u is parallel to a_c. Uncond, bit for bit, where there is no first singular
vector, because a_u and a_c are orthogonal and of one length: R at most 1e-6 (uu + cc).
Departures: the products take the place of a singular value decomposition of the whole latents.
"""

import torch
from torch import Tensor

from ..tensors.operands import operands
from ..tensors.reduce import by_piece, products_from

__all__ = ["tcfg"]


@operands(dtype_of="uncond")
def tcfg(cond: Tensor, uncond: Tensor, *, x: Tensor) -> Tensor:
    """D_u', in the dtype of `uncond`."""
    uu, uc, cc = products_from(x, uncond, cond)
    gap = torch.hypot(uu - cc, 2.0 * uc)
    defined = gap > 1e-6 * (uu + cc)
    gap = torch.where(defined, gap, 1.0)
    alpha = torch.where(defined, 0.5 + 0.5 * (uu - cc) / gap, 1.0)
    beta = torch.where(defined, uc / gap, 0.0)
    # D_u' = alpha D_u + beta D_c + (1 - alpha - beta) x, and beta is at most 1/2.
    return by_piece(_mixed, uncond, cond, x, 1.0 - alpha / (1.0 - beta), beta)


def _mixed(u: Tensor, c: Tensor, x: Tensor, of_x: Tensor, of_c: Tensor, *, out: Tensor | None = None) -> Tensor:
    return torch.lerp(u, x, of_x, out=out).lerp_(c, of_c)
