"""Skimmed CFG: a lower weight at the values that the usual one drives furthest out, and an exact form of our own.

Source: Extraltodeus/Skimmed_CFG, known to us by its formulas; no paper.
Formula, value by value. beyond(A, B, k) is true where sgn(A - B) = sgn G = sgn(G - x) = sgn A with G = B + k (A - B):
seen in the direction of A, A lies beyond B, and G lies beyond zero and beyond x.
    skimmed        u = D_c + (s/w) (D_u - D_c) where beyond(D_u, D_c, w), else D_u
                   c = u + (s/(w - 1)) (D_c - u) where beyond(D_c, u, w - 1), else D_c
                   D = u + w (c - u)
    skimmed_exact  D = D_u + min(s, w) (D_c - D_u) where beyond(D_u, D_c, w) or beyond(D_c, D_u, w - 1),
                   else D_u + w (D_c - D_u)
With full_negative, s is 0 in the first line of skimmed; in skimmed_exact the weight is 1 where beyond(D_u, D_c, w).
Space: x0: the sign of a value counts, so a shift of the latent changes the result. Shapes: cond, uncond, x (B, C,
*spatial); x is the noisy latent, and None omits the test of G - x. Units: scale is the host scale w, skim the lower s.
Identity: up to a scale of 1 both are plain `cfg`, bit for bit; skimmed_exact is with skim >= scale too.
Departures: the weight of skimmed is not s. It is 1 + (w - 1) s/w where the first line alone acts, and w s/(w - 1)
where the second alone does; the latter is more than w once s > w - 1, and has no bound near w = 1. skimmed_exact gives
the same values the weight s and is ours. The original divides by 0 at w = 1, writes into its arguments, and takes a
negative s to mean w.
"""

import torch
from torch import Tensor

from ..cfg import cfg
from ..tensors.operands import operands
from ..tensors.pieces import in_pieces
from ..tensors.reduce import per_sample, safe

__all__ = ["skimmed", "skimmed_exact"]


@operands
def skimmed(
    cond: Tensor,
    uncond: Tensor,
    *,
    scale: float | Tensor,
    x: Tensor | None = None,
    skim: float = 7.0,
    full_negative: bool = False,
) -> Tensor:
    """The original's rule, in the dtype of `cond`."""
    w = per_sample(scale, cond)
    if isinstance(w, float) and w <= 1.0:
        return cfg(cond, uncond, scale=w)
    first = 0.0 if full_negative else skim

    def guided(w: float | Tensor, c: Tensor, u: Tensor, x: Tensor | None = None) -> Tensor:
        u = torch.where(_beyond(u, c, w, x) & (w > 1.0), torch.lerp(c, u, _share(first, w)), u)
        c = torch.where(_beyond(c, u, w - 1.0, x) & (w > 1.0), torch.lerp(u, c, _share(skim, w - 1.0)), c)
        return cfg(c, u, scale=w)

    return in_pieces(guided, w, cond, uncond, *_given(x))


@operands
def skimmed_exact(
    cond: Tensor,
    uncond: Tensor,
    *,
    scale: float | Tensor,
    x: Tensor | None = None,
    skim: float = 7.0,
    full_negative: bool = False,
) -> Tensor:
    """CFG with the weight s at the values that `skimmed` changes, and w at the others; in the dtype of `cond`."""
    w = per_sample(scale, cond)
    if isinstance(w, float) and (w <= 1.0 or w <= skim and not full_negative):
        return cfg(cond, uncond, scale=w)

    def guided(w: float | Tensor, c: Tensor, u: Tensor, x: Tensor | None = None) -> Tensor:
        negative = _beyond(u, c, w, x) & (w > 1.0)
        positive = _beyond(c, u, w - 1.0, x) & (w > 1.0)
        lower = w.clamp(max=skim) if isinstance(w, Tensor) else min(w, skim)
        out = torch.where(negative | positive, cfg(c, u, scale=lower), cfg(c, u, scale=w))
        return torch.where(negative, c, out) if full_negative else out

    return in_pieces(guided, w, cond, uncond, *_given(x))


def _beyond(a: Tensor, b: Tensor, k: float | Tensor, x: Tensor | None) -> Tensor:
    """beyond(a, b, k) of the card, for each value; without the test of x if it is None."""
    where = (a - b).mul_(a) > 0
    guided = torch.lerp(b, a, k)
    where &= guided * a > 0
    if x is not None:
        where &= (guided - x).mul_(a) > 0
    return where


def _share(s: float, k: float | Tensor) -> float | Tensor:
    return s / (safe(k) if isinstance(k, Tensor) else k)


def _given(x: Tensor | None) -> list[Tensor]:
    return [] if x is None else [x]
