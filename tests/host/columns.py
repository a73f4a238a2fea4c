"""What the methods are tried with: families of models, guiders, the host's samplers, neighbours. A new one is a new row
here.
"""

import contextlib
import functools
from collections.abc import Callable
from dataclasses import dataclass

import architectures
import comfy.controlnet
import comfy.ldm.flux.controlnet
import comfy.model_management
import comfy.nested_tensor
import comfy.ops
import comfy.sample
import comfy_extras.nodes_perpneg as perpneg
import node_helpers
import torch
from architectures import WIDTH
from attached import HALF, control_net, lora
from comfy_extras.nodes_model_advanced import RescaleCFG
from comfy_extras.nodes_pag import PerturbedAttentionGuidance
from comfy_extras.nodes_tcfg import TCFG
from context_windows import windowed
from foreign import (
    LCM_UPSCALE,
    LOOKS_AT_HALF_SIZE,
    LOOKS_TWICE,
    OwnWeights,
    eager,
    easy_cache,
    lazy_cache,
    torch_compile,
)
from methods import BY_NAME
from rows import NODES, weaker
from tiny import (
    architecture,
    built,
    custom,
    initialise,
    model,
    run_node,
    tensor,
    text,
)

from specimens import found

CFG, STEPS = 5.0, 3
REST = 9.0  # the unknown guider's weight for what is not the first part of a packed latent
LAMBDA = 0.5  # the cfg under a CFG++ sampler; another than that of the CFG++ node's row

# ---- families


@dataclass(frozen=True)
class Family:
    """Models of one kind.

    build       makes the MODEL
    shapes      of one latent without its batch; a packed one has several parts
    prediction  what the network predicts
    blocks      some that the network has
    width       of a token of text
    cfg         of the sampler
    """

    name: str
    build: Callable
    shapes: tuple[tuple[int, ...], ...]
    prediction: str
    blocks: str = "0"
    width: int = WIDTH
    cfg: float = CFG

    @property
    def shape(self) -> str:
        return " + ".join(f"(1, {', '.join(map(str, shape))})" for shape in self.shapes)

    def noise(self):
        return joined([tensor(i + 1, 1, *shape) for i, shape in enumerate(self.shapes)])

    def nothing(self):
        """The empty latent."""
        return joined([torch.zeros(1, *shape) for shape in self.shapes])

    def text(self, seed, **options):
        return text(seed, width=self.width, **options)

    def on(self, method, patched):
        """A MODEL of this family with a method that acts."""
        changes = {"negative": self.text(3)} if "negative" in method.acting else {}
        if method.acting.get("blocks", "auto") != "auto":
            changes["blocks"] = self.blocks
        return method.on(patched, **changes)


def joined(parts):
    return comfy.nested_tensor.NestedTensor(parts) if len(parts) > 1 else parts[0]


def two_passes():
    return BY_NAME["distilled_pair"].on(architecture(architectures.flux))


PICTURE, LATENT = ((4, 8, 8),), ((16, 8, 8),)
FAMILIES = (
    Family("SD 1.5", model, PICTURE, "eps", "middle 0"),
    Family("SD 2", built(architectures.sd2), PICTURE, "v", "middle 0"),
    Family("SDXL", built(architectures.sdxl), PICTURE, "eps", "middle 0"),
    Family("EDM", functools.partial(model, "edm"), PICTURE, "x0 (EDM)", "middle 0"),
    Family("SD3", built(architectures.dit), LATENT, "flow"),
    Family("Flux dev", built(architectures.flux), LATENT, "flow, distilled", cfg=1.0),
    Family("Flux dev, two passes", two_passes, LATENT, "flow, distilled", cfg=1.0),
    Family("Flux dev, cfg 5", built(architectures.flux), LATENT, "flow, distilled"),
    Family("Flux schnell", built(architectures.schnell), LATENT, "flow, distilled", cfg=1.0),
    Family("Chroma", built(architectures.chroma), LATENT, "flow"),
    Family("Lumina 2", built(architectures.lumina), LATENT, "flow"),
    Family("Qwen Image", built(architectures.qwen), ((16, 1, 8, 8),), "flow"),
    Family("Wan", built(architectures.video), ((16, 3, 4, 4),), "flow"),
    Family("Stable Audio", built(architectures.audio), ((64, 12),), "v", width=768),
    Family("LTX-AV", built(architectures.packed), ((128, 2, 2, 2), (8, 4, 16)), "flow", width=128),
)
FAMILY = {family.name: family for family in FAMILIES}

