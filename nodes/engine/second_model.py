"""A second MODEL in a run: loaded together with the first, conditioned on the same positive, released afterwards.

It keeps its own patches. It takes the list of sigmas and the context windows of the first model, as they belong to the
run.
"""

from __future__ import annotations

import comfy.model_patcher
import comfy.sampler_helpers
import comfy.samplers

from . import conditioning, weak
from .run import Run
from .stages import KEY, Moment


class SecondModel:
    """The second model of an added term. Called at a step, it returns the moment with its prediction as `other`.

    shared   whether it is the first model's network with the same weights. Then it differs by its patches alone, and
             what is loaded and conditioned for the first model serves both
    conds    the positive, processed for this model; None outside a run, and where `shared`
    options  its `model_options` during a run
    """

    def __init__(self, model, shared: bool):
        self.model = model
        self.shared = shared
        self.conds = None
        self.options = None

    def begin(self, guider, run: Run, noise, latent_image, denoise_mask, seed) -> None:
        self.options = comfy.model_patcher.create_model_options_clone(self.model.model_options)
        comfy.sampler_helpers.prepare_model_patcher(self.model, {}, self.options)
        comfy.samplers.cast_to_load_options(self.options, device=noise.device, dtype=self.model.model_dtype())
        if not self.shared:
            self.model.pre_run()
            self.process(guider, run, noise, latent_image, denoise_mask, seed)

    def process(self, guider, run: Run, noise, latent_image, denoise_mask, seed) -> None:
        """Process the guider's conditionings for this model, as the host does for the first; keep the positive."""
        # LoRA hooks patch the first model's weights, so they are left out here.
        own = {key: [without_hooks(cond) for cond in conds] for key, conds in guider.original_conds.items()}
        processed = comfy.samplers.process_conds(
            self.model.model,
            noise,
            own,
            noise.device,
            latent_image,
            denoise_mask,
            seed,
            latent_shapes=run.latent_shapes,
        )
        self.conds = processed[run.guider_kind.contrasted or "positive"]
        for conds in guider.conds.values():  # ControlNets are shared: make them ready for the first model again
            comfy.samplers.pre_run_control(guider.inner_model, conds)

    def end(self) -> None:
        if self.options is None:
            return
        comfy.samplers.cast_to_load_options(self.options, device=self.model.offload_device)
        if not self.shared:
            self.model.cleanup()
        self.conds = self.options = None

    def __call__(self, args: dict, run: Run, moment: Moment) -> Moment:
        of_run = args["model_options"]
        sigmas = of_run["transformer_options"]["sample_sigmas"]
        options = {
            **self.options,
            "transformer_options": {**self.options["transformer_options"], "sample_sigmas": sigmas},
            "context_handler": weak.real_handler(of_run),
        }
        conds = [weak.own_ids(args, "cond") if self.shared else self.conds_of_step(run, args["cond"])]
        inner, x, sigma = self.model.model, args["input"], args["sigma"]
        return moment.but(other=comfy.samplers.calc_cond_batch(inner, conds, x, sigma, options)[0])

    def conds_of_step(self, run: Run, positive: list[dict]) -> list[dict]:
        """The positive, changed by this step's `Condition` stages, with the guidance number of the first model's."""
        conds = conditioning.changed(run, run.guider_kind.contrasted or "positive", self.conds)
        return [conditioning.heard_as(own, other) for own, other in zip(conds, positive, strict=True)]


def without_hooks(cond: dict) -> dict:
    return {key: value for key, value in cond.items() if key != "hooks"}


def same_weights(one, other) -> bool:
    """Whether two MODELs that share a network give it the same weights."""
    return not one.patches and not other.patches or one.patches_uuid == other.patches_uuid


def same_passes(one, other) -> bool:
    """Whether two MODELs with the same weights predict the same, because no pass reads what sets them apart."""
    return alike(read_in_a_pass(one), read_in_a_pass(other))


def read_in_a_pass(model) -> dict:
    """All of a MODEL that a pass reads besides the weights: some of its options, and the wrappers of other nodes."""
    foreign = {place: {k: v for k, v in keyed.items() if v and k != KEY} for place, keyed in model.wrappers.items()}
    options = {name: model.model_options.get(name) for name in ("transformer_options", "model_function_wrapper")}
    return {**options, "wrappers": {place: keyed for place, keyed in foreign.items() if keyed}}


def alike(one, other) -> bool:
    """Whether two options are equal. Containers, numbers and texts are compared by value, all else by identity."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(alike(one[key], other[key]) for key in one)
    if isinstance(one, (list, tuple)) and type(one) is type(other):
        return len(one) == len(other) and all(map(alike, one, other))
    return one is other or (isinstance(one, (int, float, str)) and one == other)


def to_load(run: Run) -> dict[str, list]:
    """A list of conditionings that makes the host load the second models together with the first; empty without any."""
    models = [second.model for second in run.seconds if not second.shared]
    return {"azimuth_second": [{"additional_models": models}]} if models else {}


def begin(guider, run: Run, noise, latent_image, denoise_mask, seed) -> None:
    for second in run.seconds:
        second.begin(guider, run, noise, latent_image, denoise_mask, seed)


def end(run: Run) -> None:
    for second in run.seconds:
        second.end()
