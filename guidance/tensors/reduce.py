"""Per-sample reductions and weighted sums, shared by all methods.

Shapes: (B, ...) with at least one dimension besides the batch; results are (B, 1, ..., 1) and broadcast back.
Units: none. float16 and bfloat16 accumulate in float32, float32 and float64 in their own precision.
Departures: samples are reduced one at a time. A reduction over several rows at once may be split differently
than one over a single row, and its rounding would then depend on the batch; this way it never does. Large samples are
taken in pieces, whose temporaries stay in the processor's cache.
"""

from collections.abc import Callable, Iterable, Iterator

import torch
from torch import Tensor

from .operands import operands

__all__ = ["dims", "dot", "norm", "per_sample"]

# Values in a piece. A CPU loses time on pieces that do not fit its cache, other devices on every call.
_PIECE = 1 << 19
_PIECE_ELSEWHERE = 1 << 21
_BLOCK = 1 << 10
_FEW = 1 << 16
_TINY = torch.finfo(torch.float32).tiny
_WIDE = (torch.float32, torch.float64)


def dims(t: Tensor) -> tuple[int, ...]:
    """All dimensions but the batch."""
    return tuple(range(1, t.ndim))


@operands(dtype_of="wide")
def dot(a: Tensor, b: Tensor) -> Tensor:
    """<a_i, b_i> per sample, (B, 1, ..., 1), in float32 or better."""
    return totals(lambda x, y: (inner(x, y),), a, b)[0]


@operands(dtype_of="wide")
def norm(a: Tensor) -> Tensor:
    """||a_i||_2 per sample, (B, 1, ..., 1), in float32 or better."""
    return totals(lambda x: (square(x),), a)[0].sqrt_()


def mean_abs(a: Tensor) -> Tensor:
    """The mean of |a_i| per sample, (B, 1, ..., 1), in float32 or better."""
    return totals(lambda x: (total(x.abs()),), a)[0] / a[0].numel()


def distance(a: Tensor, b: Tensor) -> Tensor:
    """||a_i - b_i||_2 per sample, (B, 1, ..., 1), without a temporary of the size of the difference."""
    return distances(a, b)[0]


def distances(a: Tensor, *others: Tensor) -> tuple[Tensor, ...]:
    """||a_i - b_i||_2 with each other b per sample in one pass, each (B, 1, ..., 1)."""
    squares = totals(lambda x, *ys: tuple(square(x - y) for y in ys), a, *others)
    return tuple(square.sqrt_() for square in squares)


def norm_of_sum(a: Tensor, b: Tensor, factor: float | Tensor) -> Tensor:
    """||a_i + factor_i b_i||_2 per sample, (B, 1, ..., 1), without a temporary of the size of the sum."""
    return totals(lambda x, y, k: (square(plus(x, y, k)),), a, b, factor)[0].sqrt_()


def dot_difference(a: Tensor, b: Tensor, c: Tensor) -> Tensor:
    """<a_i, b_i - c_i> per sample, (B, 1, ..., 1), in float32 or better."""
    return totals(lambda x, y, z: (_inner_(y - z, x),), a, b, c)[0]


def products(a: Tensor, *others: Tensor) -> tuple[Tensor, ...]:
    """<a_i, a_i>, and <a_i, b_i> with each other b, per sample in one pass, each (B, 1, ..., 1)."""
    return totals(lambda x, *ys: (square(x), *[inner(x, y) for y in ys]), a, *others)


def products_along(origin: Tensor, a: Tensor, *others: Tensor) -> tuple[Tensor, ...]:
    """||a_i - o_i||^2, and <a_i - o_i, b_i - o_i> with each other b, per sample in one pass, each (B, 1, ..., 1)."""

    def products(o: Tensor, x: Tensor, *ys: Tensor) -> tuple[Tensor, ...]:
        p = x - o
        return square(p), *[_inner_(y - o, p) for y in ys]

    return totals(products, origin, a, *others)


