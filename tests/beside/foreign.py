"""Nodes of others, as packs write them. Each is a function that changes a clone of a MODEL.

Some keep a state: they get a ledger, a dictionary of this run's, in which they note what they keep in the host's
options and what they know by themselves. `intact` says afterwards what was lost of it.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass

import comfy.samplers
import comfy_extras.nodes_apg as apg
import comfy_extras.nodes_cfg as cfg
import comfy_extras.nodes_custom_sampler as custom
import comfy_extras.nodes_easycache as easycache
import comfy_extras.nodes_eps as eps
import comfy_extras.nodes_freelunch as freelunch
import comfy_extras.nodes_hypertile as hypertile
import comfy_extras.nodes_mahiro as mahiro
import comfy_extras.nodes_model_advanced as advanced
import comfy_extras.nodes_model_downscale as downscale
import comfy_extras.nodes_pag as pag
import comfy_extras.nodes_sag as sag
import comfy_extras.nodes_slg as slg
import comfy_extras.nodes_tcfg as tcfg
import comfy_extras.nodes_torch_compile as torch_compile
import torch
from comfy.patcher_extension import WrappersMP
from foreign import EVERY_STEP

# What a node does beside, where a truth must know it.
WATCHES = "watches"  # and changes nothing
COUPLES = "couples"  # the samples of a batch, or draws a number for all of them
WEIGHS = "weighs"  # sets the weight of some steps
ASKS = "asks"  # the model more often, or makes the predictions itself
CACHES = "caches"  # predictions, by how much the latent changes
MAY = "may"  # act, where it finds a result that is too large


@dataclass(frozen=True)
class Foreign:
    """A node of others. put(patched, ledger) returns the MODEL with it; on: "unet", "dit", "picture" or ""."""

    name: str
    put: Callable
    does: frozenset = frozenset()
    on: str = ""

    def intact(self, ledger: dict) -> str:
        """What was lost of the state that this node keeps in the host's options; "" if nothing."""
        kept, known = ledger.get("kept", 0), ledger.get("known", 0)
        return "" if kept == known else f"{self.name}: it counts {kept} of its {known} calls"


FOREIGN: dict[str, Foreign] = {}


def foreign(name: str, *does: str, on: str = ""):
    def keep(put: Callable) -> Callable:
        FOREIGN[name] = Foreign(name, put, frozenset(does), on)
        return put

    return keep


# ---- they count


def count(options: dict, ledger: dict) -> None:
    """Counts a call in the host's options, as packs keep the state of a run, and in the ledger."""
    options["their_count"] = ledger["kept"] = options.get("their_count", 0) + 1
    ledger["known"] = ledger.get("known", 0) + 1


def in_model_options(args: dict) -> dict:
    return args["model_options"]


def in_transformer_options(args: dict) -> dict:
    return args["model_options"]["transformer_options"]


def counting(place: str, options_of: Callable, patched, ledger: dict):
    def watch(args):
        count(options_of(args), ledger)
        return args["denoised"] if "denoised" in args else args["conds_out"]

    patched = patched.clone()
    getattr(patched, f"set_model_sampler_{place}_cfg_function")(watch)
    return patched


for place in ("pre", "post"):
    for options_of in (in_model_options, in_transformer_options):
        name = f"{place}-CFG function that counts {options_of.__name__}"
        foreign(name, WATCHES)(functools.partial(counting, place, options_of))


@foreign("cfg function that counts in_model_options")
def counting_cfg(patched, ledger):
    def combine(args):
        count(args["model_options"], ledger)
        return args["uncond"] + (args["cond"] - args["uncond"]) * (0.9 * args["cond_scale"])

    patched = patched.clone()
    patched.set_model_sampler_cfg_function(combine)
    return patched


def wrapped(patched, place, wrapper):
    patched = patched.clone()
    patched.add_wrapper_with_key(place, "theirs", wrapper)
    return patched


@foreign("PREDICT_NOISE wrapper that counts in model_options", WATCHES)
def counting_predict_noise(patched, ledger):
    def watch(executor, x, timestep, model_options=None, seed=None):
        count(model_options, ledger)
        return executor(x, timestep, model_options, seed)

    return wrapped(patched, WrappersMP.PREDICT_NOISE, watch)


class Counter:
    calls = 0


@foreign("APPLY_MODEL wrapper that counts in an object of transformer_options", WATCHES)
def counting_apply_model(patched, ledger):
    counter = Counter()

    def watch(executor, x, t, c_concat=None, c_crossattn=None, control=None, transformer_options=None, **more):
        transformer_options["their_counter"].calls += 1
        ledger.update(kept=counter.calls, known=ledger.get("known", 0) + 1)
        return executor(x, t, c_concat, c_crossattn, control, transformer_options, **more)

    patched = wrapped(patched, WrappersMP.APPLY_MODEL, watch)
    patched.model_options["transformer_options"]["their_counter"] = counter
    return patched


