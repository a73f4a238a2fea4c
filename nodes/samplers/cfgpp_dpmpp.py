"""CFG++ with DPM++ 2M and 2S, as SAMPLERs: no weight of a cfg function makes their steps exact."""

import comfy.samplers
import torch
from comfy.k_diffusion.sampling import default_noise_sampler
from comfy_api.latest import io
from torch import Tensor
from tqdm.auto import trange

from ...guidance import ancestral_sigma_down, cfgpp_2m, cfgpp_2s_end, cfgpp_2s_middle, cfgpp_step, middle_sigma, renoise
from ..engine import inputs, sampler_loops
from . import CATEGORY

NAME = "CFG++ Sampler (DPM++ 2M, 2S)"

FORMS = {"official": False, "as the host": True}  # whether the host's own formulas are used
MOST_LAMBDA = 2.0

STOCHASTIC = [
    inputs.plain_float(
        "eta",
        1.0,
        0.0,
        1.0,
        0.05,
        "How much noise is drawn anew at every step: 0.5 to 1. 0 = none.",
    ),
    inputs.plain_float(
        "s_noise",
        1.0,
        0.0,
        2.0,
        0.01,
        "The strength of that noise: 0.95 to 1.05. 1 = as much as the step took away.",
        advanced=True,
    ),
]


class PairPredictor(sampler_loops.Predictor):
    """Calls the guider, whose weight is lambda, and returns D_lam and D_u."""

    def __init__(self, model, extra_args):
        super().__init__(model, extra_args, keeps_pair=True)

    def pair(self, x: Tensor, sigma: float) -> tuple[Tensor, Tensor]:
        found = self(x, sigma)
        if found.uncond is None:
            self.say(
                f"{NAME} takes plain DPM++ steps where the {self.guider_name} makes no negative prediction; use a CFG "
                f"Guider, with a negative for all steps."
            )
            return found.guided, found.guided
        if found.scale > MOST_LAMBDA:
            self.say(
                f"{NAME} takes the guider's weight {found.scale:g} for lambda, which is meant to be 0 to 1; set its "
                f"cfg to 0.4 to 0.8 (0.6 is about cfg 7.5)."
            )
        return found.guided, found.uncond


# These functions are named as the host names its own: it and the rest of the pack know CFG++ samplers by `_cfg_pp`.


@torch.no_grad()
def sample_dpmpp_2m_cfg_pp(model, x, sigmas, extra_args=None, callback=None, disable=None, as_host=False):
    kind = "ve" if as_host else sampler_loops.kind_of(model)
    levels = sampler_loops.levels_of(NAME, sigmas, kind)
    predictor = PairPredictor(model, extra_args)
    level_before, before = levels[0], None
    for i in trange(len(levels) - 1, disable=disable):
        guided, uncond = predictor.pair(x, levels[i])
        sampler_loops.report(callback, x, i, sigmas, guided)
        step = {"sigma_before": level_before, "sigma": levels[i], "sigma_next": levels[i + 1]}
        x = cfgpp_2m(x, guided, uncond, before, kind=kind, mixed=as_host, **step)
        level_before, before = levels[i], uncond
    return x


@torch.no_grad()
def sample_dpmpp_2s_ancestral_cfg_pp(
    model,
    x,
    sigmas,
    extra_args=None,
    callback=None,
    disable=None,
    eta=1.0,
    s_noise=1.0,
    noise_sampler=None,
    as_host=False,
):
    kind = "ve" if as_host else sampler_loops.kind_of(model)
    levels = sampler_loops.levels_of(NAME, sigmas, kind)
    predictor = PairPredictor(model, extra_args)
    draw = noise_sampler or default_noise_sampler(x, seed=predictor.extra_args.get("seed"))
    sampling = predictor.guider.model_patcher.get_model_object("model_sampling")
    s_noise = s_noise * getattr(sampling, "noise_scale", 1.0)
    for i in trange(len(levels) - 1, disable=disable):
        sigma, sigma_next = levels[i], levels[i + 1]
        guided, uncond = predictor.pair(x, sigma)
        sampler_loops.report(callback, x, i, sigmas, guided)
        down = ancestral_sigma_down(sigma, sigma_next, eta=eta, kind=kind)
        middle = middle_sigma(sigma, down, kind=kind)
        if down < middle < sigma:
            to = {"sigma": sigma, "kind": kind, "mixed": as_host}
            there = predictor.pair(cfgpp_2s_middle(x, guided, uncond, sigma_middle=middle, **to), middle)
            x = cfgpp_2s_end(x, guided, *there, sigma_next=down, **to)
        else:  # a step to 0 or from t = 1 has no middle, so it is of first order
            x = cfgpp_step(x, guided, uncond, sigma=sigma, sigma_next=down, kind=kind)
        if eta > 0 and sigma_next > 0:
            noise = draw(sigmas[i], sigmas[i + 1])
            x = renoise(x, noise, sigma_down=down, sigma_next=sigma_next, kind=kind, s_noise=s_noise)
    return x


LOOPS = {"DPM++ 2M": (sample_dpmpp_2m_cfg_pp, []), "DPM++ 2S ancestral": (sample_dpmpp_2s_ancestral_cfg_pp, STOCHASTIC)}


class CFGPPSampler(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="AzimuthCFGPPSampler",
            display_name=NAME,
            category=CATEGORY,
            description="CFG++ in the form of its official code, for DPM++ 2M and 2S, of any model. The guider's cfg "
            "is lambda: 0.4 to 0.8.",
            search_aliases=["cfg++", "cfgpp", "cfg_pp", "dpmpp_2m_cfg_pp", "dpmpp_2s_ancestral_cfg_pp"],
            inputs=[
                io.DynamicCombo.Input(
                    "method",
                    options=[io.DynamicCombo.Option(name, options) for name, (_, options) in LOOPS.items()],
                    tooltip="DPM++ 2M: one call of the model per step, no fresh noise. DPM++ 2S ancestral: two, with "
                    "noise. Set cfg of the guider to lambda (arXiv 2406.08070), 0.4 to 0.8.",
                ),
                io.Combo.Input(
                    "form",
                    options=["official", "as the host"],
                    default="official",
                    tooltip="official: the authors' formulas, made right for flow models. as the host: those of "
                    "ComfyUI's dpmpp_2m_cfg_pp and dpmpp_2s_ancestral_cfg_pp, for old seeds.",
                    advanced=True,
                ),
            ],
            outputs=[
                io.Sampler.Output(
                    display_name="sampler", tooltip="For SamplerCustomAdvanced with a CFG Guider, or SamplerCustom."
                )
            ],
        )

    @classmethod
    def execute(cls, form, method=None) -> io.NodeOutput:
        chosen = inputs.group("method", method)
        loop, options = LOOPS[inputs.choice(NAME, "method", chosen.get("method"), LOOPS)]
        values = inputs.floats(NAME, options, chosen)
        values["as_host"] = FORMS[inputs.choice(NAME, "form", form, FORMS)]
        return io.NodeOutput(comfy.samplers.KSAMPLER(loop, values))


NODES = [CFGPPSampler]
