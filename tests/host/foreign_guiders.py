"""Guiders that the pack does not know, each with a `predict_noise` of its own, as other packs have them."""

import comfy.samplers
import torch
from tiny import text


class Guider(comfy.samplers.CFGGuider):
    """What these guiders share: the two prompts, and the step of a call."""

    def __init__(self, patched, **how):
        super().__init__(patched)
        self.set_conds(how.pop("positive", text(1)), how.pop("negative", text(2)))
        vars(self).update(how)

    @staticmethod
    def step(timestep, model_options):
        sigmas = model_options["transformer_options"]["sample_sigmas"]
        return int((sigmas[:-1] >= timestep[0] * (1 - 1e-4)).sum()) - 1

    def guided(self, x, timestep, cfg, model_options, seed, negative=True):
        own = self.conds["negative"] if negative else None
        return comfy.samplers.sampling_function(
            self.inner_model, x, timestep, own, self.conds["positive"], cfg, model_options=model_options, seed=seed
        )


class Listed(Guider):
    """`cfg` is a list with one number a step."""

    def predict_noise(self, x, timestep, model_options, seed=None):
        return self.guided(x, timestep, self.cfg[self.step(timestep, model_options)], model_options, seed)


class Dropping(Guider):
    """Drops the negative from a step on."""

    first = 3

    def predict_noise(self, x, timestep, model_options, seed=None):
        both = self.step(timestep, model_options) < self.first
        return self.guided(x, timestep, self.cfg if both else 1.0, model_options, seed, both)


class Combining(Guider):
    """Combines the predictions itself, by a cfg function that it puts into the step's options."""

    own = 3.0

    def predict_noise(self, x, timestep, model_options, seed=None):
        def combine(args):
            return args["uncond"] + (args["cond"] - args["uncond"]) * self.own

        options = {**model_options, "sampler_cfg_function": combine, "disable_cfg1_optimization": True}
        return self.guided(x, timestep, self.cfg, options, seed)


class Spread(Guider):
    """Its weight is a tensor, for each sample, frame or place; it calls the post functions itself."""

    shown = True

    def predict_noise(self, x, timestep, model_options, seed=None):
        conds = [self.conds["positive"], self.conds["negative"]]
        cond, uncond = comfy.samplers.calc_cond_batch(self.inner_model, conds, x, timestep, model_options)
        denoised = uncond + (cond - uncond) * self.cfg
        args = {"cond": conds[0], "uncond": conds[1], "model": self.inner_model, "model_options": model_options}
        args |= {"cond_denoised": cond, "uncond_denoised": uncond, "sigma": timestep, "input": x}
        args |= {"cond_scale": self.cfg} if self.shown else {}
        for function in model_options.get("sampler_post_cfg_function", []):
            denoised = function({**args, "denoised": denoised})
        return denoised


class Guider_LTXAVDualCFG(Guider):
    """As the host's LTXV Dual CFG Guider, of 0.31 and later: a weight for the video and one for its sound."""

    def __init__(self, patched, video_cfg, audio_cfg, **how):
        super().__init__(patched, video_cfg=video_cfg, audio_cfg=audio_cfg, cfg=max(video_cfg, audio_cfg), **how)

    def sample(self, noise, latent_image, *args, **kwargs):
        self.length = None
        if latent_image.is_nested:
            self.length = latent_image.unbind()[0][0].numel()
        return super().sample(noise, latent_image, *args, **kwargs)

    def predict_noise(self, x, timestep, model_options, seed=None):
        if self.length is None or self.video_cfg == self.audio_cfg:
            self.cfg = self.video_cfg
            return super().predict_noise(x, timestep, model_options, seed)
        weights = torch.full_like(x[:1], self.audio_cfg)
        weights[..., : self.length] = self.video_cfg

        def combine(args):
            return args["uncond"] + (args["cond"] - args["uncond"]) * weights

        options = {**model_options, "sampler_cfg_function": combine, "disable_cfg1_optimization": True}
        return super().predict_noise(x, timestep, options, seed)
