"""Adaptive Projected Guidance (APG): guidance without its part along the conditional prediction, bounded and damped.

Paper: Sadat, Hilliges, Weber 2024, "Eliminating Oversaturation and Artifacts of High Guidance Scales in Diffusion
Models" (APG), arXiv 2410.02416, algorithm 1.
Formula: m = D_c - D_u + momentum m_before        g = m min(1, norm_threshold/||m||), or m with a threshold of 0
         par = (<g, D_c>/||D_c||^2) D_c           D = D_c + (w - 1) (g - par + eta par)
Space: x0. Shapes: cond, uncond (B, C, *spatial); norms and products per sample. Units: scale is the host scale
w; norm_threshold r in the units of the latent, summed over all its values (2.5 to 15 for SD-class latents of
512 to 1024 pixels, in proportion to the root of their number); eta in [0, 1]; momentum in (-1, 0].
Identity: scale = 1 is cond; eta = 1 without threshold and momentum is `cfg`, bit for bit.
Departures: where D_c is zero, par is 0. The host's node at w is the paper's at w + 1. The guider of diffusers adds the
update to D_u instead, and uses the network's output as if it were x0.
"""

import torch
from torch import Tensor

from ..cfg import cfg
from ..tensors.memory import Memory
from ..tensors.operands import operands
from ..tensors.reduce import dot, per_sample, products, products_with_difference, safe, share, weighted_sum, wide

__all__ = ["apg"]


@operands
def apg(
    cond: Tensor,
    uncond: Tensor,
    *,
    scale: float | Tensor,
    eta: float = 0.0,
    norm_threshold: float = 0.0,
    momentum: float = 0.0,
    state: Memory | None = None,
) -> Tensor:
    """D_c + (w - 1) (g - par + eta par), in the dtype of `cond`.

    `state` carries m from step to step; call `state.begin(step)` at each step. Only a momentum needs it. Without it
    each call is a first step.
    """
    if eta == 1.0 and norm_threshold == 0.0 and momentum == 0.0:
        return cfg(cond, uncond, scale=scale)
    m = _with_momentum(wide(cond), wide(uncond), momentum, state) if momentum and state is not None else None
    cc, cm, mm = _products(cond, uncond, m)
    bound = (norm_threshold / safe(mm.sqrt())).clamp(max=1.0) if norm_threshold else torch.ones_like(mm)
    pull = (per_sample(scale, cond) - 1.0) * bound
    lost = pull * (1.0 - eta) * share(cm, cc)
    if m is None:
        return weighted_sum((1.0 + pull - lost, cond), (-pull, uncond))
    return weighted_sum((1.0 - lost, cond), (pull, m))


def _with_momentum(c: Tensor, u: Tensor, momentum: float, state: Memory) -> Tensor:
    m = c - u
    if state.value is not None:
        m.add_(state.value, alpha=momentum)
    state.keep(m)
    return m


def _products(c: Tensor, u: Tensor, m: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
    """||D_c||^2, <D_c, m> and ||m||^2. An m of None stands for D_c - D_u, which is never made then."""
    if m is not None:
        return *products(c, m), dot(m, m)
    cc, cd, dd = products_with_difference(u, c)
    return cc, -cd, dd
