"""Samples with NaN or infinite predictions, kept apart from the others.

Shapes: tensors (B, ...), masks (B,). No device synchronisation.
"""

import torch
from torch import Tensor

from .operands import operands
from .reduce import reduce_each

__all__ = ["finite_per_sample", "select_per_sample"]


@operands(dtype_of="wide")
def finite_per_sample(t: Tensor) -> Tensor:
    """Which samples are finite throughout: bool, (B,)."""
    # Minimum and maximum are NaN if any value is, and finding them makes no temporary of the size of t.
    ends = reduce_each(lambda x: torch.stack((x.amin(), x.amax())).isfinite().all(), t)
    return ends.flatten()


@operands(apart=["mask"])
def select_per_sample(mask: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """Sample i of `a` where mask[i], else of `b`. A sample that is not selected has no influence, even if it is NaN."""
    return torch.where(mask.view(-1, *(1,) * (a.ndim - 1)), a, b)
