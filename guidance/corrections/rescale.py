"""Rescaled guidance: a guided prediction with the spread of the conditional one.

Paper: Lin, Liu, Li, Yang 2023, "Common Diffusion Noise Schedules and Sample Steps are Flawed" (Rescale CFG), arXiv
2305.08891, section 3.4.
Formula: G' = phi r G + (1 - phi) G,  r = std(C)/std(G)
Space: that of the tensors; the paper's are v-predictions. `rescale` takes them as they come. `rescale_denoised` takes
denoised predictions and rescales their v, eps or x0 without converting them: v and eps are y = x - b D up to a factor,
    v      b = sigma^2 + 1 (VE), 1 (flow: the velocity)
    eps    b = 1 (VE), 1 - t (flow)
and scaling y by k = 1 + phi (r - 1) gives D' = k D + (1 - k) x/b.
Shapes: all (B, C, *spatial); one standard deviation per sample, over everything but the batch. Units: phi in [0, 1],
0.7 in the paper, a float or a tensor of B values; sigma is the host's.
Identity: phi = 0, or guided equal to cond, returns guided bit for bit.
Departures: a constant G (0/0) is left as it is. The host's node works in the v of VE models for flow models too. It
takes deviations over dimensions 1 to 3 alone; these omit the width of a video, and a sound does not have all of them.
"""

import torch
from torch import Tensor

from ..tensors.reduce import per_sample, safe, spread, spreads_of_sums, weighted_sum, wide
from ..tensors.values import quoted

__all__ = ["rescale", "rescale_denoised"]


def rescale(guided: Tensor, cond: Tensor, *, phi: float | Tensor = 0.7) -> Tensor:
    """phi r G + (1 - phi) G, in the dtype of `guided`."""
    g = wide(guided)
    return (g * (1.0 + _change(spread(g), spread(cond), phi))).to(guided.dtype)


def rescale_denoised(
    guided: Tensor,
    cond: Tensor,
    *,
    x: Tensor,
    sigma: float | Tensor,
    kind: str,
    space: str = "v",
    phi: float | Tensor = 0.7,
) -> Tensor:
    """D', in the dtype of `guided`, for denoised predictions; space is "v", "eps" or "x0".

    Raises ValueError for an unknown space.
    """
    if space not in SPACES:
        raise ValueError(f"space must be one of {', '.join(SPACES)}, got {quoted(space)}.")
    if space == "x0":
        return rescale(guided, cond, phi=phi)
    b = _SHARE[space, kind](per_sample(sigma, x))
    change = _change(*spreads_of_sums(x, -b, guided, cond), phi)
    # At t = 1 the eps of a flow does not depend on D, so b and the change are 0.
    return weighted_sum((1.0 + change, guided), (-change / safe(b), x))


def _change(actual: Tensor, wanted: Tensor, phi: float | Tensor) -> Tensor:
    """phi (r - 1), and 0 where there is no spread to scale."""
    defined = actual > torch.finfo(actual.dtype).tiny
    return (wanted - actual) / safe(actual) * per_sample(phi, actual) * defined


SPACES = ("v", "eps", "x0")
_SHARE = {
    ("v", "ve"): lambda s: s**2 + 1.0,
    ("v", "flow"): lambda t: 1.0,
    ("eps", "ve"): lambda s: 1.0,
    ("eps", "flow"): lambda t: 1.0 - t,
}
