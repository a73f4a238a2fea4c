"""A guided prediction with the spread of another, as it comes or as a network puts it out.

Formula: k = 1 + phi (r - 1) and y' = k y, with r = std(y of C)/std(y of G) per sample; y is G itself, or what a network
puts out for the denoised prediction G. That is y = x - b D up to a factor, b = q/p of `Parametrisation`, so that
D' = k D + (1 - k) x/b, and nothing need be converted.
Shapes: all (B, C, *spatial). Units: phi in [0, 1], a float or B values; sigma is that of `of`.
Departures: where there is no spread to scale, nothing is.
"""

import torch
from torch import Tensor

from .operands import operands
from .parametrisation import Parametrisation
from .reduce import per_sample, safe, spread, spreads_of_sums, weighted_sum, wide

__all__ = ["rescale_output"]


def with_spread_of(cond: Tensor, guided: Tensor, phi: float | Tensor) -> Tensor:
    """k G, in the dtype of `guided`."""
    g = wide(guided)
    return (g * (1.0 + _change(spread(g), spread(cond), phi))).to(guided.dtype)


@operands
def rescale_output(
    guided: Tensor,
    cond: Tensor,
    *,
    x: Tensor,
    sigma: float | Tensor,
    of: Parametrisation,
    phi: float | Tensor = 0.7,
) -> Tensor:
    """D' for denoised predictions, rescaled as the outputs of a network; in the dtype of `guided`."""
    p, q, _ = of.coefficients(per_sample(sigma, x))
    if of.predicts == "x0":
        return with_spread_of(cond, guided, phi)
    b = q / p
    change = _change(*spreads_of_sums(x, -b, guided, cond), phi)
    # At t = 1 the eps of a flow does not depend on D, so b and the change are 0.
    return weighted_sum((1.0 + change, guided), (-change / safe(b), x))


def _change(actual: Tensor, wanted: Tensor, phi: float | Tensor) -> Tensor:
    """phi (r - 1), and 0 where there is no spread to scale."""
    defined = actual > torch.finfo(actual.dtype).tiny
    return (wanted - actual) / safe(actual) * per_sample(phi, actual) * defined
