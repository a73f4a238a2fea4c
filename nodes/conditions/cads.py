"""Condition Annealing: noise on the prompts early in the run, for pictures that differ more from seed to seed."""

import functools
import logging

import comfy.utils
import torch
from comfy_api.latest import io

from ...guidance import cads, cads_gamma
from ..engine import conditioning, draws, inputs, pipeline
from ..engine.stages import Condition
from . import CATEGORY

NAME = "Condition Annealing (CADS)"

# The host's names for the tensors that it makes of a text: those of its tokens, and those of the pooled text. `y` may
# go on after the pooled text. Masks and images have other names.
TOKENS = ("c_crossattn", "encoder_hidden_states_t5", "encoder_hidden_states_llama3", "txt_byt5")
POOLED = ("y", "clip_text_pooled")


def gamma_of(step, *, tau1, tau2):
    return cads_gamma(step.progress, tau1=tau1, tau2=tau2)


def anneal(gamma_at, psi, run, place, cond, value):
    """The conditioning with noise on every text in it; each sample of the batch has noise of its own."""
    gamma, found = gamma_at(run.call.step), texts(cond)
    if not found:
        run.say(
            f"{NAME} has no effect on the {place[0]} conditioning, which holds no text; encode it from one or bypass "
            f"the node.",
            logging.WARNING,
        )
    for name, width in found.items():
        y = comfy.utils.repeat_to_batch_size(cond["model_conds"][name].cond, run.batch)
        text, rest = y[..., :width], y[..., width:]
        noise = noise_like(text, run.seed, run.call.step.index, *place, name)
        noisy = cads(text, noise, gamma=gamma, scale=value, psi=psi)
        cond = conditioning.with_tensor(cond, name, torch.cat((noisy, rest), dim=-1))
    return cond


def texts(cond) -> dict[str, int]:
    """The names of the texts in a processed conditioning, and how many values of the last dimension are text."""
    found = cond["model_conds"]
    wide = {name: found[name].cond.shape[-1] for name in TOKENS if name in found}
    pooled = cond.get("pooled_output")
    if pooled is not None and "unclip_conditioning" not in cond:
        wide |= {name: pooled.shape[-1] for name in POOLED if name in found}
    return wide


def noise_like(y: torch.Tensor, *key) -> torch.Tensor:
    """Standard normal noise like y. Sample i depends on the key and on i alone, and is the same on every device."""
    return torch.stack([drawn(sample.shape, *key, i) for i, sample in enumerate(y)]).to(y.device)


def drawn(shape, *key) -> torch.Tensor:
    return torch.randn(shape, generator=draws.generator(*key))


class ConditionAnnealing(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="AzimuthCADS",
            display_name=NAME,
            category=CATEGORY,
            description="Adds noise to the prompts in the first steps of a run, so that pictures of one prompt differ "
            "more from each other. No extra pass.",
            search_aliases=[
                "CADS",
                "diversity",
                "variety",
                "more variety",
                "condition annealing",
                "noise prompt",
                "conditioning noise",
            ],
            inputs=[
                inputs.model_input(),
                inputs.number(
                    "scale",
                    default=0.25,
                    low=0.0,
                    high=5.0,
                    step=0.01,
                    tooltip="s, the amount of noise (arXiv 2310.17347): 0.05 to 0.3 for SD and SDXL; less for T5 (SD3, "
                    "Flux, video), whose numbers are smaller. A number or a Guidance Schedule. 0 = off.",
                ),
                inputs.progress(
                    "tau1",
                    0.6,
                    "tau1, in time that runs from 1 (first step) to 0 (last): from here on the prompt is clean, 0.5 to "
                    "0.8. 1 = off.",
                ),
                inputs.progress(
                    "tau2",
                    0.9,
                    "tau2, in time that runs from 1 (first step) to 0 (last): before it the prompt is noise alone, 0.8 "
                    "to 1. Not below tau1; tau1 = 1 switches it off.",
                ),
                inputs.plain_float(
                    "psi",
                    1.0,
                    0.0,
                    1.0,
                    0.05,
                    "psi, how far the noisy prompt is scaled back to the mean and spread of the clean one: 1. 0 = not "
                    "at all, for more variety at the price of quality; scale 0 switches the node off.",
                ),
            ],
            outputs=[inputs.model_output()],
        )

    @classmethod
    def validate_inputs(cls, tau1=None, tau2=None):
        ramp(0.0 if tau1 is None else tau1, 1.0 if tau2 is None else tau2)
        return True

    @classmethod
    def execute(cls, model, scale, tau1, tau2, psi) -> io.NodeOutput:
        gamma_at = ramp(tau1, tau2)
        times = gamma_at.keywords
        psi = inputs.finite_float(NAME, "psi", psi, 0.0, 1.0)
        stage = Condition(
            NAME,
            inputs.as_schedule(NAME, "scale", scale, 0.0, 5.0),
            "scale",
            rule=functools.partial(anneal, gamma_at, psi),
            off=lambda step, value: value == 0.0 or gamma_at(step) == 1.0,
            steady=False,
            words=f"noise {{}} on the prompts, all of it until time {times['tau2']:g}, none from {times['tau1']:g} on",
        )
        return io.NodeOutput(pipeline.add_stage(model, stage))


def ramp(tau1, tau2):
    """gamma as a function of the step. Raises ValueError if tau1 or tau2 is not in [0, 1], or tau2 is the smaller."""
    tau1, tau2 = (inputs.finite_float(NAME, n, t, 0.0, 1.0) for n, t in (("tau1", tau1), ("tau2", tau2)))
    if tau1 > tau2 and tau1 < 1.0:
        raise ValueError(f"{NAME}, input tau2: {tau2:g} lies below tau1, {tau1:g}; make tau2 larger than tau1.")
    return functools.partial(gamma_of, tau1=tau1, tau2=tau2)


NODES = [ConditionAnnealing]
