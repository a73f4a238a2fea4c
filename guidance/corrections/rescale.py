"""Rescaled guidance: a guided prediction with the spread of the conditional one.

Paper: Lin, Liu, Li, Yang 2023, "Common Diffusion Noise Schedules and Sample Steps are Flawed" (Rescale CFG), arXiv
2305.08891, section 3.4.
Formula: G' = phi r G + (1 - phi) G,  r = std(C)/std(G)
Space: that of the tensors; the paper's are v-predictions. `rescale` takes them as they come. `rescale_denoised` takes
denoised predictions and rescales their v, eps or x0 without converting them: v and eps are y = x - b D up to a factor,
and scaling y by k = 1 + phi (r - 1) gives D' = k D + (1 - k) x/b, with
    v      b = (sigma^2 + d^2)/d^2 (VE; d = data_sigma), 1 (flow: the velocity)
    eps    b = 1 (VE), 1 - t (flow)
    x0     D' = k D
Shapes: all (B, C, *spatial); one standard deviation per sample, over everything but the batch. Units: phi in [0, 1],
0.7 in the paper, a float or a tensor of B values; sigma is the host's.
Identity: phi = 0, or guided equal to cond, returns guided bit for bit.
Departures: a constant G (0/0) is left as it is. The host's node works in the v of VE models for flow models too. It
takes deviations over dimensions 1 to 3 alone; these omit the width of a video, and a sound does not have all of them.
"""

from torch import Tensor

from ..tensors.operands import operands
from ..tensors.parametrisation import Parametrisation
from ..tensors.rescaled import rescale_output, with_spread_of
from ..tensors.values import quoted

__all__ = ["rescale", "rescale_denoised"]


@operands
def rescale(guided: Tensor, cond: Tensor, *, phi: float | Tensor = 0.7) -> Tensor:
    """phi r G + (1 - phi) G, in the dtype of `guided`."""
    return with_spread_of(cond, guided, phi)


@operands
def rescale_denoised(
    guided: Tensor,
    cond: Tensor,
    *,
    x: Tensor,
    sigma: float | Tensor,
    kind: str,
    space: str = "v",
    phi: float | Tensor = 0.7,
    data_sigma: float = 1.0,
) -> Tensor:
    """D', in the dtype of `guided`, for denoised predictions; space is "v", "eps" or "x0".

    Raises ValueError for an unknown space.
    """
    if space not in SPACES:
        raise ValueError(f"space must be one of {', '.join(SPACES)}, got {quoted(space)}.")
    predicts = "velocity" if (space, kind) == ("v", "flow") else space
    of = Parametrisation(kind, predicts, data_sigma)
    return rescale_output(guided, cond, x=x, sigma=sigma, of=of, phi=phi)


SPACES = ("v", "eps", "x0")
