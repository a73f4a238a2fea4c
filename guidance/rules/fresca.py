"""FreSca: the update with a gain of its own for low and for high frequencies.

Paper: Huang, Liang, Tang, Bi, Ma, Tian, Xu 2025, "FreSca: Scaling in Frequency Space Enhances Diffusion Models",
arXiv 2504.02154.
Formula: D = D_u + w F(D_c - D_u), where F multiplies each line of the 2-D spectrum by `low` if its radius is at
most `cutoff` and by `high` if it is beyond; the same as w high Delta + w (low - high) (Delta within the radius)
Space: free. Shapes: cond, uncond (B, C, *spatial); spectra of the last two dimensions, frame by frame, or of the
last one of a 3-D latent. Units: scale is the host scale w; low and high are factors of it (1 and 1.2 to 1.5);
cutoff is the radius as a share of the Nyquist frequency, 0 the mean alone, 1 all along an axis, sqrt(2) everything.
Identity: low = high = 1 is `cfg`, and low = high is `cfg` at w low, bit for bit; scale = 0 is uncond.
Departures: the original's low region is a box of 20 lines to each side of zero, whatever the size, so its share of
Nyquist changes (0.31 at a side of 128, all at 40). It is one line longer for negative frequencies, so on that border
the real part gets the mean of the two gains. Our radius gives both signs the same gain.
"""

import torch
from torch import Tensor

from ..cfg import cfg
from ..tensors.operands import operands
from ..tensors.pieces import in_pieces, picture
from ..tensors.reduce import add_, wide_dtype

__all__ = ["fresca"]


@operands
def fresca(
    cond: Tensor,
    uncond: Tensor,
    *,
    scale: float | Tensor,
    low: float = 1.0,
    high: float = 1.25,
    cutoff: float = 0.3,
) -> Tensor:
    """D_u + w F(D_c - D_u), in the dtype of `cond`."""
    if low == high:
        return cfg(cond, uncond, scale=scale * high)
    gain = (_radius(cond) <= cutoff).to(wide_dtype(cond)).mul_(low - high)

    def guided(w: float | Tensor, c: Tensor, u: Tensor) -> Tensor:
        coarse = torch.fft.irfft2(torch.fft.rfft2(c - u).mul_(gain), s=c.shape[-2:])
        return add_(cfg(c, u, scale=w * high), coarse, w)

    return in_pieces(guided, scale, cond, uncond, shape=picture(cond))


def _radius(t: Tensor) -> Tensor:
    """The radius of each line of the spectrum that rfft2 returns, in units of the Nyquist frequency."""
    height, width = picture(t)
    rows = torch.fft.fftfreq(height, d=0.5, dtype=wide_dtype(t), device=t.device)
    columns = torch.fft.rfftfreq(width, d=0.5, dtype=wide_dtype(t), device=t.device)
    return torch.hypot(rows[:, None], columns)
