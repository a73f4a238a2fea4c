"""Rules that work value by value or picture by picture, in pieces: their temporaries are small and stay in the cache.

Shapes: predictions (B, C, *spatial). The pictures of a latent are its last two dimensions, of a 3-D one its rows.
Departures: samples are taken one at a time. What a transform of several pictures rounds to may depend on their
number; this way it never depends on the batch.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from .reduce import per_sample, wide

# A CPU pays for values that do not fit its cache, other devices for every call.
_VALUES = {"cpu": 1 << 16}
_VALUES_ELSEWHERE = 1 << 21


def in_pieces(
    f: Callable[..., Tensor], scale: float | Tensor, *predictions: Tensor, shape: tuple[int, ...] = ()
) -> Tensor:
    """f(w, *pieces), in the dtype and shape of the first prediction.

    w is the sample's scale, a float or a tensor without dimensions; pieces are (n, *shape) in float32 or better.
    """
    first = predictions[0]
    out = torch.empty(first.shape, dtype=first.dtype, device=first.device)
    n = max(_VALUES.get(first.device.type, _VALUES_ELSEWHERE) // math.prod(shape), 1)
    for w, *sample in zip(_each(scale, first), out, *predictions, strict=True):
        for result, *pieces in zip(*(t.reshape(-1, *shape).split(n) for t in sample), strict=True):
            result.copy_(f(w, *map(wide, pieces)))
    return out


def picture(t: Tensor) -> tuple[int, int]:
    """Height and width of the pictures of a latent; a height of 1 if it is 3-D."""
    return (1 if t.ndim == 3 else t.shape[-2]), t.shape[-1]


def _each(scale: float | Tensor, like: Tensor):
    w = per_sample(scale, like)
    return w.flatten().expand(len(like)) if isinstance(w, Tensor) else [w] * len(like)
