"""The lab's text-to-image models, made of the host's own classes, and how their weights are kept.

`ve`: EDM preconditioning (Karras et al. 2022) as in the host's `EDM` and `ModelSamplingContinuousEDM`.
`flow`: rectified flow as in the host's `CONST` and `ModelSamplingDiscreteFlow`. Both are the host's
`UNetModel` on latents (B, 12, 16, 16), which are 32x32 pictures in -1..1 folded by `pixel_unshuffle`, and the
host's CLIP text model with a tiny configuration.
`ve_small`: `ve` with half the channels and little training, for methods that need a worse model of the family.
`flow_distilled`: `flow` with a guidance embedding, distilled from its plain CFG; its file holds only what differs.
Import this module only after `host.open_host` or inside the running host.
"""

import json
from functools import lru_cache
from pathlib import Path

import comfy.conds
import comfy.latent_formats
import comfy.model_base
import comfy.model_management
import comfy.model_patcher
import comfy.sd
import comfy.sd1_clip
import comfy.supported_models_base
import torch
import torch.nn.functional as F
from comfy.ldm.modules.diffusionmodules.openaimodel import UNetModel
from comfy.ldm.modules.diffusionmodules.util import timestep_embedding
from safetensors import safe_open

from . import data

FULL = ("ve", "flow")
NAMES = (*FULL, "ve_small", "flow_distilled")
WEIGHTS = Path(__file__).resolve().parent / "weights"
FOLD = 2
CHANNELS = 3 * FOLD * FOLD
TOKENS = 32
VOCABULARY = 49408
CONTEXT = 64

UNET = {
    "image_size": data.SIDE // FOLD,
    "in_channels": CHANNELS + 9,  # the picture and where each of its pixels is
    "out_channels": CHANNELS,
    "model_channels": 64,
    "channel_mult": (1, 2),
    "num_res_blocks": [1, 1],
    "transformer_depth": [0, 1],
    "transformer_depth_middle": 1,
    "transformer_depth_output": [0, 0, 1, 1],
    "num_heads": 4,
    "use_spatial_transformer": True,
    "context_dim": CONTEXT,
    "num_classes": "sequential",
    "adm_in_channels": CONTEXT,
    "use_scale_shift_norm": True,
    "legacy": False,
    "dtype": torch.float32,
}
TEXT = {
    "hidden_size": CONTEXT,
    "intermediate_size": 4 * CONTEXT,
    "num_attention_heads": 4,
    "num_hidden_layers": 2,
    "max_position_embeddings": TOKENS,
}
SAMPLING = {
    "ve": {"sigma_data": 0.6, "sigma_min": 0.01, "sigma_max": 40.0},
    "flow": {"shift": 1.0, "multiplier": 1000},
}
MODEL_TYPES = {"ve": comfy.model_base.ModelType.EDM, "flow": comfy.model_base.ModelType.FLOW}
CHANGES = {"ve_small": {"model_channels": 32}, "flow_distilled": {"guidance_embed": True}}
GUIDANCE = 3.5  # what a distilled model hears when the prompt says nothing, as Flux does
GUIDANCE_WAVES = 32


