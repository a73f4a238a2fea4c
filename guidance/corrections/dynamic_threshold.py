"""Dynamic thresholding, for pixels.

Paper: Saharia et al. 2022, "Photorealistic Text-to-Image Diffusion Models with Deep Language Understanding"
(Imagen), arXiv 2205.11487, section 2.3.
Formula: s = max(1, quantile(|D|, p)) per sample; D <- clip(D, -s, s)/s
Space: x0 of a PIXEL-space model whose images lie in [-1, 1]. Shapes: (B, C, *spatial). Units: pixel values;
percentile p in [0, 1], 0.995 in the paper.
Identity: a sample whose values all lie in [-1, 1] is returned bit for bit.
Departures: none. Latents have no such range, and this would shrink unit normal ones to 0.36; use mimic_threshold there.
"""

from torch import Tensor

from ..tensors.operands import operands
from ..tensors.quantile import abs_quantile
from ..tensors.reduce import wide

__all__ = ["dynamic_threshold"]


@operands
def dynamic_threshold(denoised: Tensor, *, percentile: float = 0.995) -> Tensor:
    """clip(D, -s, s)/s with s = max(1, quantile(|D|, p)) per sample; the result lies in [-1, 1]."""
    s = abs_quantile(denoised, percentile).clamp(min=1.0)
    return (wide(denoised).clamp(-s, s) / s).to(denoised.dtype)
