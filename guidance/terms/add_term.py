"""A further pull: away from what a weaker model predicts for the same positive.

Paper: Karras, Aittala, Kynkäänniemi, Lehtinen, Aila, Laine 2024, "Guiding a Diffusion Model with a Bad Version of
Itself" (autoguidance), arXiv 2406.02507. The other terms make D_bad with the same network.
Formula: R = D + s (D_c - D_bad)        result = R (k std(D_c)/std(R) + 1 - k),  k = rescale min(1, |s|)
    with `of`, the same of the network's outputs for R and D_c in place of R and D_c (`rescale_output`)
Space: free without rescale; with it x0, or the network's own. Shapes: denoised, cond, weak, x (B, C, *spatial);
deviations per sample. Units: s is an added weight, 0 off, a float or a tensor of B values. With D = D_c it is w - 1 of
the papers that write D_bad + w (D_c - D_bad). rescale in [0, 1]; sigma is that of `of`.
Identity: s = 0 is D, and so is D_bad = D_c without rescale, bit for bit.
Departures: the authors of STG and SEG rescale the network's output, by the whole of `rescale` at any s but 0, so that a
tiny s moves the picture as far as rescaling alone does. Here rescale fades in with s: from |s| = 1 on, where their own
scales lie (1 and 3), it is theirs. The host's rescale (SLG) takes the deviations over the whole batch, of x0.
"""

from torch import Tensor

from ..tensors.operands import operands
from ..tensors.parametrisation import Parametrisation
from ..tensors.reduce import per_sample, wide
from ..tensors.rescaled import rescale_output, with_spread_of

__all__ = ["add_term"]


@operands
def add_term(
    denoised: Tensor,
    cond: Tensor,
    weak: Tensor,
    *,
    scale: float | Tensor,
    rescale: float = 0.0,
    x: Tensor | None = None,
    sigma: float | Tensor | None = None,
    of: Parametrisation | None = None,
) -> Tensor:
    """D + s (D_c - D_bad), rescaled, in the dtype of `denoised`.

    `rescale` works on x0. With `of`, which needs the noisy `x` and its `sigma`, it works on that network's output.
    """
    s = per_sample(scale, denoised)
    result = (wide(cond) - wide(weak)).mul_(s).add_(wide(denoised))
    if rescale:
        phi = rescale * _whole_from_one(s)
        if of is None:
            result = with_spread_of(cond, result, phi)
        else:
            result = rescale_output(result, cond, x=x, sigma=sigma, of=of, phi=phi)
    return result.to(denoised.dtype)


def _whole_from_one(s: float | Tensor) -> float | Tensor:
    """min(1, |s|)."""
    return s.abs().clamp(max=1.0) if isinstance(s, Tensor) else min(1.0, abs(s))