# Those with which every guider is tried: each kind of network, prediction and latent once.
ACROSS = [FAMILY[name] for name in ("SD 1.5", "SD 2", "SD3", "Flux dev", "Wan", "Stable Audio", "LTX-AV")]

# ---- guiders: from a MODEL, its family and two conditionings to something that samples


@dataclass(frozen=True)
class KSampler:
    """The host's KSampler, in the form of a guider."""

    model: object
    positive: list
    negative: list
    cfg: float

    def sample(self, noise, latent, sampler, sigmas, denoise_mask=None, **how):
        steps, conds = len(sigmas) - 1, (self.positive, self.negative)
        return comfy.sample.sample(
            self.model, noise, steps, self.cfg, "euler", "simple", *conds, latent, noise_mask=denoise_mask, **how
        )


def ksampler(patched, family, positive, negative):
    return KSampler(patched, positive, negative, family.cfg)


def cfg_guider(patched, family, positive, negative):
    return run_node(custom.CFGGuider, patched, positive, negative, family.cfg)


# These are there for a pair of their own, and make it at cfg 1 too: they are tried at the usual cfg with every family.


def dual(style, patched, family, positive, negative):
    conds = positive, family.text(4), negative
    return run_node(custom.DualCFGGuider, patched, *conds, CFG - 1.0, CFG, style)


def perp_neg(patched, family, positive, negative):
    return run_node(perpneg.PerpNegGuider, patched, positive, negative, family.text(7), CFG, 0.8)


def dual_model(patched, family, positive, negative):
    other = {"model_negative": weaker(patched), "negative": negative}
    return run_node(custom.DualModelGuider, patched, positive, CFG, **other)


def basic(patched, family, positive, negative):
    return run_node(custom.BasicGuider, patched, positive)


def unknown(patched, family, positive, negative):
    guider = OwnWeights(patched)
    guider.set_conds(positive, negative)
    guider.set_weights(family.shapes, CFG, REST)
    return guider


GUIDERS = {
    "KSampler": ksampler,
    "CFG Guider": cfg_guider,
    "Dual CFG Guider": functools.partial(dual, "regular"),
    "Dual CFG Guider (nested)": functools.partial(dual, "nested"),
    "Perp-Neg Guider": perp_neg,
    "Dual Model CFG Guider": dual_model,
    "Basic Guider": basic,
    "an unknown guider": unknown,
}

# ---- samplers: our own SAMPLERs, the host's names, and two that look at other sizes than the latent's

SAMPLERS = {ours.name: run_node(NODES[ours.node], **ours.inputs) for ours in found("SAMPLERS")} | {
    name: name
    for name in (
        "euler",
        "euler_ancestral",
        "heun",
        "dpmpp_2m",
        "dpmpp_2s_ancestral",
        "dpmpp_sde",
        "res_multistep",
        "uni_pc",
        "euler_cfg_pp",
        "dpmpp_2m_cfg_pp",
        "lcm",
    )
}
SAMPLERS |= {"LCM Upscale": LCM_UPSCALE, "a look at half size": LOOKS_AT_HALF_SIZE}

# Places that are to change nothing about a run, each with the place that they are held to: guider and sampler.
LIKE = {"an unknown guider": ("CFG Guider", "euler"), "a look at half size": ("CFG Guider", LOOKS_TWICE)}

# ---- neighbours


@dataclass(frozen=True)
class Neighbour:
    """Something else in the workflow.

    on      puts a node of the host on the MODEL
    how     what the run with a family is sampled with besides
    before  whether the node stands before ours in the wiring
    steps   of the run
    moves   how many times as far as it moves a run without a method it may move one with it; None: that is not asked
    whole   whether it repeats whole steps: with a method it is then to repeat what the method made, and no more
    during  what it is sampled in
    """

    name: str
    on: Callable = lambda patched: patched
    how: Callable[[Family], dict] = lambda family: {}
    family: str = "SD 1.5"
    before: bool = True
    steps: int = STEPS
    moves: float | None = None
    whole: bool = False
    during: Callable = contextlib.nullcontext

    def beside(self, ours: Callable, patched):
        return ours(self.on(patched)) if self.before else self.on(ours(patched))


