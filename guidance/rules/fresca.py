"""FreSca: the update with a gain of its own for low and for high frequencies.

Paper: Huang, Liang, Tang, Bi, Ma, Tian, Xu 2025, "FreSca: Scaling in Frequency Space Enhances Diffusion Models",
arXiv 2504.02154.
Formula: D = D_u + w F(D_c - D_u), where F multiplies each line of the 2-D spectrum by `low` if its radius is at
most `cutoff` and by `high` if it is beyond; the same as w high Delta + w (low - high) (Delta within the radius)
    fresca_cutoff, the authors' present choice: the spectrum's magnitudes along its middle row, averaged over channels
    and frames, are added up from the finest line of negative frequency towards the middle, and k lines are passed
    before they reach the share `energy` of the whole row; likewise for the middle column. With n the shorter side,
    f = max(3, floor of the mean of both min(k, n//4)), and cutoff = (f + 1/2)/(n/2)
Space: free. Shapes: cond, uncond (B, C, *spatial); spectra of the last two dimensions, frame by frame, or of the
last one of a 3-D latent. Units: scale is the host scale w; low and high are factors of it (1 and 1.2 to 1.5);
cutoff is the radius as a share of the Nyquist frequency, 0 the mean alone, 1 all along an axis, sqrt(2) everything; a
float or B values. energy is a share, 0.2 in the authors' code.
Identity: low = high = 1 is `cfg`, and low = high is `cfg` at w low, bit for bit; scale = 0 is uncond.
Departures: the original's low region is a box, of f lines to each side of zero, or in its first form of 20 lines,
whatever the size, so its share of Nyquist changes (0.31 at a side of 128, all at 40). It is one line longer for
negative frequencies, so on that border the real part gets the mean of the two gains. Our radius gives both signs the
same gain; half a line more keeps rounding from deciding. `fresca_cutoff` is per sample, where the original averages
over the batch; of a 3-D latent it takes the only row there is.
"""

import torch
from torch import Tensor

from ..cfg import cfg
from ..tensors.operands import operands
from ..tensors.pieces import in_pieces, picture
from ..tensors.reduce import add_, per_sample, samples, wide, wide_dtype

__all__ = ["fresca", "fresca_cutoff"]

FEWEST = 3  # lines below the border


@operands
def fresca(
    cond: Tensor,
    uncond: Tensor,
    *,
    scale: float | Tensor,
    low: float = 1.0,
    high: float = 1.25,
    cutoff: float | Tensor = 0.3,
) -> Tensor:
    """D_u + w F(D_c - D_u), in the dtype of `cond`."""
    if low == high:
        return cfg(cond, uncond, scale=scale * high)
    radius, cutoff = _radius(cond), per_sample(cutoff, cond)
    if isinstance(cutoff, float):
        return _filtered(cond, uncond, scale, low, high, radius <= cutoff)
    each = samples(cond, uncond, per_sample(scale, cond), cutoff)
    made = [_filtered(c, u, w, low, high, radius <= border.view(())) for c, u, w, border in each]
    return made[0] if len(made) == 1 else torch.cat(made)


@operands(dtype_of="wide")
def fresca_cutoff(cond: Tensor, uncond: Tensor, *, energy: float = 0.2) -> Tensor:
    """The authors' cutoff for the difference of these predictions, shape (B,), in float32 or better."""
    return torch.stack([_border(wide(c) - wide(u), energy) for c, u in zip(cond, uncond, strict=True)])


def _filtered(cond: Tensor, uncond: Tensor, scale: float | Tensor, low: float, high: float, coarse: Tensor) -> Tensor:
    """D_u + w F(D_c - D_u); `coarse` is which lines of the spectrum get the gain `low`."""
    gain = coarse.to(wide_dtype(cond)).mul_(low - high)

    def guided(w: float | Tensor, c: Tensor, u: Tensor) -> Tensor:
        within = torch.fft.irfft2(torch.fft.rfft2(c - u).mul_(gain), s=c.shape[-2:])
        return add_(cfg(c, u, scale=w * high), within, w)

    return in_pieces(guided, scale, cond, uncond, shape=picture(cond))


def _border(difference: Tensor, energy: float) -> Tensor:
    """The cutoff of one sample (C, *spatial)."""
    # The middle row of a spectrum is the spectrum of the mean over the rows.
    means = [difference] if difference.ndim == 2 else [difference.mean(-2), difference.mean(-1)]
    shorter = min(mean.shape[-1] for mean in means)
    passed = [_passed(mean, energy).clamp(max=shorter // 4) for mean in means]
    border = (sum(passed) // len(passed)).clamp(min=FEWEST)
    return (border.to(difference.dtype) + 0.5) / (shorter / 2)


def _passed(rows: Tensor, energy: float) -> Tensor:
    """k of the card, a whole number."""
    magnitude = torch.fft.fftshift(torch.fft.fft(rows).abs(), -1).flatten(0, -2).mean(0)
    sums = magnitude.cumsum(0)
    return (sums < energy * sums[-1]).sum()


def _radius(t: Tensor) -> Tensor:
    """The radius of each line of the spectrum that rfft2 returns, in units of the Nyquist frequency."""
    height, width = picture(t)
    rows = torch.fft.fftfreq(height, d=0.5, dtype=wide_dtype(t), device=t.device)
    columns = torch.fft.rfftfreq(width, d=0.5, dtype=wide_dtype(t), device=t.device)
    return torch.hypot(rows[:, None], columns)
