"""Quantile of absolute values.

Formula: numpy.quantile(|t|, q) with its default, linear definition: sorted values v, position h = (n - 1) q,
v[floor h] + (h - floor h)(v[floor h + 1] - v[floor h]).
Shapes: (B, C, ...) -> (B, 1, ..., 1), or (B, C, 1, ..., 1) per channel, float32. Units: those of t; q in
[0, 1].
Departures: torch.quantile sorts everything and takes neither half precision nor 2^24 values; this selects, on
any size. float64 input is ranked in float64 and rounded once at the end. As in numpy, one NaN makes the
result NaN.
"""

import math

import torch
from torch import Tensor

from .reduce import reduce_each, wide

_LONG = 1 << 16  # from this length on, looking for bounds first is faster than ranking everything
_PIECE = 1 << 18  # values that are filtered together, few enough to stay in the processor's cache


def abs_quantile(t: Tensor, q: float, *, per_channel: bool = False) -> Tensor:
    """The q-quantile of |t| per sample, or per sample and channel; float32, broadcasts with t.

    Raises ValueError if q is outside [0, 1].
    """
    return quantile(t.abs(), q, per_channel=per_channel)


def quantile(t: Tensor, q: float, *, per_channel: bool = False) -> Tensor:
    """`abs_quantile` of values of which none is negative."""
    if not 0.0 <= q <= 1.0:
        raise ValueError(f"a quantile must lie between 0 and 1, got {q}.")
    return reduce_each(lambda rows: _quantile(rows, q), t, keep=2 if per_channel else 1).float()


def _quantile(rows: Tensor, q: float) -> Tensor:
    n = rows.shape[-1]
    h = (n - 1) * q
    k = math.floor(h)
    # On a GPU topk is a radix select, and a filter would have to wait for the device to learn its size.
    bounded = rows.device.type == "cpu" and n > _LONG
    low, high = (_by_bounds if bounded else _by_rank)(rows, k)
    value = low if h == k else (low * (1.0 - (h - k)) + high * (h - k)).clamp(low, high)
    return torch.where(rows.amax(-1).isnan(), torch.nan, value)


def _by_rank(rows: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Sorted values k and k + 1 of each row, counted from 0; value k twice if it is the last."""
    n = rows.shape[-1]
    upper = n - k <= n // 2
    part = torch.topk(wide(rows), n - k if upper else min(k + 2, n), largest=upper, sorted=False).values
    pair = torch.topk(part, min(2, n - k), largest=not upper).values
    low, high = (0, -1) if upper else (-1, 0)
    return pair[..., low], pair[..., high]


def _by_bounds(rows: Tensor, k: int) -> tuple[Tensor, Tensor]:
    found = (_around(row, k) for row in rows.reshape(-1, rows.shape[-1]))
    pairs = torch.stack([torch.stack(_by_rank(values, rank)) for values, rank in found])
    low, high = pairs.view(*rows.shape[:-1], 2).unbind(-1)
    return low, high


def _around(row: Tensor, k: int) -> tuple[Tensor, int]:
    """The values of a row between two bounds that a sample of it gives, and the rank of value k among them."""
    sample = wide(row[:: max(len(row) >> 13, 1)]).sort().values
    share = k / len(row)
    spare = 4.0 * math.sqrt(len(sample) * share * (1.0 - share)) + 4.0
    first, last = math.floor(len(sample) * share - spare), math.ceil(len(sample) * share + spare)
    low = sample[first] if first >= 0 else 0.0
    high = sample[last] if last < len(sample) else math.inf
    between, rank = [], k
    for piece in row.split(_PIECE):
        above = piece[piece >= low]
        between.append(above[above <= high])
        rank -= len(piece) - len(above)
    found = torch.cat(between)
    # A sample may mislead, on a pattern of its own period for one, so what it finds is checked.
    return (found, rank) if 0 <= rank <= len(found) - min(2, len(row) - k) else (row, k)