class FoldedPixels(comfy.latent_formats.LatentFormat):
    """A picture in -1..1 folded 2x2 into channels: 12 channels at half the side, no scaling."""

    latent_channels = CHANNELS
    spacial_downscale_ratio = FOLD
    latent_rgb_factors = [
        [float(rgb == c // (FOLD * FOLD)) / (FOLD * FOLD) for rgb in range(3)] for c in range(CHANNELS)
    ]


class Folding(torch.nn.Module):
    """The lab's "VAE" behind the host's VAE class: an exact fold of pixels into channels and back."""

    def __init__(self):
        super().__init__()
        self.pixel_space_vae = torch.nn.Parameter(torch.tensor(1.0), requires_grad=False)

    def encode(self, pixels: torch.Tensor) -> torch.Tensor:
        """(B, 3, H, W) to (B, 12, H/2, W/2)."""
        return F.pixel_unshuffle(pixels, FOLD)

    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        """(B, 12, H, W) to (B, 3, 2H, 2W)."""
        return F.pixel_shuffle(latents, FOLD)


class LabUNet(UNetModel):
    """The host's UNet, told where each pixel is and given the mean of the text beside its single tokens.

    Without the one it has to learn left and right from the zeros around a picture, and without the other what
    the text says reaches it through attention alone; each takes far longer than these models may. With
    `guidance_embed` it also hears a guidance weight (B,), as Flux does.
    """

    def __init__(self, *arguments, guidance_embed: bool = False, **options):
        super().__init__(*arguments, **options)
        self.guide = GuidanceEmbedding(options["dtype"], options.get("device")) if guidance_embed else None

    def _forward(self, x, timesteps=None, context=None, y=None, *arguments, guidance=None, **options):
        placed = torch.cat([x, windows(x)], dim=1)
        own = context[: len(x)]  # a second text may come after it, for the cross-attentions alone
        said = own.mean(dim=1)
        if self.guide is not None and guidance is not None:
            said = said + self.guide(guidance)
        return super()._forward(placed, timesteps, context, said, *arguments, **options)


class GuidanceEmbedding(torch.nn.Module):
    """Guidance weights (B,) as vectors (B, CONTEXT), which are zero until they are trained."""

    def __init__(self, dtype: torch.dtype, device: torch.device | None = None):
        super().__init__()
        self.hidden = torch.nn.Linear(GUIDANCE_WAVES, CONTEXT, dtype=dtype, device=device)
        self.end = torch.nn.Linear(CONTEXT, CONTEXT, dtype=dtype, device=device)
        torch.nn.init.zeros_(self.end.weight)
        torch.nn.init.zeros_(self.end.bias)

    def forward(self, guidance: torch.Tensor) -> torch.Tensor:
        waves = timestep_embedding(guidance.float(), GUIDANCE_WAVES, max_period=100).to(self.end.weight.dtype)
        return self.end(F.silu(self.hidden(waves)))


class DistilledModel(comfy.model_base.BaseModel):
    """The host's model with one more conditioning: the number of the Flux Guidance node."""

    def extra_conds(self, **kwargs):
        made = super().extra_conds(**kwargs)
        guidance = kwargs.get("guidance", GUIDANCE)
        if guidance is not None:
            made["guidance"] = comfy.conds.CONDRegular(torch.FloatTensor([guidance]))
        return made


def windows(x: torch.Tensor) -> torch.Tensor:
    """Where every pixel of x (B, C, H, W) is: nine soft windows, in rows of three, over the picture: (B, 9, H, W)."""
    middles = torch.tensor([-0.5, 0.0, 0.5], dtype=x.dtype, device=x.device)[:, None]
    across, down = (
        torch.exp(-0.5 * ((torch.linspace(-1.0, 1.0, side, dtype=x.dtype, device=x.device) - middles) / 0.25) ** 2)
        for side in (x.shape[3], x.shape[2])
    )
    return (down[:, None, :, None] * across[None, :, None, :]).flatten(0, 1).expand(x.shape[0], -1, -1, -1)


class LabConfig(comfy.supported_models_base.BASE):
    """What the host's `BaseModel` asks of a model configuration."""

    unet_extra_config = {}
    latent_format = FoldedPixels
    memory_usage_factor = 0.1

    def __init__(self, name: str):
        super().__init__({**UNET, **CHANGES.get(name, {})})
        self.family = family(name)
        self.sampling_settings = dict(SAMPLING[self.family])

    def model_type(self, state_dict, prefix=""):
        return MODEL_TYPES[self.family]

    def get_model(self, state_dict, prefix="", device=None):
        kind = DistilledModel if self.unet_config.get("guidance_embed") else comfy.model_base.BaseModel
        return kind(self, model_type=self.model_type(state_dict, prefix), device=device, unet_model=LabUNet)


def family(name: str) -> str:
    """How a model is parameterised: "ve" or "flow"."""
    return name.partition("_")[0]


def new_model(name: str) -> comfy.model_base.BaseModel:
    """The untrained model `name` with every weight of its UNet initialised."""
    model = LabConfig(name).get_model({}, device=None)
    initialise(model.diffusion_model)
    return model


def new_text() -> torch.nn.Module:
    """The untrained text transformer (the host's CLIPTextModel) with every weight initialised."""
    text = new_clip().cond_stage_model.clip_l.transformer
    initialise(text)
    for embedding in (
        text.text_model.embeddings.token_embedding,
        text.text_model.embeddings.position_embedding,
    ):
        torch.nn.init.normal_(embedding.weight, std=0.3)
    return text


def initialise(module: torch.nn.Module) -> None:
    """Give every parameter of one of the host's modules a value; the host itself leaves them as the memory
    was.

    Norms are the identity, convolutions and linear layers as in PyTorch, and whatever ends a residual branch
    starts at zero.
    """
    for name, part in module.named_modules():
        weight = getattr(part, "weight", None)
        if not isinstance(weight, torch.nn.Parameter):
            continue
        if "Norm" in type(part).__name__:
            torch.nn.init.ones_(weight)
        elif name.endswith(("out_layers.3", "proj_out")) or name == "out.2":
            torch.nn.init.zeros_(weight)
        else:
            torch.nn.init.kaiming_uniform_(weight, a=5**0.5)
        if part.__dict__.get("bias") is not None or part._parameters.get("bias") is not None:
            torch.nn.init.zeros_(part.bias)
    for parameter in module.parameters():
        if not parameter.isfinite().all():
            raise RuntimeError("a parameter of the host's module is not initialised")


def new_clip() -> comfy.sd.CLIP:
    """The host's CLIP object with the lab's tiny text model, its weights still unset."""

    class Target:
        params: dict = {}
        clip = comfy.sd1_clip.SD1ClipModel
        tokenizer = comfy.sd1_clip.SD1Tokenizer

    options = {"clip_l_model_config": dict(TEXT), "dtype": torch.float32}
    return comfy.sd.CLIP(Target, tokenizer_data={"clip_l_max_length": TOKENS}, model_options=options)


def new_vae() -> comfy.sd.VAE:
    """The host's VAE object around `Folding`; `VAEEncode`, `VAEDecode` and `VAEEncodeForInpaint` work on it
    unchanged.
    """
    vae = comfy.sd.VAE(sd={"pixel_space_vae": torch.tensor(1.0)}, dtype=torch.float32)
    vae.first_stage_model = Folding().eval().to(vae.vae_dtype)
    vae.downscale_ratio = vae.upscale_ratio = FOLD
    vae.latent_channels = CHANNELS
    vae.patcher = comfy.model_patcher.CoreModelPatcher(
        vae.first_stage_model,
        load_device=vae.device,
        offload_device=comfy.model_management.vae_offload_device(),
    )
    return vae


@lru_cache(maxsize=1)
def tokenizer() -> comfy.sd1_clip.SD1Tokenizer:
    """The host's tokenizer at the lab's length."""
    return comfy.sd1_clip.SD1Tokenizer(tokenizer_data={"clip_l_max_length": TOKENS})


@lru_cache(maxsize=1)
def word_tokens() -> dict[str, tuple[int, ...]]:
    """Token ids of each word of the picture book; "" gives the start and the end token."""
    split = tokenizer().clip_l.tokenizer
    start, end = split("")["input_ids"]
    return {"": (start, end)} | {word: tuple(split(word)["input_ids"][1:-1]) for word in data.words()}


def used_tokens() -> list[int]:
    """The sorted token ids whose embedding rows are trained and stored."""
    return sorted({token for ids in word_tokens().values() for token in ids})


def tokenise(text: str) -> list[int]:
    """The host's token ids for a caption of the picture book, padded to TOKENS, by a quicker way."""
    table = word_tokens()
    start, end = table[""]
    ids = [start, *(token for word in text.split() for token in table[word])]
    return ids + [end] * (TOKENS - len(ids))


def whole_table(rows: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
    """The embedding table (VOCABULARY, C) from the stored rows; the last row stands for every token that was
    never trained.
    """
    table = rows[-1].expand(VOCABULARY, -1).clone()
    table[tokens.long()] = rows[:-1]
    return table


def read(path: Path) -> tuple[dict[str, torch.Tensor], dict]:
    """Weights in float32 and the settings of one safetensors file."""
    with safe_open(path, framework="pt") as file:
        tensors = {key: file.get_tensor(key) for key in file.keys()}
        settings = json.loads((file.metadata() or {}).get("settings", "{}"))
    return {k: v.float() if v.is_floating_point() else v for k, v in tensors.items()}, settings


def part(tensors: dict[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    """The tensors whose names start with `prefix.`, without it."""
    return {k[len(prefix) + 1 :]: v for k, v in tensors.items() if k.startswith(prefix + ".")}


def load(name: str, path: Path | None = None):
    """The trained model as (ModelPatcher, CLIP, VAE).

    name: one of NAMES. path: another weights file than the committed one. Raises ValueError for an unknown
    name and FileNotFoundError when the file is missing.
    """
    if name not in NAMES:
        raise ValueError(f"Azimuth Lab Loader: model must be one of {', '.join(NAMES)}, not {name!r}.")
    path = path or WEIGHTS / f"{name}.safetensors"
    if not path.is_file():
        raise FileNotFoundError(f"Azimuth Lab Loader: {path.name} is missing; train it with `python dev.py train`.")
    tensors, _ = read(path)
    if name == "flow_distilled":
        tensors = {**read(WEIGHTS / "flow.safetensors")[0], **tensors}

    model = LabConfig(name).get_model({}, device=None)
    model.diffusion_model.load_state_dict(part(tensors, "unet"), strict=True)
    patcher = comfy.model_patcher.CoreModelPatcher(
        model,
        load_device=comfy.model_management.get_torch_device(),
        offload_device=comfy.model_management.unet_offload_device(),
    )

    clip = new_clip()
    state = part(tensors, "text")
    state["text_model.embeddings.token_embedding.weight"] = whole_table(tensors["rows"], tensors["tokens"])
    state["text_projection.weight"] = torch.eye(CONTEXT)
    clip.cond_stage_model.clip_l.transformer.load_state_dict(state, strict=True)
    return patcher, clip, new_vae()
