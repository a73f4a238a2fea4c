"""Conversions between the denoised prediction D, noise eps, velocity v and score, for both families.

Formula, kind "ve" (eps, v and EDM models; x = x0 + sigma eps):
    eps = (x - D)/sigma    v = (x/(sigma^2+1) - D) sqrt(sigma^2+1)/sigma    score = (D - x)/sigma^2
Formula, kind "flow" (rectified flow; x = (1-t) x0 + t eps, sigma = t):
    eps = (x - (1-t) D)/t    v = (x - D)/t    score = ((1-t) D - x)/t^2
Space: from and to denoised. Shapes: x, D, eps, v (B, ...); sigma a float or a tensor of B values, above 0
(and below 1 where eps of a flow model is turned back into D). Units: sigma is the host's. Returns the dtype
of x.
Departures: "v" of a VE model is the VP v-prediction in VE coordinates, "v" of a flow model its velocity
d x/d t.
"""

import math

import torch
from torch import Tensor

from .operands import operands
from .reduce import per_sample, wide

__all__ = [
    "denoised_from_eps",
    "denoised_from_v",
    "eps_from_denoised",
    "flow_sigma",
    "half_log_snr",
    "noise_level",
    "score_from_denoised",
    "v_from_denoised",
    "ve_sigma",
]


@operands
def eps_from_denoised(x: Tensor, denoised: Tensor, sigma: float | Tensor, *, kind: str) -> Tensor:
    """The noise prediction that belongs to `denoised`."""
    return _apply(_EPS, kind, x, denoised, sigma)


@operands
def v_from_denoised(x: Tensor, denoised: Tensor, sigma: float | Tensor, *, kind: str) -> Tensor:
    """The v-prediction (VE) or velocity (flow) that belongs to `denoised`."""
    return _apply(_V, kind, x, denoised, sigma)


@operands
def score_from_denoised(x: Tensor, denoised: Tensor, sigma: float | Tensor, *, kind: str) -> Tensor:
    """The gradient of the log density of the noisy x."""
    return _apply(_SCORE, kind, x, denoised, sigma)


@operands
def denoised_from_eps(x: Tensor, eps: Tensor, sigma: float | Tensor, *, kind: str) -> Tensor:
    """Inverse of `eps_from_denoised`; undefined for flow at t = 1."""
    return _apply(_FROM_EPS, kind, x, eps, sigma)


@operands
def denoised_from_v(x: Tensor, v: Tensor, sigma: float | Tensor, *, kind: str) -> Tensor:
    """Inverse of `v_from_denoised`."""
    return _apply(_FROM_V, kind, x, v, sigma)


def half_log_snr(sigma: float | Tensor, *, kind: str) -> float | Tensor:
    """log(signal/noise): -log sigma for "ve", -logit t for "flow"; inf at 0, -inf for flow at 1."""
    return _HALF_LOG_SNR[kind](sigma)


def flow_sigma(sigma_ve: float | Tensor) -> float | Tensor:
    """The flow level t = sigma/(1 + sigma) with the signal-to-noise ratio of a VE sigma; 1 at inf."""
    if isinstance(sigma_ve, Tensor):
        return 1.0 / (1.0 + 1.0 / sigma_ve)
    return 1.0 if math.isinf(sigma_ve) else sigma_ve / (1.0 + sigma_ve)


def ve_sigma(t: float | Tensor) -> float | Tensor:
    """The VE sigma t/(1 - t) with the signal-to-noise ratio of a flow level; inf at 1."""
    if isinstance(t, Tensor):
        return t / (1.0 - t)
    return math.inf if t == 1.0 else t / (1.0 - t)


def noise_level(sigma: float | Tensor, *, kind: str) -> float | Tensor:
    """The noise level t, 0 to 1, that papers use as time: sigma for "flow", sigma/(1 + sigma) for "ve"."""
    return _LEVEL[kind](sigma)


def noise_ratio(sigma: float | Tensor, *, kind: str) -> float | Tensor:
    """noise/signal, the factor from eps to D: D_a - D_b = -ratio (eps_a - eps_b); inf for flow at 1."""
    return ve_sigma(sigma) if kind == "flow" else sigma


_EPS = {
    "ve": lambda x, d, s: (x - d) / s,
    "flow": lambda x, d, t: (x - (1 - t) * d) / t,
}
_V = {
    "ve": lambda x, d, s: (x / (s**2 + 1) - d) * ((s**2 + 1) ** 0.5 / s),
    "flow": lambda x, d, t: (x - d) / t,
}
_SCORE = {
    "ve": lambda x, d, s: (d - x) / s**2,
    "flow": lambda x, d, t: ((1 - t) * d - x) / t**2,
}
_FROM_EPS = {
    "ve": lambda x, eps, s: x - s * eps,
    "flow": lambda x, eps, t: (x - t * eps) / (1 - t),
}
_FROM_V = {
    "ve": lambda x, v, s: x / (s**2 + 1) - v * (s / (s**2 + 1) ** 0.5),
    "flow": lambda x, v, t: x - t * v,
}
_LEVEL = {
    "ve": flow_sigma,
    "flow": lambda t: t,
}
_HALF_LOG_SNR = {
    "ve": lambda s: -_log(s),
    "flow": lambda t: _log(1 - t) - _log(t),
}


def _apply(table, kind: str, x: Tensor, prediction: Tensor, sigma: float | Tensor) -> Tensor:
    return table[kind](wide(x), wide(prediction), per_sample(sigma, x)).to(x.dtype)


def _log(value: float | Tensor) -> float | Tensor:
    if isinstance(value, Tensor):
        return torch.log(value)
    return math.log(value) if value > 0 else -math.inf
