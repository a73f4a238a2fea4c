"""Tiny random models of the host's own classes, and short runs with them. Every parameter is drawn, none is zero."""

import copy
import functools
import math

import comfy.model_base
import comfy.model_management
import comfy.model_patcher
import comfy.model_sampling
import comfy.samplers
import comfy.supported_models
import comfy_extras.nodes_custom_sampler as custom
import comfy_extras.nodes_perpneg as perpneg
import torch
from architectures import UNET, WIDTH, hints
from features import need


class Flow(comfy.model_sampling.ModelSamplingDiscreteFlow, comfy.model_sampling.CONST):
    pass


class VPrediction(comfy.model_sampling.ModelSamplingDiscrete, comfy.model_sampling.V_PREDICTION):
    pass


class Continuous(comfy.model_sampling.ModelSamplingContinuousEDM, comfy.model_sampling.EDM):
    pass


SAMPLING = {"eps": None, "v": VPrediction, "edm": Continuous, "flow": Flow}


def initialise(module, seed=0):
    """Draw every parameter: norms at 1, the rest at a gain that keeps signals alive. Zeros would pass every test."""
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in module.named_parameters():
        if parameter.ndim < 2:
            parameter.data.fill_(1.0 if name.endswith(("weight", "gamma")) else 0.0)
        else:
            gain = 1.0 / math.sqrt(parameter[0].numel())
            parameter.data.copy_(torch.randn(parameter.shape, generator=generator) * gain)
    for name, buffer in module.named_buffers():
        if name.endswith("inv_freq"):  # the host leaves it to the checkpoint; what lies in memory may be NaN
            buffer.copy_(10000.0 ** -(torch.arange(len(buffer)) / len(buffer)))
    return module


@functools.cache
def base_model(kind="eps"):
    config = comfy.supported_models.SD15(dict(UNET))
    config.set_inference_dtype(torch.float32, None)
    model = comfy.model_base.BaseModel(config, device="cpu")
    initialise(model.diffusion_model)
    if SAMPLING[kind]:
        model.model_sampling = SAMPLING[kind](config)
    return model.eval()


@functools.cache
def model(kind="eps"):
    """The MODEL of a kind. Nodes patch clones of it, as in a workflow, and loading it again costs nothing."""
    device = comfy.model_management.get_torch_device()
    return comfy.model_patcher.ModelPatcher(base_model(kind), device, torch.device("cpu"))


def sampled_as(schedule, prediction, **settings):
    """The tiny MODEL with the host's sampling of these two classes, as its own nodes patch it.

    It has a module of its own around the shared network: while a patched clone is loaded, others see the patch.
    """
    net = copy.copy(base_model())
    net._modules = dict(net._modules)
    made = type("ModelSampling", (schedule, prediction), {})(net.model_config)
    for name, values in settings.items():
        getattr(made, name)(**values)
    device = comfy.model_management.get_torch_device()
    patched = comfy.model_patcher.ModelPatcher(net, device, torch.device("cpu"))
    patched.add_object_patch("model_sampling", made)
    return patched


@functools.cache
def architecture(build):
    """The MODEL of one of the architectures above."""
    config = build()
    config.set_inference_dtype(torch.float32, None)
    net = config.get_model(hints(), device="cpu")
    initialise(net)
    device = comfy.model_management.get_torch_device()
    return comfy.model_patcher.ModelPatcher(net.eval(), device, torch.device("cpu"))


def built(build):
    """What makes the MODEL of one of the architectures once it is asked for."""
    return functools.partial(architecture, build)


