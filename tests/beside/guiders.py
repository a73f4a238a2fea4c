"""Guiders: the host's, and some that nobody in the pack knows.

Each function takes a MODEL and a scene, and returns a guider. In every one the weight that a stage can steer is the
scene's cfg, as far as the guider has such a number.
"""

from __future__ import annotations

import comfy.samplers
import comfy_extras.nodes_perpneg as perpneg
import torch
from rows import weaker
from tiny import custom, run_node


def plain(patched, scene):
    guider = comfy.samplers.CFGGuider(patched)
    return told(guider, scene)


def told(guider, scene):
    guider.set_conds(scene.positive(), scene.negative())
    guider.set_cfg(scene.cfg)
    return guider


def basic(patched, scene):
    return run_node(custom.BasicGuider, patched, scene.positive())


def dual(patched, scene):
    texts = scene.positive(), scene.text(4), scene.negative()
    return run_node(custom.DualCFGGuider, patched, *texts, 4.0, scene.cfg, "regular")


def nested(patched, scene):
    texts = scene.positive(), scene.text(4), scene.negative()
    return run_node(custom.DualCFGGuider, patched, *texts, scene.cfg, 2.0, "nested")


def perp_neg(patched, scene):
    texts = scene.positive(), scene.negative(), scene.text(7)
    return run_node(perpneg.PerpNegGuider, patched, *texts, scene.cfg, 0.8)


def dual_model(patched, scene):
    other = {"model_negative": weaker(patched), "negative": scene.negative()}
    return run_node(custom.DualModelGuider, patched, scene.positive(), scene.cfg, **other)


# ---- unknown ones


def step_of(timestep, model_options) -> tuple[int, int]:
    """The step of a call, and how many there are."""
    sigmas = model_options["transformer_options"]["sample_sigmas"]
    last = len(sigmas) - 1
    reached = (sigmas[:-1] >= timestep.flatten()[0] * (1 - 1e-5)).sum().item()
    return max(reached - 1, 0), last


class PerStep(comfy.samplers.CFGGuider):
    """Its cfg is a list with one number a step, and it takes the negative away in the last third."""

    def predict_noise(self, x, timestep, model_options=None, seed=None):
        step, steps = step_of(timestep, model_options)
        inside = step < 2 * steps / 3
        scale = self.cfg[min(step, len(self.cfg) - 1)] if inside else 1.0
        negative, positive = self.conds.get("negative") if inside else None, self.conds.get("positive")
        return comfy.samplers.sampling_function(
            self.inner_model, x, timestep, negative, positive, scale, model_options=model_options, seed=seed
        )


def per_step(patched, scene):
    guider = told(PerStep(patched), scene)
    guider.cfg = [scene.cfg + 0.5 * i for i in range(scene.steps)]
    return guider


class Dropping(comfy.samplers.CFGGuider):
    """Takes the negative away in the second half of the run; its cfg is a number."""

    def predict_noise(self, x, timestep, model_options=None, seed=None):
        step, steps = step_of(timestep, model_options)
        scale, negative = (self.cfg, self.conds.get("negative")) if step < steps / 2 else (1.0, None)
        return comfy.samplers.sampling_function(
            self.inner_model, x, timestep, negative, self.conds["positive"], scale, model_options, seed
        )


def dropping(patched, scene):
    return told(Dropping(patched), scene)


class PerModality(comfy.samplers.CFGGuider):
    """As the host's guider of LTX since 0.31: a weight for the video and one for the sound, by a cfg function."""

    def set_cfgs(self, video, audio):
        self.video_cfg, self.audio_cfg, self.cfg = video, audio, max(video, audio)
        self._v_numel = None

    def sample(self, noise, latent_image, *args, **kwargs):
        first = latent_image.unbind()[0] if latent_image.is_nested else latent_image
        self._v_numel = first[0].numel() if latent_image.is_nested else first[0].numel() // 2
        return super().sample(noise, latent_image, *args, **kwargs)

    def combined(self, args):
        cond, uncond = args["cond"], args["uncond"]
        weight = torch.full_like(cond.flatten(1), self.audio_cfg)
        weight[:, : self._v_numel] = self.video_cfg
        return uncond + (cond - uncond) * weight.view_as(cond)

    def predict_noise(self, x, timestep, model_options=None, seed=None):
        options = {**model_options, "sampler_cfg_function": self.combined, "disable_cfg1_optimization": True}
        return super().predict_noise(x, timestep, options, seed)


def per_modality(patched, scene):
    guider = PerModality(patched)
    guider.set_conds(scene.positive(), scene.negative())
    guider.set_cfgs(scene.cfg, scene.cfg + 2.0)
    return guider


class OwnCalls(comfy.samplers.CFGGuider):
    """Combines by itself, and calls the post-CFG functions with what `said` returns."""

    def said(self, args: dict) -> dict:
        return args

    def scale(self, x):
        return self.cfg

    def predict_noise(self, x, timestep, model_options=None, seed=None):
        conds = [self.conds["positive"], self.conds["negative"]]
        cond, uncond = comfy.samplers.calc_cond_batch(self.inner_model, conds, x, timestep, model_options)
        result = uncond + (cond - uncond) * self.scale(x)
        known = {"cond": conds[0], "uncond": conds[1], "cond_denoised": cond, "uncond_denoised": uncond, "input": x}
        known |= {"sigma": timestep, "model": self.inner_model, "model_options": model_options}
        for function in model_options.get("sampler_post_cfg_function", []):
            result = function(self.said({**known, "denoised": result, "cond_scale": self.scale(x)}))
        return result


class PerSample(OwnCalls):
    """Its cfg is a tensor with a weight for each sample."""

    def scale(self, x):
        return self.cfg.view(-1, *[1] * (x.ndim - 1))


def per_sample(patched, scene):
    guider = told(PerSample(patched), scene)
    guider.cfg = scene.cfg + 0.5 * (scene.first + torch.arange(scene.batch))
    return guider


class Unweighed(OwnCalls):
    """Does not tell the post-CFG functions the weight."""

    def said(self, args):
        return {key: value for key, value in args.items() if key != "cond_scale"}


def unweighed(patched, scene):
    return told(Unweighed(patched), scene)


GUIDERS = {
    "CFG Guider": plain,
    "Basic Guider": basic,
    "Dual CFG Guider": dual,
    "Dual CFG Guider (nested)": nested,
    "Perp-Neg Guider": perp_neg,
    "Dual Model CFG Guider": dual_model,
    "unknown: a list of weights, no negative at the end": per_step,
    "unknown: no negative in the second half": dropping,
    "unknown: a weight for each modality": per_modality,
    "unknown: a weight for each sample": per_sample,
    "unknown: no weight in its calls": unweighed,
}
KNOWN = [name for name in GUIDERS if not name.startswith("unknown")]