def products_with_difference(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """<b_i, b_i>, <b_i, a_i - b_i> and ||a_i - b_i||^2 per sample in one pass, each (B, 1, ..., 1)."""

    def products(x: Tensor, y: Tensor) -> tuple[Tensor, ...]:
        d = x - y
        yy, dd = square(y), square(d)
        return yy, _inner_(d, y), dd

    return totals(products, a, b)


def products_from(origin: Tensor, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """||a_i - o_i||^2, <a_i - o_i, b_i - o_i> and ||b_i - o_i||^2 per sample in one pass, each (B, 1, ..., 1)."""
    return totals(lambda o, x, y: _products(x - o, y - o), origin, a, b)


def products_of_residuals(origin: Tensor, a: Tensor, b: Tensor, share: float | Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """<p, p>, <p, q> and <q, q> for p = origin - share a and q = origin - share b, per sample in one pass.

    Each is (B, 1, ..., 1).
    """
    return totals(lambda o, x, y, k: _products(plus(o, x, k), plus(o, y, k)), origin, a, b, -share)


def _products(p: Tensor, q: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """<p, p>, <p, q> and <q, q>; p may be overwritten."""
    pp, qq = square(p), square(q)
    return pp, _inner_(p, q), qq


def spread(a: Tensor) -> Tensor:
    """||a_i - mean of a_i||_2 per sample, (B, 1, ..., 1), in float32 or better: sqrt(n) standard deviations."""
    return _spreads(lambda x: (x,), torch.sub, a)[0]


def spreads_of_sums(a: Tensor, factor: float | Tensor, *others: Tensor) -> tuple[Tensor, ...]:
    """`spread` of a_i + factor_i b_i for each other b, in one pass, without temporaries of the size of the sums."""
    return _spreads(lambda x, k, *ys: (plus(x, y, k) for y in ys), Tensor.sub_, a, factor, *others)


def _spreads(f: Callable[..., Iterable[Tensor]], less: Callable, *tensors: float | Tensor) -> tuple[Tensor, ...]:
    """`spread` of each tensor that f makes. `less(tensor, number)` subtracts, and may write into the tensor."""

    def squares(*sample: float | Tensor) -> tuple[Tensor, ...]:
        first, *others = pieces(*sample)
        if not others:
            return tuple(square(less(y, mean(y))) for y in f(*map(wide, first)))
        # Differences from the mean of a few values: near enough to the true mean for the squares to keep their digits.
        few = (t[..., :_FEW] if isinstance(t, Tensor) else t for t in first)
        starts = [mean(y) for y in f(*map(wide, few))]

        def moments(*piece: float | Tensor) -> tuple[Tensor, ...]:
            differences = (less(y, start) for y, start in zip(f(*map(wide, piece)), starts, strict=True))
            return tuple(moment for d in differences for moment in (total(d), square(d)))

        sums = _added([moments(*piece) for piece in (first, *others)])
        count = sample[0].numel()
        pairs = zip(sums[::2], sums[1::2], strict=True)
        return tuple((around - off.square() / count).clamp_(min=0.0) for off, around in pairs)

    return tuple(around.sqrt_() for around in _each(squares, *tensors))


def inner(a: Tensor, b: Tensor) -> Tensor:
    """<a, b> of a piece, (1, ..., 1)."""
    # Not torch.dot: 3e-5 off on a video latent, and its last bits depend on where the tensor lies in memory.
    return total(a * b)


def _inner_(a: Tensor, b: Tensor) -> Tensor:
    """`inner` of a temporary a, which may be overwritten."""
    return inner(a, b) if recorded(a, b) else total(a.mul_(b))


def square(t: Tensor) -> Tensor:
    """||t||^2 of a piece, (1, ..., 1)."""
    if t.numel() < 1 << 16 or t.numel() % _BLOCK:
        return total(t * t)
    # Norms of blocks are quicker for many values. One norm of them all would be 1e-4 off on a video latent.
    blocks = t.reshape(*(1,) * (t.ndim - 2), -1, _BLOCK)
    return total(torch.linalg.vector_norm(blocks, dim=-1, keepdim=True).square())


def total(t: Tensor) -> Tensor:
    """The sum of a piece, (1, ..., 1)."""
    return t.sum(None, keepdim=True)


def mean(t: Tensor) -> Tensor:
    """The mean of a piece, (1, ..., 1)."""
    return t.mean(None, keepdim=True)


def totals(f: Callable[..., tuple[Tensor, ...]], *tensors: float | Tensor) -> tuple[Tensor, ...]:
    """The sums of f over each sample, each (B, 1, ..., 1).

    f takes pieces of the tensors and returns the sums over a piece, each (1, ..., 1). A piece is in float32 or better,
    with as many dimensions as the tensor and a batch of one. A number, or a tensor of one value per sample, comes with
    every piece.
    """
    if is_piece(tensors[0]):
        return f(*map(wide, tensors))
    return _each(lambda *sample: _added([f(*map(wide, piece)) for piece in pieces(*sample)]), *tensors)


def weighted_sum(*terms: tuple[float | Tensor, Tensor]) -> Tensor:
    """The sum of w t over the terms (w, t), in the dtype of the first t; w is a number, or (B, 1, ..., 1)."""
    weights, tensors = zip(*terms, strict=True)

    def weigh(*piece: float | Tensor, out: Tensor | None = None) -> Tensor:
        ts, ws = piece[: len(tensors)], piece[len(tensors) :]
        result = torch.mul(ts[0], ws[0], out=out)
        for t, w in zip(ts[1:], ws[1:], strict=True):
            add_(result, t, w)
        return result

    return by_piece(weigh, *tensors, *weights)


def by_piece(f: Callable[..., Tensor], first: Tensor, *others: float | Tensor) -> Tensor:
    """f of these arguments, piece by piece; in the dtype of the first, which is a tensor.

    f works value by value. An argument is a tensor like the first, a number, or a tensor of one value per sample.
    f(*pieces, out=out) writes its result into `out`; without `out` it makes a new tensor.
    """
    if first.numel() <= values_at_once(first) or recorded(first, *others):
        made = f(*map(wide, (first, *others)))
        # Calling `to` without need takes as long as a small sum.
        return made if made.dtype == first.dtype else made.to(first.dtype)
    out = torch.empty(first.shape, dtype=first.dtype, device=first.device)
    for sample in samples(out, first, *others):
        for result, *piece in pieces(*sample):
            if result.dtype in _WIDE:
                f(*piece, out=result)
            else:
                result.copy_(f(*map(wide, piece)))
    return out


def recorded(*tensors: float | Tensor) -> bool:
    """Whether autograd records what is done with these tensors. Results must then be new tensors."""
    return torch.is_grad_enabled() and any(isinstance(t, Tensor) and t.requires_grad for t in tensors)


def _each(f: Callable[..., tuple[Tensor, ...]], *tensors: float | Tensor) -> tuple[Tensor, ...]:
    """f of each sample, one after the other, its results joined along the batch."""
    found = [f(*sample) for sample in samples(*tensors)]
    return found[0] if len(found) == 1 else tuple(map(torch.cat, zip(*found, strict=True)))


def _added(found: list[tuple[Tensor, ...]]) -> tuple[Tensor, ...]:
    """The sums over all pieces, from the sums over each piece."""
    if len(found) == 1:
        return found[0]
    return tuple(torch.cat(sums, -1).sum(-1, keepdim=True) for sums in zip(*found, strict=True))


def samples(first: Tensor, *others: float | Tensor) -> Iterator[tuple]:
    """Each sample as a batch of one. What is the same for all samples comes with each of them."""
    batch = first.shape[0]
    if batch == 1:
        return iter([(first, *others)])
    split = [t.split(1) if isinstance(t, Tensor) and t.shape[0] == batch else [t] * batch for t in others]
    return zip(first.split(1), *split, strict=True)


def pieces(first: Tensor, *others: float | Tensor) -> list[tuple]:
    """A sample in pieces (1, ..., n), n being a length that the device is quick with; a small sample as it is."""
    size, count = values_at_once(first), first.numel()
    if count <= size:
        return [(first, *others)]
    row = (*(1,) * (first.ndim - 1), -1)
    split = first.reshape(row).split(size, -1)
    rest = [
        t.reshape(row).split(size, -1) if isinstance(t, Tensor) and t.numel() == count else [t] * len(split)
        for t in others
    ]
    return list(zip(split, *rest, strict=True))


def is_piece(t: Tensor) -> bool:
    """Whether a tensor is a single sample that needs no splitting."""
    return t.shape[0] == 1 and t.numel() <= values_at_once(t)


def values_at_once(t: Tensor) -> int:
    """The number of values in a piece with which the tensor's device is quick."""
    return _PIECE if t.is_cpu else _PIECE_ELSEWHERE


def reduce_each(f: Callable[..., Tensor], *tensors: Tensor, keep: int = 1) -> Tensor:
    """f of each sample, which it gets flattened to (n,), or to (C, n) with keep = 2.

    The result is (B, 1, ..., 1), or (B, C, 1, ..., 1).
    """
    samples = zip(*tensors, strict=True)
    values = torch.stack([f(*(t.flatten(keep - 1) for t in sample)) for sample in samples])
    return values.view(*tensors[0].shape[:keep], *(1,) * (tensors[0].ndim - keep))


def per_sample(value: float | Tensor, like: Tensor) -> float | Tensor:
    """A number as it is; a tensor of B values as (B, 1, ..., 1) on the device of `like`, in float32 or better.

    A tensor with a value for each place, such as (1, 1, F, 1, 1) for the frames of a video, comes in the shape of
    `like`. Raises ValueError for any other tensor.
    """
    if not isinstance(value, Tensor):
        return float(value)
    value = value.to(like.device, wide_dtype(like))
    if value.ndim == like.ndim and value.shape[1:].numel() > 1:
        if all(n in (1, of) for n, of in zip(value.shape, like.shape, strict=True)):
            return value.expand(like.shape)
    elif value.numel() in (1, like.shape[0]):
        return value.reshape(-1, *(1,) * (like.ndim - 1))
    raise ValueError(
        f"expected one value, one per sample ({like.shape[0]}) or one per place of {tuple(like.shape)}, got shape "
        f"{tuple(value.shape)}."
    )


def plus(a: Tensor, b: Tensor, factor: float | Tensor) -> Tensor:
    """a + factor b; the factor is a number, or a tensor of one value per sample."""
    return torch.addcmul(a, b, factor) if isinstance(factor, Tensor) else torch.add(a, b, alpha=factor)


def add_(a: Tensor, b: Tensor, factor: float | Tensor) -> Tensor:
    """`plus`, written into a."""
    return a.addcmul_(b, factor) if isinstance(factor, Tensor) else a.add_(b, alpha=factor)


def share(product: Tensor, square: Tensor) -> Tensor:
    """<a, b>/||b||^2, how much of b is in a; 0 where b is 0. `product` is <a, b>, `square` ||b||^2."""
    # <a, b> is 0 too where b is 0.
    return product / square.clamp_min(_TINY)


def wide_dtype(t: Tensor) -> torch.dtype:
    """float32 for the half precisions, else the dtype of `t`."""
    return t.dtype if t.dtype in _WIDE else torch.float32


def wide(t: float | Tensor) -> float | Tensor:
    """`t` in float32 or better; `t` itself if it is a number or already in float32 or better."""
    return t.float() if isinstance(t, Tensor) and t.dtype not in _WIDE else t


def safe(t: float | Tensor) -> float | Tensor:
    """`t`, which is not negative, as a divisor: 1 where it is 0 or too small to divide by."""
    return (t if t > _TINY else 1.0) if isinstance(t, float) else t + (t <= _TINY)
