"""History Guidance (HiGS): the fine detail in which a prediction differs from those of the steps before it, amplified.

Paper: Sadat, Salehi, Weber 2025, "HiGS: History-Guided Sampling for Plug-and-Play Enhancement of Diffusion Models",
arXiv 2509.22300, equations 5 to 9.
Formula: R = D - g     R' = R - (1 - eta) (<R, D>/||D||^2) D
         D' = D + w(t) iDCT(H DCT R'),  H = 1/(1 + exp(-50 (r - 0.05))),  r = sqrt((i/height)^2 + (j/width)^2)
         w(t) = weight sqrt((t - t_min)/(t_max - t_min)) where t_min < t <= t_max, else 0
         g <- a D + (1 - a) g, of the D before its own correction, from g = 0; the first step seeds it only
Space: x0. Shapes: denoised (the guided prediction) (B, C, *spatial); DCT over the last two dimensions, of every frame
of a video, and over the only one of 3-D latents; products per sample. Units: weight in [0, 3], a float or B values;
a (`average`) in (0, 1]; eta in [0, 1]; t noise levels: sigma for "flow", sigma/(1 + sigma) for "ve".
Identity: weight = 0, the first step, and any step outside the window, bit for bit.
Departures: `bias_correction` divides g by 1 - (1 - a)^n after n predictions, so that it is an average from the start.
The filter is computed as R' - iDCT((1 - H) DCT R'), which is the same; 1 - H is 0 but for few low frequencies.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from ..tensors.convert import noise_level
from ..tensors.memory import Memory
from ..tensors.operands import operands
from ..tensors.reduce import per_sample, products_with_difference, recorded, safe, wide

__all__ = ["higs"]

STEEPNESS, CUTOFF = 50.0, 0.05


class History(NamedTuple):
    """The running average g, how many predictions are in it, and the filter that was made for their size."""

    average: Tensor
    count: int
    filter: tuple[Tensor, Tensor, Tensor] | None


@operands
def higs(
    denoised: Tensor,
    *,
    sigma: float | Tensor,
    kind: str,
    begun: float | Tensor | None = None,
    weight: float | Tensor = 1.75,
    average: float = 0.75,
    eta: float = 1.0,
    t_min: float = 0.4,
    t_max: float = 1.0,
    bias_correction: bool = False,
    state: Memory,
) -> Tensor:
    """D + w(t) iDCT(H DCT R'), in the dtype of `denoised`. `state` carries g from step to step.

    `begun` is the sigma at which the step began, where a sampler calls the model further on too: w(t) is the step's.
    """
    d, before = wide(denoised), state.value
    if before is None:
        state.keep(History(d * average, 1, None))
        return denoised.clone()
    made = before.filter or _filter_for(d)
    share = 1.0 - (1.0 - average) ** before.count if bias_correction else 1.0
    push = _without_low_frequencies(_difference(d, before.average, 1.0 / share, eta), made)
    state.keep(History(before.average.lerp(d, average), before.count + 1, made))
    t = noise_level(per_sample(sigma if begun is None else begun, d), kind=kind)
    inside = (t > t_min) & (t <= t_max)
    curve = (inside * (t - t_min) / (t_max - t_min)) ** 0.5
    return push.mul_(per_sample(weight, d) * curve).add_(d).to(denoised.dtype)


def _difference(d: Tensor, g: Tensor, factor: float, eta: float) -> Tensor:
    """R' with R = D - factor g; a new, contiguous tensor."""
    if eta == 1.0:
        return torch.sub(d, g, alpha=factor).contiguous()
    dd, dg, _ = products_with_difference(g, d)  # ||D||^2 and <D, g - D>
    along = (1.0 - factor) - factor * dg / safe(dd)  # <R, D>/||D||^2
    return (d * (1.0 - (1.0 - eta) * along)).sub_(g, alpha=factor).contiguous()


def _without_low_frequencies(r: Tensor, made: tuple[Tensor, Tensor, Tensor]) -> Tensor:
    """iDCT(H DCT r), written over r. Frame by frame, so that temporaries are small and batches make no difference."""
    rows, columns, low = made

    def lows(piece: Tensor) -> Tensor:
        # A copy, because on some processors the last bits of a product depend on where its arguments lie in memory.
        return (rows.T @ (low * (rows @ (piece.clone() @ columns.T)))) @ columns

    if recorded(r):
        return r - lows(r.view(-1, rows.shape[1], columns.shape[1])).view(r.shape)
    for sample in r:
        frames = sample.view(-1, rows.shape[1], columns.shape[1])
        for piece in frames.split(max(len(frames) // 4, (1 << 16) // frames[0].numel(), 1)):
            piece.sub_(lows(piece))
    return r


def _filter_for(d: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The rows of the two DCT matrices where H is not 1, and 1 - H there. A latent without a height has height 1."""
    height, width = d.shape[-2:] if d.ndim > 3 else (1, d.shape[-1])
    reach = CUTOFF - math.log(torch.finfo(d.dtype).eps) / STEEPNESS
    i, j = (torch.arange(min(n, math.ceil(reach * n)), device=d.device) for n in (height, width))
    r = torch.hypot(i[:, None].to(d.dtype) / height, j.to(d.dtype) / width)
    return _dct(height, i, d), _dct(width, j, d), torch.sigmoid(STEEPNESS * (CUTOFF - r))


def _dct(n: int, index: Tensor, like: Tensor) -> Tensor:
    """The rows `index` of the orthonormal DCT-II matrix of n values, on the device and in the dtype of `like`."""
    turn = index[:, None] * (2 * torch.arange(n, device=like.device) + 1)
    square = (1.0 + (index > 0).to(like.dtype)) / n
    return torch.cos(turn.to(like.dtype) * (math.pi / (2 * n))) * square.sqrt()[:, None]
