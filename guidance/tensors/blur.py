"""A Gaussian blur along one axis as a matrix, shared by SEG and SAG.

Shapes: (length, length), to be multiplied from the left. Units: sigma in places along the axis.
Departures: borders are reflected. There are at most as many taps as places, or one more if the places are even in
number, as in SEG's code.
"""

import torch
from torch import Tensor

from .reduce import wide_dtype


def blur_matrix(length: int, *, taps: int, sigma: float, like: Tensor) -> Tensor:
    """The matrix of a blur with an odd number of taps, on the device and in the dtype of `like`."""
    reach = min(taps, length + 1 - length % 2) // 2
    steps = torch.arange(-reach, reach + 1, device=like.device)
    kernel = torch.softmax(-0.5 * (steps.to(wide_dtype(like)) / sigma).square(), 0)
    places = torch.arange(length, device=like.device)[:, None] + steps
    reflected = (length - 1) - (length - 1 - places.abs()).abs()
    blur = kernel.new_zeros(length, length).scatter_add_(1, reflected, kernel.expand(length, -1))
    return blur.to(like.dtype)
