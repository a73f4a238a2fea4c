"""The networks with which Normalized Attention Guidance is tried, and the node on them."""

import dataclasses
from collections.abc import Callable

import comfy.ldm.audio.dit
import comfy.ldm.cosmos.predict2
import comfy.ldm.flux.math
import comfy.ldm.lumina.model
import comfy.ldm.modules.attention
import comfy.ldm.modules.diffusionmodules.mmdit
import comfy.ldm.qwen_image.model
import comfy.ldm.wan.model
import pytest
import torch
from architectures import audio, chroma, cosmos, dit, flux, hunyuan, ltx, lumina, qwen, schnell, video, z_image
from features import LTX_ATTENTION, due
from methods import BY_NAME
from tiny import built, model, tensor, text

EXACT = 1e-4
SCALE, TAU, ALPHA = 4.0, 2.0, 0.5


@dataclasses.dataclass(frozen=True)
class Net:
    """One network: how to get it, a latent, where its attention is called, and how its text gets there.

    tokens  those of the picture where text and picture attend together; None where the text is looked at
    step    lengths of text are filled up to multiples of this
    masked  it wants a mask of the text
    """

    name: str
    get: Callable
    x: torch.Tensor
    module: object
    tokens: int | None = None
    width: int = 64
    sigma: float = 0.6
    attention: str = "optimized_attention"
    step: int = 1
    masked: bool = False

    def at(self, **how):
        return {"x": self.x, "sigma": self.sigma, "cfg": 1.0, "positive": self.text(1), "negative": self.text(2), **how}

    def text(self, seed, tokens=4, **options):
        if self.masked:  # all but the last token of an even prompt
            options = {"attention_mask": torch.tensor([[1] * (tokens - 1) + [seed % 2]]), **options}
        return text(seed, tokens, self.width, **options)


PICTURE, VIDEO = tensor(12, 1, 16, 8, 8), tensor(13, 1, 16, 2, 4, 6)
MASKED = {"attention": "optimized_attention_masked"}
UNET = Net("UNet", model, tensor(11, 1, 4, 8, 8) * 3, comfy.ldm.modules.attention, sigma=3.0)
FLUX = Net("Flux", built(flux), PICTURE, comfy.ldm.flux.math, 16)
SD3 = Net("SD3", built(dit), PICTURE, comfy.ldm.modules.diffusionmodules.mmdit, 16)
WAN = Net("Wan", built(video), VIDEO, comfy.ldm.wan.model)
LUMINA = Net("Lumina 2", built(lumina), PICTURE, comfy.ldm.lumina.model, 16, **MASKED)
Z_IMAGE = Net("Z-Image", built(z_image), PICTURE, comfy.ldm.lumina.model, 16, step=4, **MASKED)
QWEN = Net("Qwen-Image", built(qwen), tensor(12, 1, 16, 1, 8, 8), comfy.ldm.qwen_image.model, 16, **MASKED)
HUNYUAN = Net("HunyuanVideo", built(hunyuan), VIDEO, comfy.ldm.flux.math, 12)
# Before 0.24 ComfyUI calls another function where a text is masked.
ATTENTION = {} if due(LTX_ATTENTION) else MASKED
LTX = Net("LTX", built(ltx), tensor(15, 1, 128, 2, 3, 3), comfy.ldm.modules.attention, masked=True, **ATTENTION)
NETS = [
    UNET,
    FLUX,
    Net("schnell", built(schnell), PICTURE, comfy.ldm.flux.math, 16),
    Net("Chroma", built(chroma), PICTURE, comfy.ldm.flux.math, 16),
    SD3,
    QWEN,
    WAN,
    Net("Stable Audio", built(audio), tensor(14, 1, 64, 24), comfy.ldm.audio.dit, width=768),
    Net("Cosmos Predict 2", built(cosmos), VIDEO, comfy.ldm.cosmos.predict2),
]
every_net = pytest.mark.parametrize("net", [*NETS, LUMINA, HUNYUAN, LTX], ids=lambda net: net.name)
FEW = pytest.mark.parametrize("net", [UNET, FLUX, WAN], ids=lambda net: net.name)


def on(net, patched=None, **changes):
    return BY_NAME["nag"].on(patched or net.get(), **{"negative": net.text(3), **changes})
