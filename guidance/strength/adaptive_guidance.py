"""Adaptive Guidance: how alike the two predictions have become, which tells when the negative one can be left out.

Paper: Castillo, Kohler, Perez, Perez, Pumarola, Ghanem, Arbelaez, Thabet 2023, "Adaptive Guidance: Training-free
Acceleration of Conditional Diffusion Models", arXiv 2312.12487.
Formula: gamma = <p, q>/(||p|| ||q||)        eps: p = x - a D_c, q = x - a D_u, a = 1 (VE) or 1 - t (flow)
    velocity: p = x - D_c, q = x - D_u
Space: eps, as published, or velocity. For VE models x - D is sigma eps, so the two are the same. For flow models x - D
is t times the velocity, and the same threshold means something else. Shapes: cond, uncond, x (B, C, *spatial) -> (B,).
Units: a cosine. The paper leaves the negative prediction out from the step on that follows the first gamma of
0.991 or more. sigma is the host's, a float or B values.
Identity: none, it is a measurement. Departures: gamma is 0 where either vector is zero. At t = 1 of a flow model both
eps are x, so gamma is 1.
"""

from torch import Tensor

from ..tensors.operands import operands
from ..tensors.reduce import per_sample, products_of_residuals, safe

__all__ = ["adaptive_similarity"]

_SIGNAL = {
    ("eps", "ve"): lambda s: 1.0,
    ("eps", "flow"): lambda t: 1.0 - t,
    ("velocity", "ve"): lambda s: 1.0,
    ("velocity", "flow"): lambda t: 1.0,
}


@operands(dtype_of="wide")
def adaptive_similarity(
    cond: Tensor, uncond: Tensor, *, x: Tensor, sigma: float | Tensor, kind: str, space: str = "eps"
) -> Tensor:
    """The cosine between the two predictions per sample, shape (B,), in float32 or better."""
    signal = _SIGNAL[space, kind](per_sample(sigma, cond))
    pp, pq, qq = products_of_residuals(x, cond, uncond, signal)
    return (pq / safe(pp.sqrt() * qq.sqrt())).clamp(-1.0, 1.0).flatten()