@foreign("DIFFUSION_MODEL wrapper that counts in an object of transformer_options", WATCHES)
def counting_diffusion_model(patched, ledger):
    counter = Counter()

    def watch(executor, *args, **kwargs):
        options = next(a for a in (*kwargs.values(), *args) if isinstance(a, dict) and "their_counter" in a)
        options["their_counter"].calls += 1
        ledger.update(kept=counter.calls, known=ledger.get("known", 0) + 1)
        return executor(*args, **kwargs)

    patched = wrapped(patched, WrappersMP.DIFFUSION_MODEL, watch)
    patched.model_options["transformer_options"]["their_counter"] = counter
    return patched


def once_a_run(place, patched, ledger):
    def watch(executor, *args, **kwargs):
        ledger["known"] = ledger.get("known", 0) + 1
        ledger["kept"] = ledger.get("kept", 0) + 1
        return executor(*args, **kwargs)

    return wrapped(patched, place, watch)


foreign("SAMPLER_SAMPLE wrapper", WATCHES)(functools.partial(once_a_run, WrappersMP.SAMPLER_SAMPLE))
foreign("OUTER_SAMPLE wrapper", WATCHES)(functools.partial(once_a_run, WrappersMP.OUTER_SAMPLE))


# ---- they keep what they have seen


def momentum(options_of, patched, ledger):
    """Adds a share of the last change; a state that is lost shows in the count of what was found."""

    def push(args):
        options, denoised = options_of(args), args["denoised"]
        last = options.get("their_last")
        ledger["known"] = ledger.get("known", -1) + 1
        ledger["kept"] = ledger.get("kept", 0) + (last is not None)
        options["their_last"] = denoised
        return denoised + 0.3 * (denoised - last) if last is not None and last.shape == denoised.shape else denoised

    patched = patched.clone()
    patched.set_model_sampler_post_cfg_function(push)
    return patched


for options_of in (in_model_options, in_transformer_options):
    foreign(f"momentum, kept {options_of.__name__}")(functools.partial(momentum, options_of))


# ---- they change the weight, or the negative


@foreign("cfg function that takes 0.7 of the cfg", WEIGHS)
def own_cfg(patched, ledger):
    patched = patched.clone()
    patched.set_model_sampler_cfg_function(lambda a: a["uncond"] + (a["cond"] - a["uncond"]) * (0.7 * a["cond_scale"]))
    return patched


