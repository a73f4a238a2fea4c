"""Samples with NaN or infinite predictions, kept apart from the others.

Shapes: tensors (B, ...), masks (B,). No device synchronisation.
"""

import torch
from torch import Tensor

from .operands import operands

__all__ = ["finite_per_sample", "select_per_sample"]


@operands(dtype_of="wide")
def finite_per_sample(t: Tensor) -> Tensor:
    """Which samples are finite throughout: bool, (B,)."""
    # Minimum and maximum are NaN if any value is, and finding them makes no temporary of the size of t.
    flat = t.flatten(1)
    low, high = flat.amin(1), flat.amax(1)
    return (low - low + (high - high)) == 0.0  # a difference of NaN or infinity with itself is NaN


@operands(apart=["mask"])
def select_per_sample(mask: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """Sample i of `a` where mask[i], else of `b`. A sample that is not selected has no influence, even if it is NaN."""
    return torch.where(mask.view(-1, *(1,) * (a.ndim - 1)), a, b)
