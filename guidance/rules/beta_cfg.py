"""beta-CFG: the update divided by a power of its own norm.

Paper: Malarz, Kasymov, Zieba, Tabor, Spurek 2025, "Classifier-free Guidance with Adaptive Scaling" (beta-CFG), arXiv
2502.10574, with the gamma of its official code.
Formula: d = eps_c - eps_u        D = D_u + max(floor, w (r/||d||)^gamma) (D_c - D_u)
    paper   r = 1, no floor, and w = w0 B(p; a, b), the beta distribution's density (`Beta` in strength/schedule.py)
    ours    r = reference sqrt(n) for n values a sample: where the root mean square of d is `reference`, w means
            what it means in CFG, whatever the size of the latent
Space: the rule is space-free, the norm is of eps: ||D_c - D_u||/sigma (VE), (1 - t)/t ||D_c - D_u|| (flow).
Shapes: cond, uncond (B, C, *spatial), the norm per sample over everything but the batch.
Units: scale is the host scale w. With gamma = 1 and no reference the update has the norm w in eps, so w has another
range (||d|| is about 5 to 30 for SD at 512 pixels). floor is a host scale; at 1 the weight is never less than that of
cond. sigma is the host's, a float or B values, above 0.
Identity: gamma = 0 with a floor up to w is `cfg`, bit for bit; scale = 0 without a floor is uncond.
Departures: floor and reference. Where d is zero, as at t = 1 of a flow model, the weight is not divided.
"""

import math

import torch
from torch import Tensor

from ..cfg import cfg
from ..tensors.operands import operands
from ..tensors.reduce import distance, per_sample, safe

__all__ = ["beta_cfg"]

_EPS_OVER_X0 = {
    "ve": lambda s: 1.0 / s,
    "flow": lambda t: abs(1.0 - t) / t,
}


@operands
def beta_cfg(
    cond: Tensor,
    uncond: Tensor,
    *,
    scale: float | Tensor,
    gamma: float,
    sigma: float | Tensor,
    kind: str,
    reference: float | None = None,
    floor: float = 0.0,
) -> Tensor:
    """D_u + max(floor, w (r/||d||)^gamma) (D_c - D_u), in the dtype of `cond`."""
    w = per_sample(scale, cond)
    if gamma != 0.0:
        w = w * _shrinkage(cond, uncond, gamma, per_sample(sigma, cond), kind, reference)
    return cfg(cond, uncond, scale=w.clamp(min=floor) if isinstance(w, Tensor) else max(w, floor))


def _shrinkage(
    cond: Tensor, uncond: Tensor, gamma: float, sigma: float | Tensor, kind: str, reference: float | None
) -> Tensor:
    """(r/||d||)^gamma per sample."""
    length = distance(uncond, cond) * _EPS_OVER_X0[kind](sigma)
    r = 1.0 if reference is None else reference * math.sqrt(cond[0].numel())
    return torch.where(length > torch.finfo(length.dtype).tiny, (r / safe(length)) ** gamma, 1.0)
