"""Quantile of absolute values.

Formula: numpy.quantile(|t|, q) with its default, linear definition: sorted values v, position h = (n - 1) q,
v[floor h] + (h - floor h)(v[floor h + 1] - v[floor h]).
Shapes: (B, C, ...) -> (B, 1, ..., 1), or (B, C, 1, ..., 1) per channel. Units: those of t; q in [0, 1].
Departures: `centre` is subtracted on the way, which saves a temporary. torch.quantile sorts everything and takes
neither half precision nor 2^24 values; this selects, and takes any size. As in numpy, one NaN makes the result NaN.
"""

import math

import torch
from torch import Tensor

from .operands import operands
from .reduce import reduce_each, wide

__all__ = ["abs_quantile"]

_LONG = 1 << 16  # from this length on, looking for bounds first is faster than ranking everything
_PIECE = 1 << 18  # values that are filtered together, few enough to stay in the processor's cache


@operands(dtype_of="wide", apart=["centre"])
def abs_quantile(t: Tensor, q: float, *, per_channel: bool = False, centre: Tensor | None = None) -> Tensor:
    """The q-quantile of |t| per sample, or per sample and channel; in float32 or better, broadcasts with t.

    A centre has one value for each result, which is then the quantile of |t - centre|. Raises ValueError if q is
    outside [0, 1].
    """
    if not 0.0 <= q <= 1.0:
        raise ValueError(f"a quantile must lie between 0 and 1, got {q}.")
    tensors = (t,) if centre is None else (t, centre)
    return reduce_each(lambda *rows: _quantile(q, *rows), *tensors, keep=2 if per_channel else 1)


def _quantile(q: float, rows: Tensor, centre: Tensor | None = None) -> Tensor:
    n = rows.shape[-1]
    h = (n - 1) * q
    k = math.floor(h)
    # On a GPU topk is a radix select, and a filter would have to wait for the device to learn its size.
    if rows.device.type != "cpu" or n <= _LONG:
        return _interpolated(_distance(rows, centre), k, h - k)
    each = rows.reshape(-1, n)
    centres = [None] * len(each) if centre is None else centre.reshape(-1, 1)
    last = min(k + 1, n - 1)
    values = [_interpolated(*_around(row, c, k, last), h - k) for row, c in zip(each, centres, strict=True)]
    return torch.stack(values).view(rows.shape[:-1])


def between_ranks(rows: Tensor, low: float, high: float) -> Tensor:
    """The sorted values of each row from rank floor(low (n - 1)) to ceil(high (n - 1)). No value may be negative."""
    n = rows.shape[-1]
    first, last = math.floor(low * (n - 1)), math.ceil(high * (n - 1))
    if rows.device.type == "cpu" and n > _LONG:
        found = [_around(row, None, first, last) for row in rows.reshape(-1, n)]
        return torch.stack([_ranks(row, rank, last - first + 1) for row, rank in found]).view(*rows.shape[:-1], -1)
    return _ranks(rows, first, last - first + 1)


def _ranks(rows: Tensor, first: int, count: int) -> Tensor:
    above = torch.topk(wide(rows), rows.shape[-1] - first).values
    return above[..., above.shape[-1] - count :]


def _distance(rows: Tensor, centre: Tensor | None) -> Tensor:
    return rows.abs() if centre is None else (rows - centre).abs_()


def _interpolated(rows: Tensor, k: int, fraction: float) -> Tensor:
    """The value between sorted values k and k + 1 of each row, counted from 0."""
    low, high = _by_rank(rows, k)
    value = low if fraction == 0.0 else (low * (1.0 - fraction) + high * fraction).clamp(low, high)
    return torch.where(rows.amax(-1).isnan(), torch.nan, value)


def _by_rank(rows: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Sorted values k and k + 1 of each row, counted from 0; value k twice if it is the last."""
    n = rows.shape[-1]
    upper = n - k <= n // 2
    part = torch.topk(wide(rows), n - k if upper else min(k + 2, n), largest=upper, sorted=False).values
    pair = torch.topk(part, min(2, n - k), largest=not upper).values
    low, high = (0, -1) if upper else (-1, 0)
    return pair[..., low], pair[..., high]


def _around(row: Tensor, centre: Tensor | None, first: int, last: int) -> tuple[Tensor, int]:
    """A few values of |row - centre| that include those of ranks `first` to `last`, and the rank of `first` among them.

    They lie between two bounds, which a sample of about 4096 values of the row gives.
    """
    sample = _distance(wide(row[:: len(row) >> 12].contiguous()), centre)
    below, above = math.floor(_place(sample, row, first, -1)), math.ceil(_place(sample, row, last, 1))
    few = len(sample) // 16  # a bound that would leave out fewer is not worth finding
    low = torch.kthvalue(sample, below + 1).values if below >= few else 0.0
    high = torch.kthvalue(sample, above + 1).values if above < len(sample) - few else math.inf
    between, rank = [], first
    for piece in row.split(_PIECE):
        distance = _distance(piece, centre)
        upper = distance[~(distance < low)]  # keeps NaN, so that the result becomes NaN
        between.append(upper[~(upper > high)] if high is not math.inf else upper)
        rank -= len(piece) - len(upper)
    found = torch.cat(between)
    # The bounds may be wrong, for instance if the row repeats a pattern at the same distance, so they are checked.
    trusted = 0 <= rank <= len(found) - (last - first + 1)
    return (found, rank) if trusted else (_distance(row, centre), first)


def _place(sample: Tensor, row: Tensor, rank: int, sign: int) -> float:
    """The place where a rank of the row is expected in its sorted sample, and four standard deviations further.

    `sign` is 1 for further up, -1 for further down.
    """
    share = rank / len(row)
    return len(sample) * share + sign * (4.0 * math.sqrt(len(sample) * share * (1.0 - share)) + 4.0)