def late(timestep, model_options) -> bool:
    """Whether a call lies in the second half of the run."""
    sigmas = model_options["transformer_options"]["sample_sigmas"]
    return bool(timestep.flatten()[0] <= sigmas[(len(sigmas) - 1) // 2])


def resting(patched, step: int):
    """The MODEL without its cfg function at one step, by the sigma of the call."""
    own = patched.model_options["sampler_cfg_function"]

    def combine(args):
        sigmas = args["model_options"]["transformer_options"]["sample_sigmas"]
        if abs(args["timestep"].flatten()[0] - sigmas[step]) > 1e-4 * sigmas[step]:
            return own(args)
        return args["uncond"] + (args["cond"] - args["uncond"]) * args["cond_scale"]

    patched = patched.clone()
    patched.set_model_sampler_cfg_function(combine)
    return patched


@foreign("PREDICT_NOISE wrapper that sets the cfg to 3.3 late in the run", WEIGHS)
def other_weight_late(patched, ledger):
    def weigh(executor, x, timestep, model_options=None, seed=None):
        guider = executor.class_obj
        before = guider.cfg
        try:
            guider.cfg = 3.3 if late(timestep, model_options) else before
            return executor(x, timestep, model_options, seed)
        finally:
            guider.cfg = before

    return wrapped(patched, WrappersMP.PREDICT_NOISE, weigh)


@foreign("PREDICT_NOISE wrapper that takes the negative away late in the run", WEIGHS)
def no_negative_late(patched, ledger):
    def drop(executor, x, timestep, model_options=None, seed=None):
        guider = executor.class_obj
        before, conds = guider.cfg, guider.conds
        try:
            if late(timestep, model_options):
                guider.cfg, guider.conds = 1.0, {**conds, "negative": None}
            return executor(x, timestep, model_options, seed)
        finally:
            guider.cfg, guider.conds = before, conds

    return wrapped(patched, WrappersMP.PREDICT_NOISE, drop)


@foreign("calc_cond_batch function that makes no negative late in the run", ASKS)
def no_negative_pass_late(patched, ledger):
    def make(args):
        conds, options = args["conds"], args["model_options"]
        if late(args["sigma"], options):
            conds = [conds[0], None]
        out = comfy.samplers.calc_cond_batch(args["model"], conds, args["input"], args["sigma"], options)
        return out if conds[1] is not None else [out[0], out[0]]

    patched = patched.clone()
    patched.set_model_sampler_calc_cond_batch_function(make)
    return patched


@foreign("post-CFG function that wants the negative at cfg 1 too", WATCHES, ASKS)
def wants_negative(patched, ledger):
    patched = patched.clone()
    patched.set_model_sampler_post_cfg_function(lambda args: args["denoised"], disable_cfg1_optimization=True)
    return patched


# ---- they look at another size, wrap, patch


@foreign("PREDICT_NOISE wrapper that first looks at half the size", WATCHES, ASKS, on="picture")
def looking_at_half(patched, ledger):
    def look(executor, x, timestep, model_options=None, seed=None):
        executor(x[..., ::2, ::2].contiguous(), timestep, model_options, seed)
        return executor(x, timestep, model_options, seed)

    return wrapped(patched, WrappersMP.PREDICT_NOISE, look)


@foreign("APPLY_MODEL wrapper that scales the prediction")
def scaling_apply_model(patched, ledger):
    return wrapped(patched, WrappersMP.APPLY_MODEL, lambda executor, *args, **kwargs: executor(*args, **kwargs) * 0.98)


@foreign("model_function_wrapper that scales the prediction")
def scaling_wrapper(patched, ledger):
    patched = patched.clone()
    patched.set_model_unet_function_wrapper(
        lambda apply_model, args: apply_model(args["input"], args["timestep"], **args["c"]) * 0.98
    )
    return patched


@foreign("patch after self-attention", on="unet")
def patching_attention(patched, ledger):
    patched = patched.clone()
    patched.set_model_attn1_output_patch(lambda out, options: out * 0.9)
    return patched


@foreign("attention override")
def overriding_attention(patched, ledger):
    patched = patched.clone()

    def override(function, *args, **kwargs):
        return function(*args, **kwargs) * 0.9

    patched.model_options["transformer_options"]["optimized_attention_override"] = override
    return patched


@foreign("torch.compile by object patch")
def compiled_by_patch(patched, ledger):
    patched = patched.clone()
    compiled = torch.compile(patched.get_model_object("diffusion_model"), backend="eager")
    patched.add_object_patch("diffusion_model", compiled)
    return patched


# ---- the host's own


def node(name: str, execute: Callable, *inputs, does: tuple = (), on: str = "") -> None:
    """A node of the host; old ones return a tuple."""

    def put(patched, ledger):
        out = execute(patched, *inputs)
        return out[0] if isinstance(out, tuple) else out.args[0]

    foreign(name, *does, on=on)(put)


node("TorchCompileModel", torch_compile.TorchCompileModel.execute, "inductor")
node("EasyCache", easycache.EasyCacheNode.execute, *EVERY_STEP, does=(COUPLES, CACHES))


@foreign("LazyCache", COUPLES, CACHES)
def lazy_cache(patched, ledger):
    """With a wrapper before and one after it, which note at which calls it answers by itself."""

    def begin(executor, *args, **kwargs):
        ledger["answered"] = (*ledger.get("answered", ()), True)
        return executor(*args, **kwargs)

    def reach(executor, *args, **kwargs):
        ledger["answered"] = (*ledger["answered"][:-1], False)
        return executor(*args, **kwargs)

    patched = patched.clone()
    patched.add_wrapper_with_key(WrappersMP.PREDICT_NOISE, "before the cache", begin)
    patched = easycache.LazyCacheNode.execute(patched, *EVERY_STEP).args[0]
    patched.add_wrapper_with_key(WrappersMP.PREDICT_NOISE, "after the cache", reach)
    return patched


node("RescaleCFG", lambda patched: advanced.RescaleCFG().patch(patched, 0.7))
node("FreeU", freelunch.FreeU.execute, 1.1, 1.2, 0.9, 0.2, on="unet")
node("PAG", pag.PerturbedAttentionGuidance.execute, 2.0, does=(ASKS,), on="unet")
node("SAG", sag.SelfAttentionGuidance.execute, 0.5, 2.0, does=(ASKS, COUPLES), on="unet")
node("SLG", slg.SkipLayerGuidanceDiT.execute, 2.0, 0.0, 1.0, "0", "0", 0.0, does=(ASKS, COUPLES), on="dit")
node("Mahiro", mahiro.Mahiro.execute, does=(COUPLES,))
node("CFGZeroStar", cfg.CFGZeroStar.execute)
node("CFGNorm", cfg.CFGNorm.execute, 1.0, does=(MAY,))
node("APG", apg.APG.execute, 0.5, 15.0, 0.0)
node("TCFG", tcfg.TCFG.execute)
node("EpsilonScaling", eps.EpsilonScaling.execute, 1.02)
node("TemporalScoreRescaling", eps.TemporalScoreRescaling.execute, 0.9, 1.0)
node("HyperTile", hypertile.HyperTile.execute, 32, 2, 0, False, does=(COUPLES,), on="unet")
node("DeepShrink", downscale.PatchModelAddDownscale.execute, 2, 2.0, 0.0, 0.6, True, "bicubic", "bicubic", on="unet")
if hasattr(custom, "CFGOverride"):
    node("CFG Override", custom.CFGOverride.execute, 3.3, 0.0, 0.6, does=(WEIGHS,))
