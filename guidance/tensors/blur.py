"""A Gaussian blur along one axis as a matrix, shared by SEG and SAG.

Shapes: (length, length), to be multiplied from the left. Units: sigma in places along the axis.
Departures: borders are reflected; no more taps than places (one more if their number is even), as in SEG's code.
"""

import torch
from torch import Tensor

from .reduce import wide_dtype


def blur_matrix(length: int, *, taps: int, sigma: float, like: Tensor) -> Tensor:
    """The blur with an odd number of taps, on the device and in the dtype of `like`."""
    reach = min(taps, length + 1 - length % 2) // 2
    steps = torch.arange(-reach, reach + 1, device=like.device)
    kernel = torch.softmax(-0.5 * (steps.to(wide_dtype(like)) / sigma).square(), 0)
    places = torch.arange(length, device=like.device)[:, None] + steps
    reflected = (length - 1) - (length - 1 - places.abs()).abs()
    blur = kernel.new_zeros(length, length).scatter_add_(1, reflected, kernel.expand(length, -1))
    return blur.to(like.dtype)
