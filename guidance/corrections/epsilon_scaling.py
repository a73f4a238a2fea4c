"""Epsilon scaling: a little less of the predicted noise is taken away at every step.

Paper: Ning, Li, Su, Salah, Ertugrul 2023, "Elucidating the Exposure Bias in Diffusion Models" (epsilon scaling), arXiv
2308.15321, the uniform schedule.
Formula: D' = x - (x - D)/s, that is eps' = eps/s
Space: x - D, which is the noise of a VE model (times sigma) and the velocity of a flow model (times t).
Shapes: denoised, x (B, C, *spatial). Units: scale is s, a ratio, a float or B values above 0; 1.004 to 1.017 in the
authors' code, at 100 steps.
Identity: scale = 1 returns D bit for bit.
Departures: the paper knows no flow models. For these the velocity is scaled, as by the host; scaling the noise would
leave D undetermined at t = 1.
"""

import torch
from torch import Tensor

from ..tensors.operands import operands
from ..tensors.reduce import per_sample, wide

__all__ = ["epsilon_scaling"]


@operands
def epsilon_scaling(denoised: Tensor, *, x: Tensor, scale: float | Tensor = 1.005) -> Tensor:
    """x - (x - D)/s, in the dtype of `denoised`."""
    return torch.lerp(wide(x), wide(denoised), per_sample(1.0 / scale, denoised)).to(denoised.dtype)
