"""A further pull: away from what a weaker model predicts for the same positive.

Paper: Karras, Aittala, Kynkäänniemi, Lehtinen, Aila, Laine 2024, "Guiding a Diffusion Model with a Bad Version of
Itself" (autoguidance), arXiv 2406.02507. The other terms make D_bad with the same network.
Formula: R = D + s (D_c - D_bad)        result = R (rescale std(D_c)/std(R) + 1 - rescale)
Space: free without rescale, x0 with it. Shapes: denoised, cond, weak (B, C, *spatial); deviations per sample.
Units: s is an added weight, 0 off, a float or a tensor of B values. With D = D_c it is w - 1 of the papers that
write D_bad + w (D_c - D_bad). rescale in [0, 1].
Identity: s = 0 and rescale = 0 is D, and so is D_bad = D_c, bit for bit.
Departures: the host's rescale (SLG) takes the deviations over the whole batch, here they are per sample.
"""

import torch
from torch import Tensor

from ..tensors.operands import operands
from ..tensors.reduce import per_sample, safe, spread, wide

__all__ = ["add_term"]


@operands
def add_term(denoised: Tensor, cond: Tensor, weak: Tensor, *, scale: float | Tensor, rescale: float = 0.0) -> Tensor:
    """D + s (D_c - D_bad), in the dtype of `denoised`."""
    s = per_sample(scale, denoised)
    result = (wide(cond) - wide(weak)).mul_(s).add_(wide(denoised))
    if rescale:
        result.mul_(_factor(wide(cond), result, rescale))
    return result.to(denoised.dtype)


def _factor(cond: Tensor, result: Tensor, rescale: float) -> Tensor:
    deviation = spread(result)
    ratio = torch.where(deviation > 0, spread(cond) / safe(deviation), 1.0)
    return 1.0 + rescale * (ratio - 1.0)
