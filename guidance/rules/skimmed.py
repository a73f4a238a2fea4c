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
Both are computed as D_u + W (D_c - D_u), in which the weight W of a value is one of four: for neither, the first, the
second or both of the places named above.
Departures: the weight of skimmed is not s. It is 1 + (w - 1) s/w where the first line alone acts, and w s/(w - 1)
where the second alone does; the latter is more than w once s > w - 1, and has no bound near w = 1. skimmed_exact gives
the same values the weight s and is ours. The original divides by 0 at w = 1, writes into its arguments, and takes a
negative s to mean w.
"""

import torch
from torch import Tensor

from ..cfg import cfg
from ..tensors.operands import operands
from ..tensors.reduce import by_piece, per_sample, plus, safe

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

    def guided(
        c: Tensor, u: Tensor, w: float | Tensor, x: Tensor | None = None, *, out: Tensor | None = None
    ) -> Tensor:
        kept, reached = _quotient(first, w), w * _quotient(skim, w - 1.0)
        weights = (1.0 + (w - 1.0) * kept, reached, 1.0 + (reached - 1.0) * kept)
        return torch.lerp(u, c, _weight(w, *_beyond(c, u, w, x, kept), *weights), out=out)

    return by_piece(guided, cond, uncond, w, *_given(x))


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

    def guided(
        c: Tensor, u: Tensor, w: float | Tensor, x: Tensor | None = None, *, out: Tensor | None = None
    ) -> Tensor:
        lower = w.clamp(max=skim) if isinstance(w, Tensor) else min(w, skim)
        negative = w - w + 1.0 if full_negative else lower
        return torch.lerp(u, c, _weight(w, *_beyond(c, u, w, x, 1.0), negative, lower, negative), out=out)

    return by_piece(guided, cond, uncond, w, *_given(x))


@torch.no_grad()
def _beyond(c: Tensor, u: Tensor, w: float | Tensor, x: Tensor | None, kept: float | Tensor) -> tuple[Tensor, Tensor]:
    """beyond(D_u, D_c, w) and beyond(D_c, u, w - 1) of the card, 1 where true and else 0.

    u is D_c - kept (D_c - D_u) where the first is true, else D_u. Four signs are equal where the products with one of
    them are all above 0. As numbers in floating point they are taken together much faster than by `where`.
    """
    # With d = D_c - D_u and D_c - u = r d, the two G are D_c - w d and D_c + (w - 2) r d. The first has the sign of -d
    # wherever D_u has. The second has the sign of d wherever D_c has, from a w of 2 on; below, it is the other way.
    d = c - u
    negative = u * d
    if x is not None:
        off = c - x
        torch.maximum(negative, plus(off, d, -w).mul_(d), out=negative)
    negative.lt_(0.0)

    def r_times(k: float | Tensor) -> Tensor:
        return _line(k, negative, (kept - 1.0) * k)

    if x is not None:
        off.addcmul_(r_times(w - 2.0), d).mul_(d)
    below = (w - 2.0).clamp(max=0.0) if isinstance(w, Tensor) else min(w - 2.0, 0.0)
    positive = r_times(below).mul_(d).add_(c).mul_(d) if isinstance(w, Tensor) or below else c * d
    if x is not None:
        torch.minimum(positive, off, out=positive)
    return negative, positive.gt_(0.0)


def _weight(
    w: float | Tensor,
    first: Tensor,
    second: Tensor,
    of_first: float | Tensor,
    of_second: float | Tensor,
    of_both: float | Tensor,
) -> Tensor:
    """W of each value: w, or another where `first`, `second` or both of them are 1; always w at 1 and below."""
    if isinstance(w, Tensor):
        of_first, of_second, of_both = (torch.where(w > 1.0, other, w) for other in (of_first, of_second, of_both))
    more = _line(of_second - w, first, of_both - of_first - of_second + w)
    return _line(w, first, of_first - w).addcmul_(more, second)


def _line(start: float | Tensor, t: Tensor, slope: float | Tensor) -> Tensor:
    """start + slope t, in one pass over t."""
    return plus(start if isinstance(start, Tensor) else torch.tensor(start, dtype=t.dtype), t, slope)


def _quotient(s: float, k: float | Tensor) -> float | Tensor:
    return s / (safe(k) if isinstance(k, Tensor) else k)


def _given(x: Tensor | None) -> list[Tensor]:
    return [] if x is None else [x]
