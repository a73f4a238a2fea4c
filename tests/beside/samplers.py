"""Samplers: the host's and ours, and two that look at other sizes."""

from __future__ import annotations

import comfy.samplers
from columns import SAMPLERS as OURS
from comfy_extras.nodes_advanced_samplers import SamplerLCMUpscale

# Those whose samples do not depend on noise that is drawn while they run, which the place in a batch would change.
STEADY = (
    "euler",
    "heun",
    "heunpp2",
    "dpm_2",
    "dpmpp_2m",
    "uni_pc",
    "lms",
    "ipndm",
    "deis",
    "res_multistep",
    "gradient_estimation",
    "ddim",
    "euler_cfg_pp",
    "dpmpp_2m_cfg_pp",
    "res_multistep_cfg_pp",
)
NOISY = ("euler_ancestral", "dpmpp_2s_ancestral", "dpmpp_sde", "dpmpp_3m_sde", "lcm", "seeds_2", "er_sde", "sa_solver")
PEEKING, GROWING = "euler, looking at half the size", "SamplerLCMUpscale"
OWN = tuple(name for name in OURS if not isinstance(OURS[name], str))


class Peeking:
    """A model as a sampler calls it, which is first asked for half the size at every call."""

    def __init__(self, model):
        self.model = model

    def __getattr__(self, name):
        return getattr(self.model, name)

    def __call__(self, x, sigma, **extra):
        self.model(x[..., ::2, ::2].contiguous(), sigma, **extra)
        return self.model(x, sigma, **extra)


def peeking():
    once = comfy.samplers.sampler_object("euler")

    def sample_euler(model, *args, **kwargs):
        return once.sampler_function(Peeking(model), *args, **kwargs)

    return comfy.samplers.KSAMPLER(sample_euler)


def sampler(name: str):
    if name == PEEKING:
        return peeking()
    if name == GROWING:
        return SamplerLCMUpscale.execute(2.0, -1, "bilinear").args[0]
    return OURS[name] if name in OWN else comfy.samplers.sampler_object(name)


def takes_lambda(name: str) -> bool:
    """Whether the cfg of this sampler is CFG++'s lambda."""
    return name.endswith("_cfg_pp") or name.startswith("CFG++")