def is_flux(family):
    return family.name.startswith("Flux dev")


@functools.cache
def flux_control_net():
    """A ControlNet that hears the number for guidance, as the model does; its hint is a latent."""
    how = {"operations": comfy.ops.disable_weight_init, "dtype": torch.float32, "device": "cpu"}
    config = architectures.flux().unet_config
    net = initialise(comfy.ldm.flux.controlnet.ControlNetFlux(latent_input=True, **config, **how), seed=9)
    hears = {"compression_ratio": 1, "extra_conds": ["y", "guidance"]}
    return comfy.controlnet.ControlNet(net.eval(), load_device=comfy.model_management.get_torch_device(), **hears)


def controlled(family):
    net, hint = (flux_control_net(), (16, 8, 8)) if is_flux(family) else (control_net(), (3, 64, 64))
    control = net.copy().set_cond_hint(tensor(8, 1, *hint), 0.3)
    both = {"control": control, "control_apply_to_uncond": False}
    return {
        role: node_helpers.conditioning_set_values(text(seed), both)
        for role, seed in (("positive", 1), ("negative", 2))
    }


def repainted(family):
    mask = torch.zeros(1, 1, 8, 8)
    mask[..., :4] = 1.0
    return {"mask": mask, "latent": tensor(9, 1, *family.shapes[0])}


def masks(family):
    return {"positive": [*text(1, mask=HALF), *text(5, mask=1 - HALF)]}


def areas(family):
    return {"positive": [*text(1), *text(5, area=(4, 4, 2, 2))]}


def prompts_in_turn(family):
    return {"positive": [*text(1, start_percent=0.0, end_percent=0.5), *text(5, start_percent=0.5, end_percent=1.0)]}


def a_negative_that_ends(family):
    return {"negative": text(2, start_percent=0.0, end_percent=0.3)}


def hooked(family):
    of_flux = (architecture(architectures.flux).model, "diffusion_model.double_blocks.0.img_attn.proj.weight")
    return {"positive": text(1, hooks=lora(0.05, *of_flux) if is_flux(family) else lora())}


def in_either_order(name, on, **facts):
    """A node of the host before ours and after ours."""
    places = {"before": True, "after": False}
    return [Neighbour(f"{name}, {place} ours", on, before=first, **facts) for place, first in places.items()]


# A cache serves the middle ones of six steps, beside nearly all methods the same. EasyCache serves what the network
# puts out, of which some methods make more: half as much again is theirs, thrice as much is not.
LONGER, EASILY = 6, 1.75


NEIGHBOURS = (
    Neighbour("ControlNet", how=controlled),
    Neighbour("masks", how=masks),
    Neighbour("an area", how=areas),
    Neighbour("prompts in turn", how=prompts_in_turn),
    Neighbour("a negative that ends", how=a_negative_that_ends),
    Neighbour("LoRA hook", how=hooked),
    Neighbour("inpainting", how=repainted),
    *in_either_order("RescaleCFG", lambda patched: RescaleCFG().patch(patched, 0.7)[0]),
    *in_either_order("TCFG", lambda patched: run_node(TCFG, patched)),
    *in_either_order("PAG", lambda patched: run_node(PerturbedAttentionGuidance, patched, 2.0)),
    *in_either_order("CFG Override", lambda patched: run_node(custom.CFGOverride, patched, 3.0, 0.0, 0.6)),
    *in_either_order("context windows", lambda patched: windowed(patched, length=2, overlap=1), family="Wan"),
    Neighbour("EasyCache", easy_cache, steps=LONGER, moves=EASILY),
    Neighbour("LazyCache", lazy_cache, steps=LONGER, moves=0.0, whole=True),
    *in_either_order("TorchCompileModel", torch_compile, moves=1.0, during=eager),
)
