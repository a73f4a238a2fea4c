"""What the loops of our samplers share: the levels of a run, the predictions of a call, a call at another weight.

A SAMPLER of a node is the host's KSAMPLER object, which holds a loop over the steps. The host calls the loop with
`model`, an object around the guider.
"""

from __future__ import annotations

import contextlib
import logging
from typing import NamedTuple

import comfy.model_patcher
from torch import Tensor

from ...guidance import Parametrisation
from . import branches, guiders, parametrisation
from .account import Account
from .guided import baseline_of
from .run import run_in


def network_of(model) -> Parametrisation:
    """The parametrisation of the model that a sampler is called with."""
    return parametrisation.of(model.inner_model.model_patcher)


def kind_of(model) -> str:
    """The coordinates in which it is sampled, "flow" or "ve"."""
    return network_of(model).kind


def levels_of(node: str, sigmas: Tensor, kind: str) -> list[float]:
    """The sigmas of a run as numbers. Raises ValueError if they rise or go on after 0."""
    levels = sigmas.tolist()
    for here, there in zip(levels[:-1], levels[1:], strict=True):
        if there > here:
            raise ValueError(
                f"{node}: the sigmas rise from {here:g} to {there:g}; for unsampling use the sampler euler, with the "
                f"CFG++ node if it is to be CFG++."
            )
        if here == 0.0:
            raise ValueError(f"{node}: the sigmas go on after 0; remove the steps behind the first 0.")
    # The shift of a flow schedule may round its 1 upwards.
    return [min(level, 1.0) for level in levels] if kind == "flow" else levels


class Prediction(NamedTuple):
    """What a call of the guider predicted.

    guided  the result
    cond    the model's prediction for the positive
    uncond  its prediction for what the positive is contrasted with; None where there is none
    scale   the weight of the two
    """

    guided: Tensor
    cond: Tensor
    uncond: Tensor | None
    scale: float = 1.0


class Predictor:
    """Calls the guider of a run, at its own weight or at another, and returns what the call predicted.

    `keeps_pair` asks for the negative's prediction at weight 1 too.
    """

    def __init__(self, model, extra_args: dict | None, *, keeps_pair: bool):
        self.model, self.guider = model, model.inner_model
        self.account = Account()
        self.seen: dict | None = None
        options = dict((extra_args or {}).get("model_options", {}))
        options = comfy.model_patcher.set_model_options_post_cfg_function(options, self._note, keeps_pair)
        self.extra_args = {**(extra_args or {}), "model_options": options}

    def _note(self, args: dict) -> Tensor:
        self.seen = args
        return args["denoised"]

    def say(self, sentence: str, level: int = logging.WARNING) -> None:
        """Log a sentence, once a run."""
        self.account.say(sentence, level)

    @property
    def kind(self) -> guiders.GuiderKind:
        run = run_in(self.guider.model_options)
        return run.guider_kind if run else guiders.kind_of(self.guider)

    @property
    def has_weight(self) -> bool:
        """Whether the guider has a weight, which is a number."""
        weight = guiders.weight_of(self.guider, self.kind, 1)
        return weight is not None and guiders.is_known(weight)

    @property
    def guider_name(self) -> str:
        return guiders.kind_of(self.guider).name

    def begin(self, index: int) -> None:
        """Say which step of the run the next calls belong to."""
        run = run_in(self.guider.model_options)
        if run is not None:
            run.course.hold(index)

    def __call__(self, x: Tensor, sigma: float) -> Prediction:
        self.seen = None
        guided = self.model(x, x.new_full((x.shape[0],), sigma), **self.extra_args)
        args, self.seen = self.seen, None
        if args is None:  # the guider has called no post-CFG function, as some do when they skip the negative
            return Prediction(guided, guided, None)
        own = baseline_of(args)
        cond = self._inpainted(args["cond_denoised"], args["sigma"])
        if args[own] is None:
            return Prediction(guided, cond, None)
        if not branches.in_time(args[own], sigma):  # no negative counts here, and the host has guided away from zeros
            return Prediction(cond, cond, None)
        uncond = self._inpainted(args[f"{own}_denoised"], args["sigma"])
        return Prediction(guided, cond, uncond, guiders.gauge(args.get("cond_scale", guiders.UNKNOWN)))

    def at(self, weight: float, x: Tensor, sigma: float) -> Prediction:
        """A call with `weight` in place of the guider's own, which is restored afterwards."""
        with guiders.kept(self.guider, self.kind):
            if self.has_weight:
                guiders.set_weight(self.guider, self.kind, weight)
            return self(x, sigma)

    def positive(self, x: Tensor, sigma: float) -> Tensor:
        """The prediction for the positive alone, whatever weight a node sets for the step."""
        run = run_in(self.guider.model_options)
        with held(run, "positive_alone" if run else None, True):
            return self.at(1.0, x, sigma).cond

    def _inpainted(self, prediction: Tensor, sigma: Tensor) -> Tensor:
        """A prediction of the model, with the kept part of an inpainted picture as the host puts it into the result."""
        mask = self.extra_args.get("denoise_mask")
        if mask is None:
            return prediction
        change = self.extra_args["model_options"].get("denoise_mask_function")
        if change:
            mask = change(sigma, mask, extra_options={"model": self.guider, "sigmas": self.model.sigmas})
        return prediction * mask + self.model.latent_image * (1.0 - mask)


@contextlib.contextmanager
def held(owner, attribute: str | None, value):
    """Holds an attribute of the guider, or of the run, at a value. Without an attribute it does nothing."""
    if attribute is None:
        yield
        return
    before = getattr(owner, attribute)
    setattr(owner, attribute, value)
    try:
        yield
    finally:
        setattr(owner, attribute, before)


def report(callback, x: Tensor, i: int, sigmas: Tensor, denoised: Tensor) -> None:
    """Report a step to the host's callback, in the form that its own samplers use."""
    if callback is not None:
        callback({"x": x, "i": i, "sigma": sigmas[i], "sigma_hat": sigmas[i], "denoised": denoised})
