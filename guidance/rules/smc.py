"""Sliding Mode Guidance (SMC-CFG): CFG as a controller, whose error is pushed towards a surface on which it dies out.

Paper: Wang, Liu, Chi, Liu, Xue, Duan 2026, "CFG-Ctrl: Control-Based Classifier-Free Diffusion Guidance" (SMC-CFG),
arXiv 2603.03281.
Formula: E = (D_c - D_u)/sigma   S = E + (lam - 1) P   P <- E - K sign(S)   D = D_u + w sigma P; first P = E
         relative     K = gain mean|E| per sample, else K = gain
         chatter_free P <- sign(E) max(|E| - K, 0), without a memory
Space: the network's: E is a difference of velocities (flow) or of eps ("ve"). Shapes: cond, uncond (B, C, *spatial);
sigma a float or B values; sign and max elementwise. Units: scale is the host scale w; lam at least 0 (5 in the
authors' examples, 0.05 where their code is told nothing), gain 0.2 relative, and absolute in the units of a flow's
velocity (0.2 and 0.3 there).
Identity: gain = 0 is `cfg`, bit for bit; scale = 1 is cond and leaves the memory as it was.
Departures: the paper's K is absolute, which fits flow models alone: eps differs between prompts by about 0.01. The
relative K and `chatter_free` are ours. For a constant E and K the paper's rule has three ranges: |E| > K shrinks by K;
(lam - 1) K/lam < |E| < K changes its sign; a smaller E alternates between E - K and E + K. There are no smaller ones
where lam is at most 1, and at lam = 0 a constant E is left alone. `chatter_free`, a soft threshold, makes every E below
K zero instead. At w = 1 the paper's formula is D_c - sigma K sign(S).
"""

import torch
from torch import Tensor

from ..cfg import cfg
from ..tensors.memory import Memory
from ..tensors.operands import operands
from ..tensors.reduce import mean_abs, per_sample, plus, safe, wide

__all__ = ["smc"]


@operands
def smc(
    cond: Tensor,
    uncond: Tensor,
    *,
    scale: float | Tensor,
    sigma: float | Tensor,
    lam: float = 5.0,
    gain: float = 0.2,
    relative: bool = True,
    chatter_free: bool = False,
    state: Memory | None = None,
) -> Tensor:
    """D_u + w sigma P, in the dtype of `cond`.

    `state` carries P from step to step; the soft threshold needs none.
    """
    w, s = per_sample(scale, cond), per_sample(sigma, cond)
    if gain == 0.0 or isinstance(w, float) and w == 1.0:
        return cfg(cond, uncond, scale=scale)
    c, u = wide(cond), wide(uncond)
    error = c - u  # sigma E
    k = gain * mean_abs(error) if relative else gain * s
    if chatter_free:
        error = error.clamp(-k, k).neg_().add_(error)
    else:
        error = _side(error, s, lam, state).mul_(-k).add_(error)
        if state is not None:
            state.keep(error / safe(s))
    guided = plus(u, error, w)
    if isinstance(w, Tensor):
        guided = torch.where(w == 1.0, c, guided)
    return guided.to(cond.dtype)


def _side(error: Tensor, sigma: float | Tensor, lam: float, state: Memory | None) -> Tensor:
    """sign(S), the side of the surface on which the error is; a new tensor."""
    if state is None or state.value is None:
        return error.sign() if lam > 0.0 else torch.zeros_like(error)  # S = lam E
    return (state.value * ((lam - 1.0) * sigma)).add_(error).sign_()
