"""Samplers: the host's and ours, and two that look at other sizes."""

from __future__ import annotations

import copy
import functools

import comfy.samplers
from columns import SAMPLERS as KNOWN
from comfy_extras.nodes_advanced_samplers import SamplerLCMUpscale
from foreign import Changed

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
RESIZING = (PEEKING, GROWING, "LCM Upscale", "a look at half size")
OBJECTS = tuple(name for name in KNOWN if not isinstance(KNOWN[name], str))
OWN = tuple(name for name in OBJECTS if name not in RESIZING)


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


def repeating(once, calls: tuple[int, ...]):
    """A SAMPLER that answers these calls by itself, with what the last prediction before added to the latent."""
    call, added = iter(range(10_000)), []

    def answer(predict, x):
        if next(call) not in calls:
            added[:] = [predict(x) - x]
        return x + added[0]

    @functools.wraps(once.sampler_function)
    def sample(model, *args, **kwargs):
        return once.sampler_function(Changed(model, answer), *args, **kwargs)

    repeated = copy.copy(once)
    repeated.sampler_function = sample
    return repeated


def sampler(name: str):
    if name == PEEKING:
        return peeking()
    if name == GROWING:
        return SamplerLCMUpscale.execute(2.0, -1, "bilinear").args[0]
    return KNOWN[name] if name in OBJECTS else comfy.samplers.sampler_object(name)


def takes_lambda(name: str) -> bool:
    """Whether the cfg of this sampler is CFG++'s lambda."""
    return name.endswith("_cfg_pp") or name.startswith("CFG++")
