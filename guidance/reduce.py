"""Per-sample reductions, shared by all methods.

Shapes: (B, ...) with at least one dimension besides the batch; results are (B, 1, ..., 1) and broadcast back.
Units: none. float16 and bfloat16 accumulate in float32, float32 and float64 in their own precision.
Departures: samples are reduced one at a time. A reduction over several rows at once may be split differently
than one over a single row, and its rounding would then depend on the batch; this way it never does.
"""

import functools
from collections.abc import Callable, Iterator

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


def mean_abs(a: Tensor) -> Tensor:
    """The mean of |a_i| per sample, (B, 1, ..., 1), in float32 or better."""
    return reduce_each(lambda x: _by_piece(lambda x: x.abs().sum(), x), a) / a[0].numel()


def distance(a: Tensor, b: Tensor) -> Tensor:
    """||a_i - b_i||_2 per sample, (B, 1, ..., 1), without a temporary of the size of the difference."""

    def length(x: Tensor, y: Tensor) -> Tensor:
        size = _piece(x)
        pieces = zip(x.split(size), y.split(size), strict=True)
        return torch.linalg.vector_norm(torch.stack([_blocked_norm(wide(p) - wide(q)) for p, q in pieces]))

    return reduce_each(length, a, b)


def norm_of_sum(a: Tensor, b: Tensor, factor: Tensor) -> Tensor:
    """||a_i + factor_i b_i||_2 per sample, (B, 1, ..., 1), without a temporary of the size of the sum."""

    def length(x: Tensor, y: Tensor, k: Tensor) -> Tensor:
        return torch.linalg.vector_norm(torch.stack([_blocked_norm(piece) for piece in _sums(x, y, k)]))

    return reduce_each(length, a, b, factor)


def spread(a: Tensor) -> Tensor:
    """||a_i - mean of a_i||_2 per sample, (B, 1, ..., 1), in float32 or better: sqrt(n) standard deviations."""
    return reduce_each(lambda x: _spread(wide(p) for p in x.split(_piece(x))), a)


def spread_of_sum(a: Tensor, b: Tensor, factor: Tensor) -> Tensor:
    """`spread` of a_i + factor_i b_i, without a temporary of the size of the sum."""
    return reduce_each(lambda x, y, k: _spread(_sums(x, y, k)), a, b, factor)


def _sums(x: Tensor, y: Tensor, k: Tensor) -> Iterator[Tensor]:
    """x + k y, piece by piece."""
    size = _piece(x)
    return (torch.addcmul(wide(p), wide(q), k) for p, q in zip(x.split(size), y.split(size), strict=True))


def _spread(pieces: Iterator[Tensor]) -> Tensor:
    # Each piece around its own mean, and then the means around theirs: no sum of squares loses to a large mean.
    found = [
        (len(piece), mean, _blocked_norm(piece - mean).square()) for piece, mean in ((p, p.mean()) for p in pieces)
    ]
    centre = sum(n * mean for n, mean, _ in found) / sum(n for n, _, _ in found)
    return sum(within + n * (mean - centre).square() for n, mean, within in found).sqrt()


def dot_from(origin: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """<a_i - origin_i, b_i - origin_i> per sample, (B, 1, ..., 1), in float32 or better."""
    return reduce_each(lambda o, x, y: _by_piece(lambda o, x, y: ((x - o) * (y - o)).sum(), o, x, y), origin, a, b)


def dot_difference(a: Tensor, b: Tensor, c: Tensor) -> Tensor:
    """<a_i, b_i - c_i> per sample, (B, 1, ..., 1), in float32 or better."""
    return reduce_each(lambda x, y, z: _by_piece(lambda x, y, z: (x * (y - z)).sum(), x, y, z), a, b, c)


def products_with_difference(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """<b_i, b_i>, <b_i, a_i - b_i> and ||a_i - b_i||^2 per sample in one pass, each (B, 1, ..., 1)."""

    def products(x: Tensor, y: Tensor) -> Tensor:
        d = x - y
        dd, bb = _blocked_norm(d).square(), _blocked_norm(y).square()
        return torch.stack((bb, d.mul_(y).sum(), dd))

    return _three(products, a, b)


def products_from(origin: Tensor, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """||a_i - o_i||^2, <a_i - o_i, b_i - o_i> and ||b_i - o_i||^2 per sample in one pass, each (B, 1, ..., 1)."""

    def products(o: Tensor, x: Tensor, y: Tensor) -> Tensor:
        p, q = x - o, y - o
        pp, qq = _blocked_norm(p).square(), _blocked_norm(q).square()
        return torch.stack((pp, p.mul_(q).sum(), qq))

    return _three(products, origin, a, b)


def _three(f: Callable[..., Tensor], *tensors: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The three sums of f over each sample, each (B, 1, ..., 1)."""
    samples = zip(*tensors, strict=True)
    values = torch.stack([_by_piece(f, *(t.flatten() for t in sample)) for sample in samples], dim=1)
    return values.view(3, -1, *(1,) * (tensors[0].ndim - 1)).unbind()


def products_of_residuals(origin: Tensor, a: Tensor, b: Tensor, share: float | Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """<p, p>, <p, q> and <q, q> per sample in one pass, each (B, 1, ..., 1), of p = origin - share a and q =
    origin - share b."""

    def products(k: float | Tensor, o: Tensor, x: Tensor, y: Tensor) -> Tensor:
        p, q = _residual(o, x, k), _residual(o, y, k)
        pp, qq = _blocked_norm(p).square(), _blocked_norm(q).square()
        return torch.stack((pp, p.mul_(q).sum(), qq))

    shares = share.flatten().expand(len(origin)) if isinstance(share, Tensor) else [share] * len(origin)
    rows = zip(shares, origin, a, b, strict=True)
    values = [_by_piece(functools.partial(products, k), *(t.flatten() for t in row)) for k, *row in rows]
    return torch.stack(values, dim=1).view(3, -1, *(1,) * (a.ndim - 1)).unbind()


def _residual(origin: Tensor, a: Tensor, share: float | Tensor) -> Tensor:
    if isinstance(share, Tensor):
        return torch.addcmul(origin, a, share, value=-1.0)
    return torch.sub(origin, a, alpha=share)


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


def add_scaled_(a: Tensor, b: Tensor, factor: float | Tensor) -> Tensor:
    """a + factor b, written into `a` and without a temporary of its size; a tensor's factor is per sample."""
    return a.addcmul_(b, factor) if isinstance(factor, Tensor) else a.add_(b, alpha=factor)


def wide_dtype(t: Tensor) -> torch.dtype:
    """float32 for the half precisions, else the dtype of `t`."""
    return torch.promote_types(t.dtype, torch.float32)


def wide(t: Tensor) -> Tensor:
    """`t` in float32 or better; itself if it is already."""
    return t.to(wide_dtype(t))


def safe(t: float | Tensor) -> float | Tensor:
    """`t` to divide by: 1 where it is too small."""
    if isinstance(t, float):
        return t if t > torch.finfo(torch.float32).tiny else 1.0
    return torch.where(t > torch.finfo(t.dtype).tiny, t, 1.0)
