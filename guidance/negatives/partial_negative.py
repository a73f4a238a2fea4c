"""Partial negative: a negative prompt that counts for less than a whole one, or for part of the run.

Paper: Ban, Wang, Zhou, Cheng, Gong, Hsieh 2024, "Understanding the Impact of Negative Prompts: When and How Do They
Take Effect?", arXiv 2406.02965, delayed negatives. The partial strength has none.
Formula: D_base = (1 - nu) D_empty + nu D_n, to be used as `uncond` of any rule of combination
Space: free. Shapes: uncond_empty, negative (B, C, *spatial). Units: strength nu in [0, 1], a float or a
tensor of B values; the negative's weight in the result is (w - 1) nu.
Identity: bit for bit, strength = 1 returns the negative (an ordinary negative prompt) and 0 the empty one.
Departures: a delayed negative is this function with nu from `Interval(1.0, outside=0.0, start=0.17,
end=0.5)`, the window in which that paper finds negatives to act without changing the layout.
"""

from torch import Tensor

from ..cfg import cfg
from ..tensors.operands import operands

__all__ = ["partial_negative"]


@operands(dtype_of="negative")
def partial_negative(uncond_empty: Tensor, negative: Tensor, *, strength: float | Tensor) -> Tensor:
    """(1 - nu) D_empty + nu D_n, in the dtype of `negative`."""
    return cfg(negative, uncond_empty, scale=strength)
