"""What others wire beside our nodes: a guider that nobody here knows, samplers that look at other sizes, caches, a
compiled network.
"""

import functools

import comfy.samplers
import torch
from comfy.k_diffusion.sampling import sample_euler
from tiny import run_node

# ---- a guider


class OwnWeights(comfy.samplers.CFGGuider):
    """A guider with a weight for the first part of a packed latent and one for the rest, under names of its own.

    As the host's LTXV Dual CFG Guider does it: `cfg` is the larger of the two, and a cfg function, put into every call,
    makes the pair with each.
    """

    def set_weights(self, shapes, first, rest):
        self.first_part, self.weights = torch.Size(shapes[0]).numel(), (first, rest)
        self.set_cfg(max(first, rest))

    def combine(self, args):
        cond, uncond = args["cond"], args["uncond"]
        weight = torch.full_like(cond, self.weights[0])
        if cond.shape[1] == 1:  # packed into one row
            weight[..., self.first_part :] = self.weights[1]
        return uncond + weight * (cond - uncond)

    def predict_noise(self, x, timestep, model_options={}, seed=None):  # noqa: B006  (the host's own signature)
        options = {**model_options, "sampler_cfg_function": self.combine, "disable_cfg1_optimization": True}
        pair = self.conds.get("negative"), self.conds.get("positive")
        return comfy.samplers.sampling_function(
            self.inner_model, x, timestep, *pair, self.cfg, model_options=options, seed=seed
        )


# ---- samplers


def sample_lcm_upscale(model, x, sigmas, **how):
    """The host's, to twice the size; it draws from the generator that all share."""
    from comfy_extras.nodes_advanced_samplers import sample_lcm_upscale

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return sample_lcm_upscale(model, x, sigmas, total_upscale=2.0, upscale_method="bilinear", **how)


class Changed:
    """What a sampler calls, with every call done in a way of its own."""

    def __init__(self, model, call):
        self.model, self.call = model, call

    def __getattr__(self, name):
        return getattr(self.model, name)

    def __call__(self, x, sigma, **how):
        return self.call(functools.partial(self.model, sigma=sigma, **how), x)


def looking(at):
    """A SAMPLER: Euler that predicts every step at another latent first, and makes nothing of it."""

    def call(predict, x):
        predict(at(x))
        return predict(x)

    def sample_looking(model, x, sigmas, **how):
        return sample_euler(Changed(model, call), x, sigmas, **how)

    return comfy.samplers.KSAMPLER(sample_looking)


def repeating(steps):
    """A SAMPLER: Euler that repeats at these steps what the prediction of the step before added to the latent."""
    step, added = iter(range(1000)), []

    def call(predict, x):
        if next(step) not in steps:
            added[:] = [predict(x) - x]
        return x + added[0]

    def sample_repeating(model, x, sigmas, **how):
        return sample_euler(Changed(model, call), x, sigmas, **how)

    return comfy.samplers.KSAMPLER(sample_repeating)


LCM_UPSCALE = comfy.samplers.KSAMPLER(sample_lcm_upscale)
LOOKS_AT_HALF_SIZE = looking(functools.partial(torch.nn.functional.interpolate, scale_factor=0.5))
LOOKS_TWICE = looking(lambda x: x)

# ---- nodes of the host. A cache repeats every step between a third and two thirds of the run, whatever the change.

EVERY_STEP = 3.0, 0.3, 0.7, False


def easy_cache(patched):
    from comfy_extras.nodes_easycache import EasyCacheNode

    return run_node(EasyCacheNode, patched, *EVERY_STEP)


def lazy_cache(patched):
    from comfy_extras.nodes_easycache import LazyCacheNode

    return run_node(LazyCacheNode, patched, *EVERY_STEP)


def torch_compile(patched):
    from comfy_extras.nodes_torch_compile import TorchCompileModel

    return run_node(TorchCompileModel, patched, "inductor")


def eager():
    """Compiled networks run as they are written: it is the wiring that is tried."""
    return torch.compiler.set_stance("force_eager")
