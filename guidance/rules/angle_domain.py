"""Angle Domain Guidance (ADG), and an exact rotation of our own beside it.

Paper: Jin, Xiao, Liu, Gu 2025, "Angle Domain Guidance: Latent Diffusion Requires Rotation Rather Than Extrapolation",
arXiv 2506.11039, ICML 2025.
Formula: theta = angle(D_c, D_u),  a = min((w - 1) theta, max_angle),  e = D_c - (<D_c, D_u>/||D_u||^2) D_u
    angle_domain   D = cos(a) D_c + k e,  k = sin(a)/sin(theta), or w - 1 where sin(theta) <= 1e-3
    rotate         D = cos(a) D_c + sin(a) q,  q orthogonal to D_c, of the norm of D_c, pointing away from D_u; here a
                   is also at most pi - theta, so that no rotation passes the opposite of D_u
Space: x0, as the model sees it: a shift of the latent changes the angles. Shapes: cond, uncond (B, C,
*spatial), one angle per sample over everything but the batch.
Units: scale is the host scale w, a float or a tensor of B values (4-7 in the paper); max_angle in radians
limits the EXTRA angle a, not theta.
Identity: scale = 1 returns cond, scale = 0 uncond, bit for bit; up to 1 both functions are plain `cfg`.
Departures: angle_domain changes the norm, ||D||^2/||D_c||^2 = 1 + sin(2a) sin(theta), and its D is not at theta + a
from D_u. rotate is exact in both and is ours. The official code has no identity at w = 1, is wrong for batches, gives
NaN at theta = 0 and D_c/2 near theta = pi. Here D_c is returned where the direction is undefined: where D_u or D_c is 0
or lost in the rounding of the other, and where theta is within 2e-3 of pi, the rounding of a bfloat16 prediction.
"""

import math

import torch
from torch import Tensor

from ..cfg import cfg
from ..tensors.operands import operands
from ..tensors.reduce import norm_of_sum, per_sample, products, products_with_difference, safe, weighted_sum

__all__ = ["angle", "angle_domain", "rotate"]


@operands
def angle_domain(cond: Tensor, uncond: Tensor, *, scale: float | Tensor, max_angle: float = math.pi / 3) -> Tensor:
    """The paper's rule, in the dtype of `cond`."""
    return _turn(_adg_coefficients, cond, uncond, scale, max_angle)


@operands
def rotate(cond: Tensor, uncond: Tensor, *, scale: float | Tensor, max_angle: float = math.pi / 3) -> Tensor:
    """D_c turned away from D_u by a: at theta + a from D_u, with the norm of D_c. In the dtype of `cond`."""
    return _turn(_rotation_coefficients, cond, uncond, scale, max_angle)


@operands(dtype_of="wide")
def angle(a: Tensor, b: Tensor) -> Tensor:
    """The angle between a_i and b_i per sample in radians, (B, 1, ..., 1), accurate also where it is tiny.

    0 if either is zero.
    """
    square, product = products(b, a)
    length = square.sqrt()
    along = product / safe(length)
    across = norm_of_sum(a, b, -along / safe(length))
    return torch.atan2(across, along) * (length > 0)


def _turn(coefficients, cond: Tensor, uncond: Tensor, scale: float | Tensor, max_angle: float) -> Tensor:
    if not 0.0 <= max_angle <= math.pi:
        raise ValueError(f"max_angle must lie between 0 and pi, got {max_angle}.")
    w = per_sample(scale, cond)
    if isinstance(w, float) and w <= 1.0:
        return cfg(cond, uncond, scale=w)
    p, q = coefficients(cond, uncond, w, max_angle)
    if isinstance(w, Tensor):
        p = torch.where(w > 1.0, p, w)
        q = torch.where(w > 1.0, q, 1.0 - w)
    return weighted_sum((p, cond), (q, uncond))


def _across(dd: Tensor, ad: Tensor, aa: Tensor) -> Tensor:
    """The length of the part of b orthogonal to a; 0 if it is within the rounding.

    The arguments are <d, d>, <a, d> and <a, a> with d = b - a. The orthogonal parts of b and d are the same, and that
    of d keeps its digits where a and b are close.
    """
    square = dd - ad.square() / safe(aa)
    return torch.where(square > 8.0 * torch.finfo(dd.dtype).eps * dd, square, 0.0).sqrt()


def _adg_coefficients(c: Tensor, u: Tensor, w: float | Tensor, max_angle: float) -> tuple[Tensor, Tensor]:
    """P and Q of D = P c + Q u."""
    uu, ud, dd = products_with_difference(c, u)
    ratio = 1.0 + ud / safe(uu)
    e = _across(dd, ud, uu)
    theta = torch.atan2(e, ratio * uu.sqrt())
    a = ((w - 1.0) * theta).clamp(max=max_angle)
    sine = theta.sin()
    k = torch.where(sine > 1e-3, a.sin() / sine.clamp(min=1e-3), w - 1.0)
    cc = uu + 2.0 * ud + dd
    eps, tiny = torch.finfo(uu.dtype).eps, torch.finfo(uu.dtype).tiny
    defined = (uu > tiny) & (cc > 100 * eps * uu) & (math.pi - theta > 2e-3)
    return torch.where(defined, a.cos() + k, 1.0), torch.where(defined, -k * ratio, 0.0)


def _rotation_coefficients(c: Tensor, u: Tensor, w: float | Tensor, max_angle: float) -> tuple[Tensor, Tensor]:
    """P and Q of D = P c + Q u."""
    cc, cd, dd = products_with_difference(u, c)
    ratio = 1.0 + cd / safe(cc)
    across = _across(dd, cd, cc)
    along = ratio * cc.sqrt()
    theta = torch.atan2(across, along)
    a = torch.minimum(((w - 1.0) * theta).clamp(max=max_angle), math.pi - theta)
    turn = torch.where(theta > 0.0, a.sin() / safe(theta.sin()), (w - 1.0) * (max_angle > 0.0))
    uu = across.square() + along.square()
    reach = turn * (cc / safe(uu)).sqrt()
    eps, tiny = torch.finfo(cc.dtype).eps, torch.finfo(cc.dtype).tiny
    defined = (cc > tiny) & (uu > 100 * eps * cc) & (math.pi - theta > 2e-3)
    return torch.where(defined, a.cos() + reach * ratio, 1.0), torch.where(defined, -reach, 0.0)
