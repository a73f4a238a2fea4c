"""Rules that work value by value, token by token or picture by picture, run in pieces.

The temporaries of a piece are small and stay in the cache.
Shapes: predictions (B, C, *spatial). The pictures of a latent are its last two dimensions; a 3-D latent has rows for
pictures.
Departures: samples are taken one at a time. A transform of several pictures at once may round differently than one of a
single picture; this way the result never depends on the batch.
"""

import math
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from .reduce import is_piece, per_sample, recorded, samples, values_at_once, wide


def in_pieces(
    f: Callable[..., Tensor], scale: float | Tensor, *predictions: Tensor, shape: tuple[int, ...] = ()
) -> Tensor:
    """f(w, *pieces) for all pieces, put together in the dtype and shape of the first prediction.

    w is the sample's scale, a float or a tensor without dimensions. The pieces are (n, *shape), in float32 or better.
    """
    first = predictions[0]
    if is_piece(first) or recorded(scale, *predictions):
        made = [f(w, *_shaped(shape, *map(wide, sample))) for w, *sample in _samples(scale, *predictions)]
        whole = made[0] if len(made) == 1 else torch.stack(made)
        return whole.view(first.shape).to(first.dtype)
    n = max(values_at_once(first) // math.prod(shape), 1)
    out = torch.empty(first.shape, dtype=first.dtype, device=first.device)
    for w, *sample in _samples(scale, out, *predictions):
        for result, *pieces in zip(*(t.split(n) for t in _shaped(shape, *sample)), strict=True):
            result.copy_(f(w, *map(wide, pieces)))
    return out


def _shaped(shape: tuple[int, ...], *tensors: Tensor) -> list[Tensor]:
    return [t.reshape(-1, *shape) for t in tensors]


def picture(t: Tensor) -> tuple[int, int]:
    """Height and width of the pictures of a latent; the height is 1 if the latent is 3-D."""
    return (1 if t.ndim == 3 else t.shape[-2]), t.shape[-1]


def _samples(scale: float | Tensor, first: Tensor, *others: Tensor) -> Iterator[tuple]:
    """Each sample's scale and tensors."""
    for t, w, *rest in samples(first, per_sample(scale, first), *others):
        yield w.view(()) if isinstance(w, Tensor) else w, t, *rest
