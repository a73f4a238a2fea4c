"""Dynamic Negative Guidance (DNG): the likelier the run is to end at what a negative names, the stronger it is.

Paper: Koulischer, Deleu, Raya, Demeester, Ambrogioni 2024, "Dynamic Negative Guidance of Diffusion Models", arXiv
2410.14398, and its official code.
Formula: D = D_b - lam (D_n - D_b),  lam = lam0 p/(1 - p),  p the running posterior of the negative
         a step x -> x', sigma -> sigma' multiplies p by exp((-tau L + delta (1 + sigma'^2))/(2 s^2)) and keeps it
         in [p_min, p_max];  L = ||x' - mu_n||^2 - ||x' - mu_b||^2,  mu_i = r x + (1 - r) D_i,  r = (sigma'/sigma)^2,
         s^2 = sigma'^2 (1 - r)
Space: D is free. The posterior is in VE coordinates, which for flow are x/(1 - t) and t/(1 - t). The paper's are VP:
tau acts alike in both, and the factor 1 + sigma'^2 makes delta do so.
Shapes: base, negative, x (B, C, *spatial); one posterior per sample. Units: scale lam0; base D_b is
the prediction to go from, the positive's for text to image, the unconditional one in the paper's other experiments.
Defaults: those of the example run in the code's README. The code's own are scale 1, prior 0.2, tau 1, delta 0 and
p_max 0.99.
Identity: scale = 0 is base, bit for bit; D_n = D_b with delta = 0 leaves p as it is.
Departures: log p is kept, in float64 where the device has it. L/(2 s^2) is taken as ((1 - r) e - 2 <d, x' - x>)/(2
sigma'^2) with d = D_n - D_b and e = ||D_n - x||^2 - ||D_b - x||^2, which neither cancels nor divides by 1 - r. A
transition that does not lower the noise, or begins at t = 1, leaves p as it is. The likelihood ratio is that of a
step of DDPM; after a deterministic step it is a heuristic.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from ..tensors.convert import noise_ratio
from ..tensors.memory import Memory
from ..tensors.operands import operands
from ..tensors.reduce import dot, dot_difference, per_sample, wide

__all__ = ["dynamic_negative", "dynamic_negative_terms"]


class Seen(NamedTuple):
    """A step as the next one needs it, in VE coordinates.

    log_p  the posterior, (B, 1, ..., 1)
    sigma  the level, (B, 1, ..., 1)
    x      the latent
    apart  d of the card, in the shape of x
    lead   e of the card, (B, 1, ..., 1)
    """

    log_p: Tensor
    sigma: Tensor
    x: Tensor
    apart: Tensor
    lead: Tensor


@operands
def dynamic_negative(
    base: Tensor,
    negative: Tensor,
    *,
    x: Tensor,
    sigma: float | Tensor,
    kind: str,
    scale: float | Tensor = 5.0,
    prior: float = 0.01,
    tau: float = 0.2,
    delta: float = 2e-4,
    p_min: float = 1e-6,
    p_max: float = 0.8,
    state: Memory | None = None,
) -> Tensor:
    """D_b - lam (D_n - D_b), in the dtype of `base`. `state` carries the posterior; without it p stays `prior`."""
    apart, lam = _pull(base, negative, x, sigma, kind, scale, prior, tau, delta, p_min, p_max, state)
    return torch.addcmul(wide(base), apart, -lam).to(base.dtype)


@operands
def dynamic_negative_terms(
    base: Tensor,
    negative: Tensor,
    *,
    x: Tensor,
    sigma: float | Tensor,
    kind: str,
    scale: float | Tensor = 5.0,
    prior: float = 0.01,
    tau: float = 0.2,
    delta: float = 2e-4,
    p_min: float = 1e-6,
    p_max: float = 0.8,
    state: Memory | None = None,
) -> Tensor:
    """- lam (D_n - D_b) alone, to be added to the result of any rule."""
    apart, lam = _pull(base, negative, x, sigma, kind, scale, prior, tau, delta, p_min, p_max, state)
    return (apart * -lam).to(base.dtype)


def _pull(
    base, negative, x, sigma, kind, scale, prior, tau, delta, p_min, p_max, state: Memory | None
) -> tuple[Tensor, Tensor]:
    """D_n - D_b, and lam per sample; keeps the step in `state`."""
    if not 0.0 < p_min <= prior <= p_max < 1.0:
        raise ValueError(f"expected 0 < p_min <= prior <= p_max < 1, got {p_min}, {prior} and {p_max}.")
    b, n = wide(base), wide(negative)
    before = state.value if state is not None else None
    precise = _precise(b.device)
    sigma = _each(per_sample(sigma, b), b, precise)
    place, level = _in_ve(wide(x), sigma, kind)
    log_p = _each(math.log(prior), b, precise)
    if before is not None:
        log_p = _updated(before, place, level, tau, delta).clamp(math.log(p_min), math.log(p_max))
    apart = n - b
    if state is not None:
        lead = dot(apart, apart) + 2.0 * dot_difference(apart, b, place)
        state.keep(Seen(log_p, level, place, apart, lead.to(precise)))
    p = log_p.exp()
    return apart, per_sample(scale, b) * (p / (1.0 - p)).to(b.dtype)


def _updated(before: Seen, x: Tensor, sigma: Tensor, tau: float, delta: float) -> Tensor:
    """log p after the step from `before` to x."""
    r = (sigma / before.sigma).square()
    moved = dot_difference(before.apart, x, before.x).to(r.dtype)
    evidence = -tau * ((1.0 - r) * before.lead - 2.0 * moved)
    bias = delta * (1.0 + sigma.square()) / (1.0 - r)
    denoised = (r < 1.0) & (sigma > 0.0) & before.sigma.isfinite()
    return torch.where(denoised, before.log_p + (evidence + bias) / (2.0 * sigma.square()), before.log_p)


def _in_ve(x: Tensor, sigma: Tensor, kind: str) -> tuple[Tensor, Tensor]:
    """A copy of x and its level in VE coordinates; infinite for flow at t = 1."""
    signal = 1.0 - sigma if kind == "flow" else torch.ones_like(sigma)
    return x / signal.to(x.dtype), noise_ratio(sigma, kind=kind)


def _each(value: float | Tensor, like: Tensor, dtype: torch.dtype) -> Tensor:
    """One value per sample, (B, 1, ..., 1)."""
    shape = (len(like), *(1,) * (like.ndim - 1))
    if isinstance(value, Tensor):
        return value.to(dtype).expand(shape)
    return torch.full(shape, value, dtype=dtype, device=like.device)


def _precise(device: torch.device) -> torch.dtype:
    """float64 on the devices that are known to have it, else float32."""
    return torch.float64 if device.type in ("cpu", "cuda") else torch.float32
