"""Rectified-CFG++: a SAMPLER that follows the positive and adds guidance measured half a step further on."""

import logging

import comfy.samplers
import torch
from comfy_api.latest import io
from tqdm.auto import trange

from ...guidance import euler_step, predictor_sigma, rectified_alpha, rectified_cfgpp
from ..engine import guiders, inputs, sampler_loops
from . import CATEGORY

NAME = "Rectified-CFG++ Sampler"

FIELDS = [
    inputs.plain_float(
        "lam_max",
        3.5,
        0.0,
        30.0,
        0.05,
        "lambda_max, the weight of the correction, in place of the guider's cfg, of which it is cfg - 1: 3 for SD3.5, "
        "3.5 for Flux-like models. 0 = the positive alone.",
    ),
    inputs.plain_float(
        "gamma",
        0.0,
        0.0,
        5.0,
        0.05,
        "The correction grows with (1 - t)^gamma as the noise t goes: 0 to 1. 0 = lam_max at every step.",
    ),
    inputs.plain_float(
        "fraction",
        0.5,
        0.1,
        0.9,
        0.05,
        "How far into the step the correction is measured (the paper's 1/2): 0.5. It cannot be switched off: the less, "
        "the more like plain CFG.",
        advanced=True,
    ),
]


@torch.no_grad()
def sample_rectified_cfgpp(
    model, x, sigmas, extra_args=None, callback=None, disable=None, lam_max=3.5, gamma=0.0, fraction=0.5
):
    network = sampler_loops.network_of(model)
    levels = sampler_loops.levels_of(NAME, sigmas, network.kind)
    predictor = sampler_loops.Predictor(model, extra_args, keeps_pair=False)
    say_what_it_does(predictor, network.is_flow, lam_max)
    for i in trange(len(levels) - 1, disable=disable):
        sigma, sigma_next = levels[i], levels[i + 1]
        predictor.begin(i)
        # The formula's own levels: t also where a flow model is sampled in sigma. An Euler step is the same in both.
        t, t_next = network.sigma_seen(sigma), network.sigma_seen(sigma_next)
        knobs = {"lam_max": lam_max, "gamma": gamma, "kind": network.seen.kind}
        alpha = rectified_alpha(t, **knobs) if predictor.has_weight else 0.0
        if alpha > 0 and sigma_next < sigma:
            cond, t_middle = predictor.positive(x, sigma), predictor_sigma(t, t_next, fraction=fraction)
            middle = network.sigma_of(t_middle)
            there = predictor.at(1.0 + alpha, euler_step(x, cond, sigma=sigma, sigma_next=middle), middle)
            denoised = rectified_cfgpp(cond, there.guided, there.cond, sigma=t, sigma_middle=t_middle)
        else:
            denoised = predictor.at(1.0, x, sigma).guided
        sampler_loops.report(callback, x, i, sigmas, denoised)
        x = euler_step(x, denoised, sigma=sigma, sigma_next=sigma_next)
    return x


def say_what_it_does(predictor: sampler_loops.Predictor, is_flow: bool, lam_max: float) -> None:
    if predictor.kind.weights and not predictor.has_weight:
        predictor.say(
            f"{NAME} follows the positive alone under the {predictor.guider_name}, whose weight is not one number; use "
            f"a CFG Guider."
        )
        return
    if not predictor.has_weight:
        predictor.say(
            f"{NAME} follows the positive alone under the {predictor.guider_name}, which makes no negative pass; use a "
            f"CFG Guider."
        )
        return
    if guiders.negative_model(predictor.guider) is None:
        predictor.say(
            f"{NAME} follows the positive alone, since the {predictor.guider_name} loads no negative model at cfg 1; "
            f"set its cfg to another number."
        )
        return
    predictor.say(
        f"{NAME} sets the weight to 1 and 1 + alpha, with alpha up to {lam_max:g}; the cfg of the "
        f"{predictor.guider_name} is not used.",
        logging.INFO,
    )
    if not is_flow:
        predictor.say(
            f"{NAME} is published for flow models; here the noise takes the place of the velocity.", logging.INFO
        )


class RectifiedCFGPP(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="AzimuthRectifiedCFGPP",
            display_name=NAME,
            category=CATEGORY,
            description="Guides flow models by a correction that is measured half a step ahead, along the positive. "
            "Sets the weight itself; the guider's cfg is not used.",
            search_aliases=["rectified cfg++", "rectified-cfg++", "cfg++ flow", "predictor corrector", "flux", "sd3"],
            inputs=FIELDS,
            outputs=[
                io.Sampler.Output(
                    display_name="sampler", tooltip="For SamplerCustomAdvanced with a CFG Guider, or SamplerCustom."
                )
            ],
        )

    @classmethod
    def execute(cls, lam_max, gamma, fraction) -> io.NodeOutput:
        values = {"lam_max": lam_max, "gamma": gamma, "fraction": fraction}
        return io.NodeOutput(comfy.samplers.KSAMPLER(sample_rectified_cfgpp, inputs.floats(NAME, FIELDS, values)))


NODES = [RectifiedCFGPP]
