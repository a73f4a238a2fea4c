"""CFG++ for DPM-Solver++: the steps of its samplers 2M and 2S, with a guided clean part and unguided noise.

Paper: Chung, Kim, Park, Nam, Ye 2024, "CFG++: Manifold-constrained Classifier Free Guidance for Diffusion Models",
arXiv 2406.08070, in the form of its official code for SDXL.
Paper: Lu, Zhou, Bao, Chen, Li, Zhu 2022, "DPM-Solver++: Fast Solver for Guided Sampling of Diffusion Probabilistic
Models", arXiv 2211.01095.
Formula, in x = a x0 + s eps (ve: a = 1, s = sigma; flow: a = 1 - t, s = t), D_lam = D_u + lam (D_c - D_u):
    step    x' = a' D_lam + (s'/s)(x - a D_u)
    2M      the step, with D_lam + (1 - e^-h)/(2r) (D_u - D_u of the step before) in place of D_lam
    2S      first the step to the middle level, with D_u in place of D_lam; then the step from x to the end, with the
            D_lam and D_u of the middle
where h is the length of the step in log(a/s), r h that of the step before, and the middle level halves h.
Space: x0. Shapes: tensors (B, C, *spatial). Units: sigmas are floats, the host's own, of one run and so the same for
all samples; lam in [0, 1] is the weight with which the caller made `guided`.
Identity: none. lam = 0, or D_c = D_u, is DPM-Solver++ itself; a step to 0 gives D_lam, whatever the order.
Departures: the official code knows VE levels only. A flow model's run is the VE run of x/a at the levels s/a, and is
taken so: DPM-Solver++ stays exact ("bridge form") and every step is finite. h is infinite from t = 1. There 2M's
correction of the next step is 0, and the middle level of 2S is t = 1 again: both become first-order steps, as in the
limit. `mixed` is the host's form, and that of the official code for SD1.5:
    2M corrects with D_lam - D_u of the step before, which differs by (1 - e^-h)/(2r) (D_lam - D_u);
    2S goes to the middle by a CFG++ step, which differs by D_lam - D_u; at its end it also uses the first D_lam, which
    differs by e^-h (D_lam - D_lam of the middle).
The host uses the VE formulas for every model, so kind "ve" is its form for flow models too.
"""

import math

import torch
from torch import Tensor

from ..tensors.convert import flow_sigma, half_log_snr, noise_ratio
from ..tensors.operands import operands
from ..tensors.reduce import wide

__all__ = ["cfgpp_2m", "cfgpp_2s_end", "cfgpp_2s_middle", "cfgpp_step", "middle_sigma", "renoise"]


@operands
def cfgpp_step(x: Tensor, clean: Tensor, noisy: Tensor, *, sigma: float, sigma_next: float, kind: str) -> Tensor:
    """a' clean + (s'/s)(x - a noisy): a step to `sigma_next` that takes its noise from the prediction `noisy`."""
    state = torch.add(wide(x), noisy, alpha=-_SIGNAL[kind](sigma)).mul_(sigma_next / sigma)  # s' eps
    return state.add_(clean, alpha=_SIGNAL[kind](sigma_next)).to(x.dtype)


@operands
def cfgpp_2m(
    x: Tensor,
    guided: Tensor,
    uncond: Tensor,
    before: Tensor | None,
    *,
    sigma_before: float,
    sigma: float,
    sigma_next: float,
    kind: str,
    mixed: bool = False,
) -> Tensor:
    """A step of 2M. `before` is the uncond of the step before, made at `sigma_before`; None before the first step.

    The correction is 0 in a step to 0, after a step from t = 1 and after a step without a length, which is one whose
    `sigma_before` equals `sigma`. Pass these as equal at the first step.
    """
    share = _correction(sigma_before, sigma, sigma_next, kind)
    if share:
        change = torch.sub(wide(guided if mixed else uncond), before)
        guided = change.mul_(share).add_(guided)
    return cfgpp_step(x, guided, uncond, sigma=sigma, sigma_next=sigma_next, kind=kind)


@operands
def cfgpp_2s_middle(
    x: Tensor,
    guided: Tensor,
    uncond: Tensor,
    *,
    sigma: float,
    sigma_middle: float,
    kind: str,
    mixed: bool = False,
) -> Tensor:
    """The state at which 2S evaluates the model for the second time."""
    return cfgpp_step(x, guided if mixed else uncond, uncond, sigma=sigma, sigma_next=sigma_middle, kind=kind)


@operands
def cfgpp_2s_end(
    x: Tensor,
    guided: Tensor,
    guided_middle: Tensor,
    uncond_middle: Tensor,
    *,
    sigma: float,
    sigma_next: float,
    kind: str,
    mixed: bool = False,
) -> Tensor:
    """The state at the end of a step of 2S. `guided` was made at its beginning; only the host's form uses it."""
    noisy = uncond_middle
    if mixed:
        noisy = torch.sub(wide(guided_middle), guided).add_(uncond_middle)
    return cfgpp_step(x, guided_middle, noisy, sigma=sigma, sigma_next=sigma_next, kind=kind)


def middle_sigma(sigma: float, sigma_next: float, *, kind: str) -> float:
    """The level halfway between two in log(a/s): 1 for a step from t = 1 of a flow model, 0 for a step to 0."""
    if sigma_next == 0:
        return 0.0
    ratio = math.sqrt(noise_ratio(sigma, kind=kind) * noise_ratio(sigma_next, kind=kind))
    return flow_sigma(ratio) if kind == "flow" else ratio


@operands
def renoise(
    x: Tensor, noise: Tensor, *, sigma_down: float, sigma_next: float, kind: str, s_noise: float = 1.0
) -> Tensor:
    """The state back up at `sigma_next`, with fresh unit noise, after an ancestral step went down to `sigma_down`.

    (a'/a_down) x + sqrt(s'^2 - (s_down a'/a_down)^2) s_noise noise. The clean part and the noise have the shares that
    belong to `sigma_next`.
    """
    if sigma_down == sigma_next:  # also t = 1, where there is no signal to keep
        return x
    grown = _SIGNAL[kind](sigma_next) / _SIGNAL[kind](sigma_down)
    fresh = math.sqrt(max(sigma_next**2 - (sigma_down * grown) ** 2, 0.0)) * s_noise
    return torch.mul(wide(x), grown).add_(noise, alpha=fresh).to(x.dtype)


def _correction(sigma_before: float, sigma: float, sigma_next: float, kind: str) -> float:
    """(1 - e^-h)/(2r), the share of the last step's change that this step adds."""
    first, here, there = (half_log_snr(s, kind=kind) for s in (sigma_before, sigma, sigma_next))
    before, h = here - first, there - here
    if not before > 0 or math.isinf(h):  # `before` is NaN between two levels of t = 1, and `before <= 0` false
        return 0.0
    return -math.expm1(-h) * h / (2 * before)


_SIGNAL = {
    "ve": lambda sigma: 1.0,
    "flow": lambda t: 1.0 - t,
}
