"""Per-sample reductions, shared by all methods.

Shapes: (B, ...) with at least one dimension besides the batch; results are (B, 1, ..., 1) and broadcast back.
Units: none. float16 and bfloat16 accumulate in float32, float32 and float64 in their own precision.
Departures: samples are reduced one at a time. A reduction over several rows at once may be split differently
than one over a single row, and its rounding would then depend on the batch; this way it never does.
"""

from collections.abc import Callable

import torch
from torch import Tensor

_BLOCK = 8192


def dims(t: Tensor) -> tuple[int, ...]:
    """All dimensions but the batch."""
    return tuple(range(1, t.ndim))


def dot(a: Tensor, b: Tensor) -> Tensor:
    """<a_i, b_i> per sample, (B, 1, ..., 1), in float32 or better."""
    # Not torch.dot: 3e-5 off on a video latent, and its last bits depend on where the tensor lies in memory.
    return reduce_each(lambda x, y: _by_piece(lambda x, y: (x * y).sum(), x, y), a, b)


def norm(a: Tensor) -> Tensor:
    """||a_i||_2 per sample, (B, 1, ..., 1), in float32 or better."""
    return reduce_each(_blocked_norm, a)


def norm_of_sum(a: Tensor, b: Tensor, factor: Tensor) -> Tensor:
    """||a_i + factor_i b_i||_2 per sample, (B, 1, ..., 1), without a temporary of the size of the sum."""

    def length(x: Tensor, y: Tensor, k: Tensor) -> Tensor:
        size = _piece(x)
        pieces = zip(x.split(size), y.split(size), strict=True)
        return torch.linalg.vector_norm(
            torch.stack([_blocked_norm(torch.addcmul(wide(p), wide(q), k)) for p, q in pieces])
        )

    return reduce_each(length, a, b, factor)


def dot_from(origin: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """<a_i - origin_i, b_i - origin_i> per sample, (B, 1, ..., 1), in float32 or better."""
    return reduce_each(lambda o, x, y: _by_piece(lambda o, x, y: ((x - o) * (y - o)).sum(), o, x, y), origin, a, b)


def products_with_difference(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """<b_i, b_i>, <b_i, a_i - b_i> and ||a_i - b_i||^2 per sample in one pass, each (B, 1, ..., 1)."""

    def products(x: Tensor, y: Tensor) -> Tensor:
        d = x - y
        dd, bb = _blocked_norm(d).square(), _blocked_norm(y).square()
        return torch.stack((bb, d.mul_(y).sum(), dd))

    pairs = zip(a, b, strict=True)
    values = torch.stack([_by_piece(products, x.flatten(), y.flatten()) for x, y in pairs], dim=1)
    return values.view(3, -1, *(1,) * (a.ndim - 1)).unbind()


def _by_piece(f: Callable[..., Tensor], *rows: Tensor) -> Tensor:
    """The sum of f over pieces of the rows, so that its temporaries are small."""
    size = _piece(rows[0])
    if len(rows[0]) <= size:
        return f(*map(wide, rows))
    pieces = zip(*(row.split(size) for row in rows), strict=True)
    return torch.stack([f(*map(wide, piece)) for piece in pieces]).sum(0)


def _piece(row: Tensor) -> int:
    return max(len(row) // 4, 1 << 18)


def _blocked_norm(row: Tensor) -> Tensor:
    # One long float32 accumulation is 1e-4 off on a video latent; the norm of the norms of blocks is not.
    length = torch.linalg.vector_norm
    whole = len(row) // _BLOCK * _BLOCK
    blocks = length(wide(row[:whole]).view(-1, _BLOCK), dim=1)
    return length(torch.cat((blocks, length(wide(row[whole:])).view(1))))


def reduce_each(f: Callable[..., Tensor], *tensors: Tensor, keep: int = 1) -> Tensor:
    """f over each sample of `tensors` flattened to (n,), or with keep = 2 to (C, n); (B, 1, ...) or (B, C, 1,
    ...)."""
    samples = zip(*tensors, strict=True)
    values = torch.stack([f(*(t.flatten(keep - 1) for t in sample)) for sample in samples])
    return values.view(*tensors[0].shape[:keep], *(1,) * (tensors[0].ndim - keep))


def per_sample(value: float | Tensor, like: Tensor) -> float | Tensor:
    """A number as it is; a tensor of B values as (B, 1, ..., 1) on the device of `like`, in float32 or
    better.

    Raises ValueError if the tensor holds neither B values nor one.
    """
    if not isinstance(value, Tensor):
        return float(value)
    if value.numel() not in (1, like.shape[0]):
        raise ValueError(f"expected one value or one per sample ({like.shape[0]}), got shape {tuple(value.shape)}.")
    return value.to(like.device, wide_dtype(like)).reshape(-1, *(1,) * (like.ndim - 1))


def wide_dtype(t: Tensor) -> torch.dtype:
    """float32 for the half precisions, else the dtype of `t`."""
    return torch.promote_types(t.dtype, torch.float32)


def wide(t: Tensor) -> Tensor:
    """`t` in float32 or better; itself if it is already."""
    return t.to(wide_dtype(t))


def safe(t: Tensor) -> Tensor:
    """`t` to divide by: 1 where it is too small."""
    return torch.where(t > torch.finfo(t.dtype).tiny, t, 1.0)
