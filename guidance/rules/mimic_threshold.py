"""Mimic thresholding: the direction of a high scale with the range of values of a low one.

Source: mcmonkeyprojects/sd-dynamic-thresholding (MIT), dynthres_core.py; no paper. A latent-space relative of
Imagen's dynamic thresholding.
Formula, per sample and channel: G = cfg at scale w, M = cfg at mimic_scale m, mu their means over the places,
    Gc = G - mu_G, Mc = M - mu_M
    measure "ad"    a_M = max|Mc|, a_G = quantile(|Gc|, p)
    measure "std"   a_M, a_G = standard deviation (unbiased) of Mc, Gc
    startpoint "mean", "ad"    L = max(a_M, a_G),  R = clip(Gc, -L, L) a_M/L + mu_G
    startpoint "mean", "std"   R = Gc a_M/a_G + mu_G
    startpoint "zero"          R = G a_M/a_G
    D = phi R + (1 - phi) G
    with per_channel = False, a_M and a_G are taken over all channels together; every channel keeps its own mean
Space: x0. Shapes: cond, uncond (B, C, *spatial). Units: scale and mimic_scale are host scales (floats or tensors of B
values; typically w 10-20, m 5-8), percentile in [0, 1] (0.95-1), phi in [0, 1]. The source's own nodes begin with m = 7
and percentile 1, the simple one with all channels together.
Identity: phi = 0 is `cfg` bit for bit; so is mimic_scale = scale with percentile 1 and measure "ad".
Departures: statistics are always per sample; the source takes a_M and a_G of all channels over the batch too. A range
of 0 (0/0 in the source) leaves G as it is. The mean that is added back is that of G, as in the source.
"""

import torch
from torch import Tensor

from ..cfg import cfg
from ..tensors.operands import operands
from ..tensors.quantile import abs_quantile
from ..tensors.reduce import reduce_each, safe, wide
from ..tensors.values import quoted

__all__ = ["mimic_threshold"]


@operands
def mimic_threshold(
    cond: Tensor,
    uncond: Tensor,
    *,
    scale: float | Tensor,
    mimic_scale: float | Tensor,
    percentile: float = 1.0,
    per_channel: bool = True,
    startpoint: str = "mean",
    measure: str = "ad",
    phi: float = 1.0,
) -> Tensor:
    """phi R + (1 - phi) G, in the dtype of `cond`.

    Raises ValueError for an unknown startpoint or measure and for a percentile outside [0, 1].
    """
    start = _named(_STARTPOINTS, "startpoint", startpoint)
    spread = _named(_MEASURES, "measure", measure)
    if not 0.0 <= percentile <= 1.0:
        raise ValueError(f"percentile must lie between 0 and 1, got {quoted(percentile)}.")
    if phi == 0:
        return cfg(cond, uncond, scale=scale)
    c, u = wide(cond), wide(uncond)
    wanted = spread(cfg(c, u, scale=mimic_scale), 1.0, per_channel)
    guided = cfg(c, u, scale=scale)
    actual = spread(guided, percentile, per_channel)
    centre = start(guided)
    clips = startpoint == "mean" and measure == "ad"
    reach = torch.maximum(wanted, actual) if clips else actual
    ratio = torch.where(reach > 0, wanted / safe(reach), 1.0)
    if clips and percentile < 1.0:
        # clip(G - centre) ratio + centre, with the bounds moved instead of G
        clipped = guided.clamp(centre - reach, centre + reach).mul_(ratio).add_(centre * (1.0 - ratio))
        return (clipped if phi == 1.0 else torch.lerp(guided, clipped, phi)).to(cond.dtype)
    # Nothing lies outside the reach: R = (G - centre) ratio + centre, and the blend is one multiply-add.
    factor = torch.lerp(torch.ones_like(ratio), ratio, phi)
    return torch.addcmul(centre * (1.0 - factor), guided, factor).to(cond.dtype)


def _mean(t: Tensor) -> Tensor:
    """The mean of each channel, (B, C, 1, ..., 1)."""
    return reduce_each(lambda row: row.mean(-1), t, keep=2)


def _zero(t: Tensor) -> Tensor:
    return torch.zeros_like(t[(..., *(slice(1),) * (t.ndim - 2))])


def _absolute_deviation(t: Tensor, q: float, per_channel: bool) -> Tensor:
    mean = _mean(t)
    if q < 1.0:
        return abs_quantile(t, q, per_channel=True, centre=mean) if per_channel else abs_quantile(t - mean, q)
    low = reduce_each(lambda row: row.amin(-1), t, keep=2)
    high = reduce_each(lambda row: row.amax(-1), t, keep=2)
    most = torch.maximum(high - mean, mean - low)
    return most if per_channel else most.amax(1, keepdim=True)


def _standard_deviation(t: Tensor, q: float, per_channel: bool) -> Tensor:
    squares = (t - _mean(t)).square_()
    keep = 2 if per_channel else 1
    return reduce_each(lambda row: row.sum(-1) / max(row.shape[-1] - 1, 1), squares, keep=keep).sqrt()


def _named(table: dict, what: str, name: str):
    if name not in table:
        raise ValueError(f"{what} must be one of {', '.join(table)}, got {quoted(name)}.")
    return table[name]


_STARTPOINTS = {"mean": _mean, "zero": _zero}
_MEASURES = {"ad": _absolute_deviation, "std": _standard_deviation}
