"""Normalized Attention Guidance (NAG): the attention to the prompt, pushed away from the attention to another text.

Paper: Chen, Bandyopadhyay, Zou, Song 2025, "Normalized Attention Guidance: Universal Negative Guidance for Diffusion
Models", arXiv 2505.21179, algorithm 1.
Formula: with z+ and z- what the same queries attend to in the two texts, per token
    zt = s z+ - (s - 1) z-      R = ||zt||_q / ||z+||_q      zh = zt min(R, tau)/R      z = alpha zh + (1 - alpha) z+
Space: the model's hidden states, before the output projection of an attention. Shapes: both (B, N, ..., C); the norms
run over C, the channels of a token (all heads side by side).
Units: scale is s (the paper's phi is s - 1), a float or a tensor of B values; tau and alpha are ratios; norm is q.
Identity: z+, bit for bit, for alpha = 0; for tau >= 1 also with s = 1 and with z- = z+.
Departures: none from the paper. The authors' own code takes q = 2 for Flux and 1 elsewhere. It divides by R, which is
0/0 where a token is zero; here such a token stays zero.
"""

import functools

import torch
from torch import Tensor

from ..tensors.operands import operands
from ..tensors.pieces import in_pieces
from ..tensors.reduce import per_sample, safe
from ..tensors.values import quoted

__all__ = ["nag"]


@operands
def nag(
    positive: Tensor,
    negative: Tensor,
    *,
    scale: float | Tensor,
    tau: float = 2.5,
    alpha: float = 0.25,
    norm: int = 1,
) -> Tensor:
    """alpha zh + (1 - alpha) z+, in the dtype of `positive`. `norm` is 1 or 2; raises ValueError for another."""
    if norm not in _LENGTHS:
        raise ValueError(f"norm must be 1 or 2, got {quoted(norm)}.")
    of_tokens = functools.partial(_of_tokens, tau=tau, alpha=alpha, norm=norm)
    return in_pieces(of_tokens, per_sample(scale, positive) - 1.0, positive, negative, shape=positive.shape[-1:])


def _of_tokens(further: float | Tensor, z: Tensor, negative: Tensor, *, tau: float, alpha: float, norm: int) -> Tensor:
    guided = (z - negative).mul_(further).add_(z)
    length = _LENGTHS[norm]
    actual, most = length(guided), length(z) * tau
    guided = guided * torch.where(actual <= most, 1.0, most / safe(actual))
    return torch.lerp(z, guided, alpha)


def _absolute(t: Tensor) -> Tensor:
    return t.abs().sum(-1, keepdim=True)


def _euclidean(t: Tensor) -> Tensor:
    return torch.linalg.vector_norm(t, dim=-1, keepdim=True)


_LENGTHS = {1: _absolute, 2: _euclidean}
