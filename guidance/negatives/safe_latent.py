"""Safe Latent Diffusion (SLD): away from a concept, but only at those values of the latent that lean towards it.

Paper: Schramowski, Brack, Deiseroth, Kersting 2022, "Safe Latent Diffusion: Mitigating Inappropriate Degeneration in
Diffusion Models", arXiv 2211.05105.
Formula: in eps and per value, with the prediction eps_S for the concept and the momentum nu,
         mu = min(1, s |eps_c - eps_S|) where eps_c - eps_S < lambda, else 0
         gamma = mu (eps_S - eps_u) + s_m nu,   nu <- beta nu + (1 - beta) gamma
         eps = eps_u + w (eps_c - eps_u - gamma), without gamma during the warm-up
Space: eps. A difference of eps is one of D divided by -k, with k = sigma ("ve") or t/(1 - t) ("flow"). The minus turns
the comparison round: D_c - D_S > -lambda k. Shapes: cond, uncond, concept (B, C, *spatial).
Units: scale is the host scale w; concept_scale s, threshold lambda in eps, momentum_scale s_m, momentum_beta in [0,
1). Identity: without a momentum to carry on, concept_scale = 0 and a concept equal to uncond are `cfg`, bit for bit.
Departures: none in the formula. At the ends of a run eps or D has no limit: k is kept above 1e-6, and the momentum,
which is in eps, is left out where k is infinite (flow at t = 1).
"""

import torch
from torch import Tensor

from ..cfg import cfg
from ..tensors.convert import noise_ratio
from ..tensors.memory import Memory
from ..tensors.operands import operands
from ..tensors.reduce import per_sample, wide

__all__ = ["safe_latent", "safe_latent_terms"]


@operands
def safe_latent(
    cond: Tensor,
    uncond: Tensor,
    concept: Tensor,
    *,
    scale: float | Tensor,
    sigma: float | Tensor,
    kind: str,
    concept_scale: float = 1000.0,
    threshold: float = 0.01,
    momentum_scale: float = 0.3,
    momentum_beta: float = 0.4,
    warm: bool = True,
    state: Memory | None = None,
) -> Tensor:
    """The D of the card, in the dtype of `cond`. `warm` is False during the warm-up; `state` carries nu."""
    c, u = wide(cond), wide(uncond)
    away = _away(c, u, wide(concept), sigma, kind, concept_scale, threshold, momentum_scale, momentum_beta, state)
    guided = cfg(c, u, scale=scale)
    return (guided.addcmul_(away, _as_tensor(scale, c)) if warm else guided).to(cond.dtype)


@operands
def safe_latent_terms(
    cond: Tensor,
    uncond: Tensor,
    concept: Tensor,
    *,
    scale: float | Tensor,
    sigma: float | Tensor,
    kind: str,
    concept_scale: float = 1000.0,
    threshold: float = 0.01,
    momentum_scale: float = 0.3,
    momentum_beta: float = 0.4,
    warm: bool = True,
    state: Memory | None = None,
) -> Tensor:
    """What `safe_latent` adds to plain CFG; zeros during the warm-up."""
    c, u = wide(cond), wide(uncond)
    away = _away(c, u, wide(concept), sigma, kind, concept_scale, threshold, momentum_scale, momentum_beta, state)
    return away.mul_(per_sample(scale, c) if warm else 0.0).to(cond.dtype)


def _away(
    c, u, s, sigma, kind, concept_scale, threshold, momentum_scale, momentum_beta, state: Memory | None
) -> Tensor:
    """k gamma: what D gains when eps loses gamma. Keeps nu in `state`."""
    k = _as_tensor(noise_ratio(per_sample(sigma, c), kind=kind), c).clamp(min=1e-6)
    away = _share(c - s, k, concept_scale, threshold).mul_(u - s)
    if state is None:
        return away
    nu = state.value
    if nu is not None:
        away.addcmul_(nu, torch.where(k.isfinite(), momentum_scale * k, 0.0))
    after = away * ((1.0 - momentum_beta) / k)
    state.keep(after if nu is None else after.add_(nu, alpha=momentum_beta))
    return away


def _share(apart: Tensor, k: Tensor, concept_scale: float, threshold: float) -> Tensor:
    """mu of each value; 0 where the prediction is already far enough from the concept."""
    return (apart.abs() * (concept_scale / k)).clamp_(max=1.0).masked_fill_(apart <= -threshold * k, 0.0)


def _as_tensor(value: float | Tensor, like: Tensor) -> Tensor:
    """One value per sample, (B, 1, ..., 1), or one for all."""
    value = per_sample(value, like)
    return value if isinstance(value, Tensor) else like.new_full((1,) * like.ndim, value)
