"""Energy-preserving guidance (EP-CFG): a guided prediction as strong as the conditional one.

Paper: Zhang, Luan, Bi, Zhang 2024, "EP-CFG: Energy-Preserving Classifier-Free Guidance", arXiv 2412.09966.
Formula: with the vectors V_c = x - D_c and V = x - G,  D = x - sqrt(E(V_c)/E(V)) V
    plain     E(V) = ||V||^2
    robust    E(V) = the sum of the squares of V from their 45th to their 55th percentile
Space: x - D, which is sigma eps for eps, v and EDM models, and t times the velocity for a flow.
Shapes: all (B, C, *spatial).
scope "sample": one energy per sample. scope "frame": of a video (B, C, T, H, W) one per frame and channel; of
other latents, which have no frames, one per sample.
Units: those of the predictions.
Identity: guided equal to cond is returned, bit for bit.
Departures: E(V) = 0 returns guided. The percentiles are ranks, rounded outwards, so that even a small latent has values
between them. The paper's text on the robust form can be read in two ways: percentiles of the entries, in place of their
squares, would measure little but the mean of the latent.
"""

import functools
from collections.abc import Iterator

import torch
from torch import Tensor

from ..tensors.operands import operands
from ..tensors.quantile import between_ranks
from ..tensors.reduce import distances, reduce_each, safe, wide
from ..tensors.values import quoted

__all__ = ["energy_preserving"]

BAND = (0.45, 0.55)


@operands
def energy_preserving(
    guided: Tensor, cond: Tensor, *, x: Tensor, robust: bool = False, scope: str = "sample"
) -> Tensor:
    """x - sqrt(E(x - D_c)/E(x - G)) (x - G), in the dtype of `guided`.

    Raises ValueError for an unknown scope.
    """
    if scope not in SCOPES:
        raise ValueError(f"scope must be one of {', '.join(SCOPES)}, got {quoted(scope)}.")
    g, c, noisy = wide(guided), wide(cond), wide(x)
    actual, wanted = _LENGTHS[robust, scope if g.ndim == 5 else "sample"](noisy, g, c)
    ratio = torch.where(actual > torch.finfo(actual.dtype).tiny, wanted / safe(actual), 1.0)
    return torch.lerp(noisy, g, ratio).to(guided.dtype)


def _norms_of_frames(x: Tensor, *ds: Tensor) -> Iterator[Tensor]:
    return (reduce_each(lambda x, d: torch.linalg.vector_norm(x - d, dim=-1), x, d, keep=3) for d in ds)


def _middles(x: Tensor, *ds: Tensor, keep: int) -> Iterator[Tensor]:
    """For each d, the root of the mean of the squares of x - d that lie between the two percentiles."""

    def middle(x: Tensor, d: Tensor) -> Tensor:
        return between_ranks((x - d).square_(), *BAND).mean(-1).sqrt()

    return (reduce_each(middle, x, d, keep=keep) for d in ds)


SCOPES = ("sample", "frame")
_LENGTHS = {
    (False, "sample"): distances,
    (False, "frame"): _norms_of_frames,
    (True, "sample"): functools.partial(_middles, keep=1),
    (True, "frame"): functools.partial(_middles, keep=3),
}
