"""Frequency-Decoupled Guidance (FDG): a weight for each band of frequencies.

Paper: Sadat, Vontobel, Salehi, Weber 2025, "Guidance in the Frequency Domain Enables High-Fidelity Sampling at Low CFG
Scales" (FDG), arXiv 2506.19713, algorithm 2.
Formula: U_l + w g_l (C_l - U_l) at each level l of Laplacian pyramids of D_c and D_u, put together again. As the
pyramid is linear, with G_0 = D_c - D_u and G_{l+1} = down(G_l) that is
    D = D_u + w [g_0 G_0 + up((g_1 - g_0) G_1 + up((g_2 - g_1) G_2 + ...))]
    down: 5-tap binomial blur, then every second value (odd side) or the mean of each two (even side)
    up: linear interpolation to the larger side, then the blur; edge values are repeated
Space: free. Shapes: cond, uncond (B, C, *spatial); pyramids over the last two dimensions, frame by frame, or over
the last one of a 3-D latent; any size. Units: scale is the host scale w; gains g_l from the finest band to the
coarsest are factors of it: the paper's weights 10 and 5 for SDXL are w = 10 with gains (1, 0.5).
Identity: gains of 1 are `cfg`, equal gains are `cfg` at w g_0, bit for bit; scale = 0 is uncond.
Departures: the paper's code pads each side to a power of two and mirrors at the edges. The paper's extra weights for
the part of a band along D_c are left out.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from ..cfg import cfg
from ..tensors.operands import operands
from ..tensors.pieces import in_pieces, picture
from ..tensors.reduce import add_

__all__ = ["fdg"]


@operands
def fdg(cond: Tensor, uncond: Tensor, *, scale: float | Tensor, gains: Sequence[float] = (1.0, 0.5)) -> Tensor:
    """D_u + w times the bands of D_c - D_u, each times its gain, in the dtype of `cond`."""
    finest = gains[0]
    if all(gain == finest for gain in gains):
        return cfg(cond, uncond, scale=scale * finest)

    def guided(w: float | Tensor, c: Tensor, u: Tensor) -> Tensor:
        coarser = _coarser(_smaller(c - u), gains, c.shape[-2:])
        return add_(cfg(c, u, scale=w * finest), coarser, w)

    return in_pieces(guided, scale, cond, uncond, shape=picture(cond))


def _coarser(smaller: Tensor, gains: Sequence[float], shape: Sequence[int]) -> Tensor:
    """up((g_1 - g_0) G_1 + up((g_2 - g_1) G_2 + ...)), of this shape; `smaller` is G_1."""
    rest = smaller * (gains[1] - gains[0])
    if len(gains) > 2:
        rest += _coarser(_smaller(smaller), gains[1:], smaller.shape[-2:])
    return _doubled(_doubled(rest, -2, shape[-2]), -1, shape[-1])


def _smaller(t: Tensor) -> Tensor:
    return _halved(_halved(t, -1), -2)


def _halved(t: Tensor, dim: int) -> Tensor:
    # A binomial blur is a chain of means of neighbours; an even side takes one more, the mean of each two.
    means = 4 + (t.shape[dim] + 1) % 2
    blurred = _means(_with_edges(t, dim, means // 2), dim, means)
    return blurred[..., ::2] if dim == -1 else blurred[..., ::2, :]


def _doubled(t: Tensor, dim: int, size: int) -> Tensor:
    # Each value twice and then two means (even side) or one (odd side) is linear interpolation; four more are the blur.
    means = 6 - size % 2
    return _means(_twice(t, dim, (means + 2) // 4).narrow(dim, (means + 1) % 2, size + means), dim, means)


def _twice(t: Tensor, dim: int, edges: int) -> Tensor:
    return _with_edges(t, dim, edges).repeat_interleave(2, dim)


def _with_edges(t: Tensor, dim: int, times: int) -> Tensor:
    """t with its first and its last value repeated `times` times more."""
    first, last = t.narrow(dim, 0, 1), t.narrow(dim, t.shape[dim] - 1, 1)
    return torch.cat([first] * times + [t] + [last] * times, dim)


def _means(t: Tensor, dim: int, times: int) -> Tensor:
    """t replaced by the means of neighbouring values, `times` times; each time takes one value off the length."""
    for _ in range(times):
        between = t.shape[dim] - 1
        t = t.narrow(dim, 0, between) + t.narrow(dim, 1, between)
    return t.mul_(0.5**times)
