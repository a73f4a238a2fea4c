"""Self-attention guidance (SAG): what the model makes of a picture that is blurred where its attention goes.

Paper: Hong, Lee, Jang, Kim 2022, "Improving Sample Quality of Diffusion Models Using Self-Attention Guidance" (SAG),
arXiv 2210.00939.
Formula: M = [mass > its mean], mass of a token = what all queries give it, averaged over the heads
    B = (1 - M) D + M (G_sigma * D)        x_B = x + a (B - D), a = 1 ("ve") or 1 - t ("flow"): the same noise
    term = s (B - D(x_B)), for `add_term` with B in the place of D_c
Space: x0. Shapes: denoised, x (B, C, *spatial), blurred over its last two dimensions; queries and keys (B, heads, N,
D); size (frames, height, width) of the map of their N tokens. Units: sigma in latent pixels, 9 taps as in the paper.
Identity: sigma = 0 is B = D, and x_B = x.
Departures: the threshold is the mean of the mass, which is 1 where every query gives all its attention to these tokens.
Sides of 7 and less have fewer taps. The host's node takes a = 1 for flow models too, and leaves out pictures with a
side of 4 or less.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from ..tensors.blur import blur_matrix
from ..tensors.operands import operands
from ..tensors.reduce import per_sample, wide

__all__ = ["attention_mass", "blurred_where_attended", "with_same_noise"]

TAPS = 9
_AT_ONCE = 1 << 24  # values of the attention map that are computed together


@operands(dtype_of="wide")
def attention_mass(queries: Tensor, keys: Tensor, tokens: slice = slice(None)) -> Tensor:
    """How much attention the n tokens of `tokens` give to each of them, (B, n), in float32.

    A query gives 1 in total, over all tokens. The mean over the heads is taken.
    """
    scale = queries.shape[-1] ** -0.5
    size = max(1, _AT_ONCE // (keys.shape[0] * keys.shape[1] * keys.shape[2]))
    mass = 0.0
    for part in queries[..., tokens, :].split(size, dim=-2):
        logits = (part @ keys.transpose(-2, -1)).float().mul_(scale)
        mass = mass + logits.softmax(-1)[..., tokens].mean(1).sum(1)
    return mass


@operands(apart=["mass"])
def blurred_where_attended(denoised: Tensor, mass: Tensor, *, size: tuple[int, int, int], sigma: float) -> Tensor:
    """B, in the dtype of `denoised`.

    Raises ValueError if `size` does not hold as many tokens as `mass`.
    """
    if math.prod(size) != mass.shape[-1]:
        raise ValueError(f"a map of {size} tokens does not have {mass.shape[-1]}.")
    if sigma == 0:
        return denoised.clone()
    mask = (mass > mass.mean(-1, keepdim=True)).float().view(-1, 1, *size[3 - (denoised.ndim - 2) :])
    mask = F.interpolate(mask, denoised.shape[2:])
    d = wide(denoised)
    height, width = (blur_matrix(n, taps=TAPS, sigma=sigma, like=d) for n in d.shape[-2:])
    return torch.lerp(d, height @ d @ width.T, mask.to(d.dtype)).to(denoised.dtype)


@operands
def with_same_noise(x: Tensor, denoised: Tensor, other: Tensor, sigma: float | Tensor, *, kind: str) -> Tensor:
    """The noisy x in which `other` takes the place of `denoised`, under the same noise."""
    keep = 1.0 - per_sample(sigma, x) if kind == "flow" else 1.0
    return (wide(x) + keep * (wide(other) - wide(denoised))).to(x.dtype)
