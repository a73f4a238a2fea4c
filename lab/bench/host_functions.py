"""The host's own guidance as counterparts for bench.py: each a function of Latents, as a sampler would call it."""

import functools
from collections.abc import Callable

import comfy.model_patcher
import comfy.samplers
import comfy_extras.nodes_apg
import comfy_extras.nodes_cfg
import comfy_extras.nodes_eps
import comfy_extras.nodes_fresca
import comfy_extras.nodes_lumina2
import comfy_extras.nodes_model_advanced
import comfy_extras.nodes_perpneg
import comfy_extras.nodes_tcfg
import torch
from torch import Tensor

from ..pack import DEVICE
from .latents import Latents


def any_model() -> comfy.model_patcher.ModelPatcher:
    """A MODEL of 16 channels, which is all that a node asks before it patches one."""
    net = torch.nn.ModuleDict({"diffusion_model": torch.nn.Conv2d(16, 16, 1)})
    return comfy.model_patcher.ModelPatcher(net, DEVICE, DEVICE)


@functools.cache
def options(node: type, *values: float) -> dict:
    """The options of a MODEL behind a node of the host."""
    return node.execute(any_model(), *values).args[0].model_options


@functools.cache
def rescale_options() -> dict:
    """The same for the one node here that is of the host's older form."""
    return comfy_extras.nodes_model_advanced.RescaleCFG().patch(any_model(), 0.7)[0].model_options


def weighed(p: Latents, cond: Tensor, uncond: Tensor, model_options: dict | None = None) -> Tensor:
    return comfy.samplers.cfg_function(None, cond, uncond, 7.0, p.x, p.each, model_options or {})


def pre_cfg(node: type, *values: float) -> Callable:
    return options(node, *values)["sampler_pre_cfg_function"][-1]


def post_cfg(node: type, p: Latents, *values: float) -> Tensor:
    """What the post-CFG function of a node makes of p.first."""
    apply = options(node, *values)["sampler_post_cfg_function"][-1]
    return apply({"denoised": p.first, "cond_denoised": p.cond, "input": p.x, "sigma": p.each})


def cfg(p: Latents) -> Tensor:
    return weighed(p, p.cond, p.uncond)


def perp_neg(p: Latents) -> Tensor:
    return comfy_extras.nodes_perpneg.perp_neg(p.x, p.cond, p.first, p.uncond, 1.0, 7.0)


def apg(p: Latents) -> Tensor:
    apply = pre_cfg(comfy_extras.nodes_apg.APG, 0.0, 15.0, 0.0)
    return weighed(p, *apply({"conds_out": [p.cond, p.uncond], "cond_scale": 7.0, "sigma": p.each}))


def cfg_zero_star(p: Latents) -> Tensor:
    return weighed(p, p.cond, p.uncond, options(comfy_extras.nodes_cfg.CFGZeroStar))


def tcfg(p: Latents) -> Tensor:
    apply = pre_cfg(comfy_extras.nodes_tcfg.TCFG)
    return apply({"input": p.x, "conds": [True, True], "conds_out": [p.cond, p.uncond]})[1]


def rescale(p: Latents) -> Tensor:
    return weighed(p, p.cond, p.uncond, rescale_options())


def fresca(p: Latents) -> Tensor:
    apply = pre_cfg(comfy_extras.nodes_fresca.FreSca, 1.0, 1.25, 20)
    return weighed(p, *apply({"conds_out": [p.cond, p.uncond], "conds": [[], []]}))


def renorm(p: Latents) -> Tensor:
    """The host's RenormCFG takes one sample at a time."""
    apply = options(comfy_extras.nodes_lumina2.RenormCFG, 100.0, 1.0)["sampler_cfg_function"]
    samples = [t.split(1) for t in (p.cond, p.uncond, p.x, p.each)]
    return torch.cat(
        [
            x - apply({"cond_denoised": c, "uncond_denoised": u, "input": x, "timestep": t, "cond_scale": 7.0})
            for c, u, x, t in zip(*samples, strict=True)
        ]
    )


def norm_per_pixel(p: Latents) -> Tensor:
    return post_cfg(comfy_extras.nodes_cfg.CFGNorm, p, 1.0)


def epsilon_scaling(p: Latents) -> Tensor:
    return post_cfg(comfy_extras.nodes_eps.EpsilonScaling, p, 1.005)
