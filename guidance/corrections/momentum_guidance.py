"""Momentum Guidance (MG): the prediction moved on in the direction in which it has been changing.

Paper: Liao, Yu, Su, Zhang, Chen, Liu 2026, "Momentum Guidance: Plug-and-Play Guidance for Flow Models", arXiv
2602.20360, equations 12 and 13.
Formula: v = (x - D)/sigma              D' = D - alpha sigma (v - m) while t_min <= t <= t_max, else D
         m <- (1 - beta) v + beta m     always, and of the v before its own correction; at first m = v
Space: v is the velocity of a flow model, as in the paper, and eps for "ve", which is ours. Shapes: denoised
(the guided prediction), x (B, C, *spatial). Units: alpha in [0, 2], a float or B values; beta in [0, 1), the
share of the past in m; t_min and t_max noise levels in [0, 1]: t for "flow", sigma/(1 + sigma) for "ve".
Identity: alpha = 0, the first step, and any step outside the window, bit for bit.
Departures: the paper counts time from noise to data, so its window [0.05, 0.7] is t_min 0.3, t_max 0.95. An
optional rescaling of m to the norm of v is left out.
"""

from torch import Tensor

from ..tensors.convert import noise_level
from ..tensors.memory import Memory
from ..tensors.operands import operands
from ..tensors.reduce import per_sample, safe, wide

__all__ = ["momentum_guidance"]


@operands
def momentum_guidance(
    denoised: Tensor,
    *,
    x: Tensor,
    sigma: float | Tensor,
    kind: str,
    begun: float | Tensor | None = None,
    alpha: float | Tensor = 0.5,
    beta: float = 0.6,
    t_min: float = 0.3,
    t_max: float = 0.95,
    state: Memory,
) -> Tensor:
    """D - alpha sigma (v - m), in the dtype of `denoised`. `state` carries m from step to step.

    `begun` is the sigma at which the step began, where a sampler calls the model further on too: the window is the
    step's.
    """
    d, s = wide(denoised), per_sample(sigma, denoised)
    v = (wide(x) - d).div_(safe(s))
    behind = v if state.value is None else state.value
    back = behind - v
    state.keep(v.lerp_(behind, beta))
    t = noise_level(s if begun is None else per_sample(begun, d), kind=kind)
    inside = (t >= t_min) & (t <= t_max)
    return back.mul_(per_sample(alpha, d) * s * inside).add_(d).to(denoised.dtype)
