"""Temporal Score Rescaling (TSR): sampling at another temperature, from broader (k < 1) to sharper (k > 1).

Paper: Xu, Wu, Park, Zhou, Tulsiani 2025, "Temporal Score Rescaling for Temperature Sampling in Diffusion and Flow
Models", arXiv 2510.01184, equation 6.
Formula, with x = alpha x0 + sigma eps, and alpha = 1 for "ve", 1 - t for "flow" (sigma = t):
    eps' = r eps,  r = (alpha^2 S^2 + sigma^2)/(alpha^2 S^2/k + sigma^2)
    D' = r D + ((1 - r)/alpha) x
Space: eps. Shapes: denoised, x (B, C, *spatial). Units: sigma is the host's, from 0 on and in flow models up to 1;
k > 0 is the inverse temperature; data_sigma is S > 0, in the units of the latent: how far apart the data lie that are
to be seen as one. Each is a float or B values.
Identity: k = 1 returns D bit for bit, and so does t = 1, where there is no signal to rescale.
Departures: none in the formula. It is written without a division by alpha or sigma, so that neither end needs a case of
its own: at sigma = 0, r = k and D' = k D + (1 - k) x, which is D there. The host returns D itself.
"""

from torch import Tensor

from ..tensors.operands import operands
from ..tensors.reduce import per_sample, weighted_sum

__all__ = ["temporal_score_rescaling"]


@operands
def temporal_score_rescaling(
    denoised: Tensor,
    *,
    x: Tensor,
    sigma: float | Tensor,
    kind: str,
    k: float | Tensor = 0.95,
    data_sigma: float | Tensor = 1.0,
) -> Tensor:
    """r D + ((1 - r)/alpha) x, in the dtype of `denoised`."""
    sigma, k, spread = (per_sample(value, denoised) for value in (sigma, k, data_sigma))
    alpha = _SIGNAL[kind](sigma)
    signal, noise = (alpha * spread) ** 2, sigma**2
    whole = signal + k * noise
    r = k * (signal + noise) / whole
    rest = alpha * spread**2 * (1.0 - k) / whole
    return weighted_sum((r, denoised), (rest, x))


_SIGNAL = {"ve": lambda sigma: 1.0, "flow": lambda t: 1.0 - t}
