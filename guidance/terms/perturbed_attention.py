"""Perturbed-attention guidance (PAG) and its soft form: what a self-attention gives out if every token looks at itself.

Paper: Ahn, Cho, Min, Jang, Kim, Kim, Park, Jin, Kim 2024, "Self-Rectifying Diffusion Sampling with Perturbed-Attention
Guidance" (PAG), arXiv 2403.17377.
Paper: Ahn, Kang, Lee, Kim, Min, Jang, Lee, Paul, Hong, Kim 2025, "Fine-Grained Perturbation Guidance via Attention Head
Selection" (SoftPAG), arXiv 2506.10978, the soft form.
Formula: the attention map A becomes (1 - u) A + u I, so its output A V becomes (1 - u) A V + u V
Space: the model's hidden states. Shapes: attention (the output A V) and value V, both (B, ...).
Units: strength u in [0, 1], a float or a tensor of B values.
Identity: bit for bit, u = 0 is the attention and u = 1, PAG, the value.
Departures: none.
"""

from torch import Tensor

from ..cfg import cfg
from ..tensors.operands import operands

__all__ = ["perturbed_attention"]


@operands(dtype_of="value")
def perturbed_attention(attention: Tensor, value: Tensor, *, strength: float | Tensor) -> Tensor:
    """(1 - u) A V + u V, in the dtype of `value`."""
    return cfg(value, attention, scale=strength)
