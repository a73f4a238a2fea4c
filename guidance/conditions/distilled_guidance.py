"""Conditional and unconditional prediction of a guidance-distilled model, from two values of its guidance embedding.

Paper: Meng, Rombach, Gao, Kingma, Ermon, Ho, Salimans 2022, "On Distillation of Guided Diffusion Models", arXiv
2210.03142. Such a model is trained to predict D(g) = D_u + g (D_c - D_u) in one pass (their w is g - 1). The way back
is ours.
Formula: Delta = (D(g2) - D(g1))/(g2 - g1)    D_c = D(g1) + (1 - g1) Delta    D_u = D(g1) - g1 Delta
Space: free. Shapes: low = D(g1), high = D(g2) (B, C, *spatial).
Units: g1 and g2 are host scales, as the model's embedding takes them (Flux-dev: 3.5 when unset); g1 < g2, floats
or B values.
Identity: g1 = 1 returns low as D_c, g2 = 1 high; g1 = 0 returns low as D_u, bit for bit. `cfg` of the two at g2 is
high, up to rounding.
Departures: exact for a perfectly distilled model. A real one is only nearly a straight line in g, so D_c and D_u depend
on g1 and g2. A wide distance between g1 and g2 keeps the noise of the difference small.
"""

import torch
from torch import Tensor

from ..tensors.operands import operands
from ..tensors.reduce import per_sample, wide

__all__ = ["distilled_pair"]


@operands
def distilled_pair(
    low: Tensor, high: Tensor, *, low_guidance: float | Tensor, high_guidance: float | Tensor
) -> tuple[Tensor, Tensor]:
    """D_c and D_u, in the dtype of `low`."""
    g1, g2 = per_sample(low_guidance, low), per_sample(high_guidance, low)
    return _at(1.0, low, high, g1, g2), _at(0.0, low, high, g1, g2)


def _at(g: float, low: Tensor, high: Tensor, g1: float | Tensor, g2: float | Tensor) -> Tensor:
    """D(g), on the line through D(g1) and D(g2)."""
    place = (g - g1) / (g2 - g1)
    if isinstance(place, float):
        return torch.lerp(low, high, place)
    return torch.lerp(wide(low), wide(high), place).to(low.dtype)