@functools.cache
def tensor(seed, *shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def text(seed, tokens=4, width=WIDTH, **options):
    """A conditioning; each seed is another prompt."""
    return [[tensor(1000 + seed, 1, tokens, width), {"pooled_output": tensor(2000 + seed, 1, 8), **options}]]


def conds():
    return text(1), text(2)


def noise(batch=1, size=8, seed=0):
    return torch.stack([tensor(seed + i, 4, size, size) for i in range(batch)])


def count_passes(patched, counted: list):
    """The MODEL with a wrapper that notes the batch of every forward pass."""

    def note(apply_model, args):
        counted.append(args["input"].shape[0])
        return apply_model(args["input"], args["timestep"], **args["c"])

    patched = patched.clone()
    patched.set_model_unet_function_wrapper(note)
    return patched


def passes(patched, **how):
    """The batches of a run's forward passes."""
    counted = []
    sample(count_passes(patched, counted), **how)
    return counted


def watch(patched, seen: list):
    """The MODEL with a last post-CFG function that notes what every step ended with."""

    def note(args):
        seen.append({key: on_cpu(value) for key, value in args.items()})
        return args["denoised"]

    patched = patched.clone()
    patched.set_model_sampler_post_cfg_function(note)
    return patched


def on_cpu(value):
    return value.cpu() if torch.is_tensor(value) else value


def scales(patched, **how):
    """The weight of every model call of a run."""
    seen = []
    sample(watch(patched, seen), **how)
    return [args["cond_scale"] for args in seen]


def sigmas_of(patched, steps=6, scheduler="simple"):
    return comfy.samplers.calculate_sigmas(patched.get_model_object("model_sampling"), scheduler, steps)


TWICE = ("heun", "dpm_2", "dpmpp_2s_ancestral", "dpmpp_sde")  # but once in the last step, which ends at 0


def turns(sampler, steps=6):
    """For each call of a run with one of the host's samplers: its step, and whether the call begins it."""
    calls = [2] * (steps - 1) + [1] if sampler in TWICE else [1] * steps
    return [(step, call == 0) for step, times in enumerate(calls) for call in range(times)]


def guider_of(patched, cfg=5.0, positive=None, negative=None, make=None):
    if make:
        return make(patched)
    guider = comfy.samplers.CFGGuider(patched)
    guider.set_conds(positive or text(1), negative or text(2))
    guider.set_cfg(cfg)
    return guider


def sample(
    patched, *, cfg=5.0, sampler="euler", steps=6, x=None, latent=None, sigmas=None, guider=None, mask=None, **more
):
    """Sample with the real host, and return the latent."""
    x = noise() if x is None else x
    latent = torch.zeros_like(x) if latent is None else latent
    sigmas = sigmas_of(patched, steps) if sigmas is None else sigmas
    guider = guider or guider_of(patched, cfg, **more)
    sampler = comfy.samplers.sampler_object(sampler) if isinstance(sampler, str) else sampler
    sampled = guider.sample(x, latent, sampler, sigmas, denoise_mask=mask, disable_pbar=True, seed=3)
    return sampled.to("cpu")


def predict(patched, x=None, sigma=3.0, sigmas=None, **how):
    """The guided prediction of a single model call, in the model's own x0 space."""
    x = noise() * sigma if x is None else x
    seen = []

    def call(model, start, sigmas, extra_args=None, callback=None, disable=None):
        with torch.no_grad():
            seen.append(model(x.to(start.device), start.new_full((x.shape[0],), sigma), **extra_args))
        return start

    sigmas = torch.tensor([sigma, 0.0]) if sigmas is None else sigmas
    sample(patched, x=torch.zeros_like(x), sampler=comfy.samplers.KSAMPLER(call), sigmas=sigmas, **how)
    return seen[0].cpu()


EMPTY = text(7)


def cfg_guider(cfg=5.0, negative=2):
    return lambda patched: run_node(custom.CFGGuider, patched, text(1), text(negative), cfg)


def perp_neg(cfg=5.0, neg_scale=0.8, empty=EMPTY):
    return lambda patched: run_node(perpneg.PerpNegGuider, patched, text(1), text(2), empty, cfg, neg_scale)


def dual(style, cfg1=4.0, cfg2=5.0, middle=4, negative=2):
    prompts = text(1), text(middle), text(negative)
    return lambda patched: run_node(custom.DualCFGGuider, patched, *prompts, cfg1, cfg2, style)


def dual_model(cfg=5.0, other=None):
    def make(patched):
        need("Dual Model CFG Guider")
        model_negative = other or model("v")
        return run_node(custom.DualModelGuider, patched, text(1), cfg, model_negative=model_negative, negative=text(2))

    return make


def basic(patched):
    return run_node(custom.BasicGuider, patched, text(1))


# What makes each guider, by the host's name of it.
GUIDERS = {
    "CFG Guider": cfg_guider,
    "Perp-Neg Guider": perp_neg,
    "Dual CFG Guider": lambda: dual("regular"),
    "Dual CFG Guider (nested)": lambda: dual("nested"),
    "Dual Model CFG Guider": dual_model,
}


def alone(conditioning, patched=None, **how):
    """D(x; conditioning), evaluated by the host on its own."""
    return predict(patched or model(), cfg=1.0, positive=conditioning, **how)


def distance(a, b):
    """The largest difference, relative to the spread of b."""
    return ((a - b).abs().max() / b.std()).item()


def run_node(node, *args, **kwargs):
    """The first output of a node, executed as the host executes it."""
    return node.execute(*args, **kwargs).args[0]


__all__ = [name for name in globals() if not name.startswith("_")] + ["custom"]
