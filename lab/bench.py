"""What guidance costs: `python dev.py bench`, or `python lab/bench.py` with COMFYUI_PATH naming a host.

Four tables, and the targets that they should reach:
    nodes      passes, device synchronisations and time per step that each node adds to a run
    hosts      each node against the host's own way of doing the same
    interval   the time of a run that skips the negative pass, against the passes that it makes
    functions  time, memory and device synchronisations of each function of `guidance/` against plain CFG, and time
               against the host's or diffusers' way of doing the same

Times are medians of pairs measured alternately in one run, with half the distance between their quartiles.
A method has one row in FUNCTIONS, and one in NODES for each setting of its node that is worth knowing.
"""

if __name__ == "__main__":
    import host

    raise SystemExit(host.run("bench"))

import argparse
import contextlib
import functools
import importlib.util
import json
import os
import platform
import re
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import comfy.model_management
import comfy.model_patcher
import comfy.samplers
import comfy_extras.nodes_apg
import comfy_extras.nodes_cfg
import comfy_extras.nodes_eps
import comfy_extras.nodes_fresca
import comfy_extras.nodes_lumina2
import comfy_extras.nodes_model_advanced
import comfy_extras.nodes_pag
import comfy_extras.nodes_perpneg
import comfy_extras.nodes_sag
import comfy_extras.nodes_tcfg
import torch
from torch import Tensor

from . import guiders, models
from .measure import CUDA, Effort, Ratio, counted_reads, paired, process_memory, scalar_reads, tensor_memory, timed

ROOT = Path(__file__).resolve().parent.parent
DEVICE = comfy.model_management.get_torch_device()


def load_pack():
    """The pack as the host loads it: a package by its path."""
    if "azimuth" not in sys.modules:
        spec = importlib.util.spec_from_file_location(
            "azimuth", ROOT / "__init__.py", submodule_search_locations=[str(ROOT)]
        )
        sys.modules["azimuth"] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules["azimuth"])
    return sys.modules["azimuth"]


PACK = load_pack()
g, nodes = PACK.guidance, PACK.nodes


VIDEO = (1, 16, 21, 90, 160)
SHAPES = ((1, 4, 64, 64), (1, 4, 128, 128), (1, 16, 128, 128), (4, 16, 128, 128), VIDEO)


@dataclass(frozen=True)
class Plan:
    """How much to measure: `calls` of functions, `idle` runs without a network, and `runs` with it."""

    calls: Effort
    idle: Effort
    runs: Effort
    shapes: tuple[tuple[int, ...], ...]
    batch: int
    steps: int
    rows: str = ""

    def functions(self) -> list["Function"]:
        """Plain CFG, and those whose name `rows` is found in."""
        return [f for f in FUNCTIONS if f.name == "cfg" or re.search(self.rows, f.name)]


FULL = Plan(
    calls=Effort(least=2e-3, budget=0.25, fewest=5, most=25),
    idle=Effort(least=0.0, budget=1.5, fewest=5, most=45),
    runs=Effort(least=0.0, budget=8.0, fewest=5, most=25),
    shapes=SHAPES,
    batch=64 if CUDA else 40,
    steps=10,
)
QUICK = Plan(*[Effort(least=0.0, budget=0.0, fewest=2, most=2)] * 3, shapes=SHAPES[:1], batch=1, steps=3)


# ---- Functions


class Latents:
    """Predictions of one step that differ as those of a model do, and the noisy latent."""

    def __init__(self, shape: tuple[int, ...], dtype: torch.dtype):
        generator = torch.Generator().manual_seed(0)
        draw = functools.partial(torch.randn, shape, generator=generator)
        base = draw()
        parts = [base + 0.3 * draw(), base, base + 0.3 * draw(), base + 0.3 * draw(), base + 2.0 * draw()]
        self.cond, self.uncond, self.first, self.second, self.x = (p.to(DEVICE, dtype) for p in parts)
        self.each = torch.full(shape[:1], 7.0, device=DEVICE)
        self.half = torch.full(shape[:1], 0.5, device=DEVICE)
        self.history = self._history()
        self.mask = torch.ones(shape[:1], dtype=torch.bool, device=DEVICE)

    def _history(self):
        """What History Guidance keeps after two steps."""
        state = g.Memory()
        for step, prediction in enumerate((self.first, self.second)):
            state.begin(step)
            g.higs(prediction, sigma=self.half, kind="flow", state=state)
        state.begin(2)
        return state.value


def lerp(p: Latents) -> Tensor:
    return torch.lerp(p.uncond, p.cond, 7.0)


def host_cfg(p: Latents) -> Tensor:
    return comfy.samplers.cfg_function(None, p.cond, p.uncond, 7.0, p.x, None)


def host_perp_neg(p: Latents) -> Tensor:
    return comfy_extras.nodes_perpneg.perp_neg(p.x, p.cond, p.first, p.uncond, 1.0, 7.0)


def any_model():
    return comfy.model_patcher.ModelPatcher(torch.nn.Linear(1, 1), DEVICE, DEVICE)


@functools.cache
def host_pre_cfg(node: type, **inputs) -> Callable:
    """The pre-CFG function that a node of the host gives a MODEL, which may be any."""
    return node.execute(any_model(), **inputs).args[0].model_options["sampler_pre_cfg_function"][-1]


def host_apg(p: Latents) -> Tensor:
    apply = host_pre_cfg(comfy_extras.nodes_apg.APG, eta=0.0, norm_threshold=15.0, momentum=0.0)
    out = apply({"conds_out": [p.cond, p.uncond], "cond_scale": 7.0, "sigma": p.each})
    return comfy.samplers.cfg_function(None, *out, 7.0, p.x, None)


@functools.cache
def host_zero_star_options() -> dict:
    return comfy_extras.nodes_cfg.CFGZeroStar.execute(any_model()).args[0].model_options


def host_zero_star(p: Latents) -> Tensor:
    return comfy.samplers.cfg_function(None, p.cond, p.uncond, 7.0, p.x, p.each, host_zero_star_options())


def host_tcfg(p: Latents) -> Tensor:
    apply = host_pre_cfg(comfy_extras.nodes_tcfg.TCFG)
    return apply({"input": p.x, "conds": [True, True], "conds_out": [p.cond, p.uncond]})[1]


@functools.cache
def host_rescale_options() -> dict:
    return comfy_extras.nodes_model_advanced.RescaleCFG().patch(any_model(), 0.7)[0].model_options


def host_rescale(p: Latents) -> Tensor:
    return comfy.samplers.cfg_function(None, p.cond, p.uncond, 7.0, p.x, p.each, host_rescale_options())


def rescaled(guided: Tensor, p: Latents) -> Tensor:
    return g.rescale_denoised(guided, p.cond, x=p.x, sigma=p.each, kind="ve")


def preserved(p: Latents, **how) -> Tensor:
    return g.energy_preserving(p.first, p.cond, x=p.x, **how)


def ratio_aware(p: Latents) -> Tensor:
    return g.cfg(p.cond, p.uncond, scale=g.ratio_aware_scale(p.cond, p.uncond, x=p.x, scale=18.0, alpha=12.0))


def host_fresca(p: Latents) -> Tensor:
    apply = host_pre_cfg(comfy_extras.nodes_fresca.FreSca, scale_low=1.0, scale_high=1.25, freq_cutoff=20)
    out = apply({"conds_out": [p.cond, p.uncond], "conds": [[], []]})
    return comfy.samplers.cfg_function(None, *out, 7.0, p.x, None)


def remembering(value: Tensor) -> g.Memory:
    """The memory of a run's second step."""
    state = g.Memory()
    state.keep(value)
    state.begin(1)
    return state


def momentum_guidance(p: Latents) -> Tensor:
    return g.momentum_guidance(p.cond, x=p.x, sigma=p.half, kind="flow", state=remembering(p.second))


def higs(p: Latents, **knobs) -> Tensor:
    return g.higs(p.cond, sigma=p.half, kind="flow", state=remembering(p.history), **knobs)


def smc(p: Latents, **knobs) -> Tensor:
    return g.smc(p.cond, p.uncond, scale=7.0, sigma=p.half, state=remembering(p.second), **knobs)


@functools.cache
def host_function(node: type, place: str, *values) -> Callable:
    """The function that a node of the host puts at a place of the options of a MODEL of 16 channels."""
    net = torch.nn.ModuleDict({"diffusion_model": torch.nn.Conv2d(16, 16, 1)})
    patched = node.execute(comfy.model_patcher.ModelPatcher(net, DEVICE, DEVICE), *values).args[0]
    found = patched.model_options[place]
    return found[-1] if isinstance(found, list) else found


def host_post_cfg(node: type, p: Latents, *values) -> Tensor:
    """What the post-CFG function of a node of the host makes of p.first."""
    apply = host_function(node, "sampler_post_cfg_function", *values)
    return apply({"denoised": p.first, "cond_denoised": p.cond, "input": p.x, "sigma": p.each})


def host_renorm(p: Latents) -> Tensor:
    """The host's RenormCFG takes one sample at a time."""
    apply = host_function(comfy_extras.nodes_lumina2.RenormCFG, "sampler_cfg_function", 100.0, 1.0)
    samples = [t.split(1) for t in (p.cond, p.uncond, p.x, p.each)]
    return torch.cat(
        [
            x - apply({"cond_denoised": c, "uncond_denoised": u, "input": x, "timestep": t, "cond_scale": 7.0})
            for c, u, x, t in zip(*samples, strict=True)
        ]
    )


def renorm(p: Latents) -> Tensor:
    return g.norm_limit(g.cfg(p.cond, p.uncond, scale=7.0), p.cond)


@functools.cache
def seen_step(p: Latents) -> g.Memory:
    """What Dynamic Negative Guidance remembers of a step at twice the noise."""
    state = g.Memory()
    state.begin(0)
    g.dynamic_negative(p.cond, p.first, x=2.0 * p.x, sigma=2.0 * p.each, kind="ve", state=state)
    state.begin(1)
    return state


@functools.cache
def carried_momentum(p: Latents) -> g.Memory:
    state = g.Memory()
    state.begin(0)
    state.keep(p.second - p.first)
    state.begin(1)
    return state


def quantile_mimic(p: Latents, keep: int) -> Tensor:
    """Mimic thresholding around the mean, by largest deviation, as it is written with torch.quantile.

    keep: 2 for each channel, 1 for each sample.
    """
    guided = (p.uncond + (p.cond - p.uncond) * 12.0).flatten(keep)
    mimic = (p.uncond + (p.cond - p.uncond) * 6.0).flatten(keep)
    mean = guided.mean(-1, keepdim=True)
    centred = guided - mean
    wanted = (mimic - mimic.mean(-1, keepdim=True)).abs().amax(-1, keepdim=True)
    actual = torch.quantile(centred.abs(), 0.995, dim=-1, keepdim=True)
    limit = torch.maximum(wanted, actual)
    return (centred.clamp(-limit, limit) / limit * wanted + mean).view_as(p.cond)


def mimic(p: Latents, percentile=0.995, **knobs) -> Tensor:
    return g.mimic_threshold(p.cond, p.uncond, scale=12.0, mimic_scale=6.0, percentile=percentile, **knobs)


@dataclass(frozen=True)
class Function:
    """One row: `call` against `other`. `limit` is the ratio to reach in float32: at the video size, and against a
    counterpart 1 at the others too.
    """

    name: str
    call: Callable[[Latents], Tensor]
    other: Callable[[Latents], Tensor] = lerp
    limit: float | None = None


def by_guider(call: Callable) -> Callable[[Latents], Tensor]:
    return lambda p: call(p.cond, p.uncond, p.x)


def tangentially_damped(p: Latents) -> Tensor:
    return g.cfg(p.cond, g.tcfg(p.cond, p.uncond, x=p.x), scale=7.0)


def converted(convert: Callable) -> Callable[[Latents], Tensor]:
    return lambda p: convert(p.x, p.cond, 0.5, kind="flow")


FUNCTIONS = (
    Function("cfg", lambda p: g.cfg(p.cond, p.uncond, scale=7.0)),
    Function("cfg, scale per sample", lambda p: g.cfg(p.cond, p.uncond, scale=p.each)),
    Function("cfg / host's linear CFG", lambda p: g.cfg(p.cond, p.uncond, scale=7.0), host_cfg),
    Function("cfg / diffusers' CFG", lambda p: g.cfg(p.cond, p.uncond, scale=7.0), by_guider(guiders.cfg)),
    Function("compose, 1 negative", lambda p: g.compose(p.cond, p.uncond, [p.first], scale=7.0, weights=[1.0])),
    Function(
        "compose, 2 negatives",
        lambda p: g.compose(p.cond, p.uncond, [p.first, p.second], scale=7.0, weights=[1.0, 2.0]),
    ),
    Function("negative_terms", lambda p: g.negative_terms(p.uncond, [p.first], weights=[1.0])),
    Function("partial_negative", lambda p: g.partial_negative(p.uncond, p.first, strength=0.5)),
    Function("perp_neg, 1 negative", lambda p: g.perp_neg(p.cond, p.uncond, [p.first], scale=7.0, weights=[1.0])),
    Function(
        "perp_neg, 2 negatives",
        lambda p: g.perp_neg(p.cond, p.uncond, [p.first, p.second], scale=7.0, weights=[1.0, 2.0]),
    ),
    Function(
        "perp_neg / host's Perp-Neg",
        lambda p: g.perp_neg(p.cond, p.uncond, [p.first], scale=7.0, weights=[1.0]),
        host_perp_neg,
        limit=1.0,
    ),
    Function("perp_terms", lambda p: g.perp_terms(p.cond, p.uncond, [p.first], weights=[1.0])),
    Function("dynamic_threshold", lambda p: g.dynamic_threshold(p.cond)),
    Function("mimic_threshold", mimic),
    Function("mimic_threshold / torch.quantile", mimic, functools.partial(quantile_mimic, keep=2), limit=1 / 8),
    Function("mimic_threshold, whole sample", functools.partial(mimic, per_channel=False)),
    Function(
        "mimic_threshold, whole sample / torch.quantile",
        functools.partial(mimic, per_channel=False),
        functools.partial(quantile_mimic, keep=1),
        limit=1 / 8,
    ),
    Function("mimic_threshold, whole sample, 0.5", functools.partial(mimic, percentile=0.5, per_channel=False)),
    Function("mimic_threshold, percentile 1", functools.partial(mimic, percentile=1.0)),
    Function("mimic_threshold, std", functools.partial(mimic, measure="std")),
    Function("abs_quantile", lambda p: g.abs_quantile(p.cond, 0.995)),
    Function(
        "cfgpp_step",
        lambda p: g.cfgpp_step(p.x, p.cond, p.uncond, sigma=2.0, sigma_next=1.2, kind="ve"),
        limit=5.0,
    ),
    Function(
        "cfgpp_2m",
        lambda p: g.cfgpp_2m(p.x, p.cond, p.uncond, p.first, sigma_before=3.0, sigma=2.0, sigma_next=1.2, kind="ve"),
    ),
    Function(
        "rectified_cfgpp",
        lambda p: g.rectified_cfgpp(p.first, p.uncond, p.cond, sigma=0.7, sigma_middle=0.5),
        limit=5.0,
    ),
    Function("angle_domain", lambda p: g.angle_domain(p.cond, p.uncond, scale=7.0), limit=5.0),
    Function("angle_domain, scale per sample", lambda p: g.angle_domain(p.cond, p.uncond, scale=p.each), limit=5.0),
    Function("rotate", lambda p: g.rotate(p.cond, p.uncond, scale=7.0), limit=5.0),
    Function("apg", lambda p: g.apg(p.cond, p.uncond, scale=7.0, norm_threshold=15.0), limit=5.0),
    Function(
        "apg / host's APG",
        lambda p: g.apg(p.cond, p.uncond, scale=7.0, norm_threshold=15.0),
        host_apg,
        limit=1 / 10,
    ),
    Function(
        "apg / diffusers' APG",
        lambda p: g.apg(p.cond, p.uncond, scale=7.0, norm_threshold=15.0),
        by_guider(guiders.apg),
        limit=1.0,
    ),
    Function(
        "contrastive",
        lambda p: g.contrastive(p.cond, p.uncond, p.first, scale=7.0, sigma=p.each, kind="ve"),
        limit=5.0,
    ),
    Function(
        "contrastive_terms",
        lambda p: g.contrastive_terms(p.cond, p.uncond, p.first, scale=7.0, sigma=p.each, kind="ve"),
    ),
    Function(
        "dynamic_negative_terms, second step",
        lambda p: g.dynamic_negative_terms(p.cond, p.first, x=p.x, sigma=p.each, kind="ve", state=seen_step(p)),
    ),
    Function("safe_latent", lambda p: g.safe_latent(p.cond, p.uncond, p.first, scale=7.0, sigma=p.each, kind="ve")),
    Function(
        "safe_latent_terms, second step",
        lambda p: g.safe_latent_terms(
            p.cond, p.uncond, p.first, scale=7.0, sigma=p.each, kind="ve", state=carried_momentum(p)
        ),
    ),
    Function("beta_cfg", lambda p: g.beta_cfg(p.cond, p.uncond, scale=7.0, gamma=1.0, sigma=2.0, kind="ve"), limit=5.0),
    Function("ratio_aware_scale and cfg", ratio_aware, limit=5.0),
    Function("ratio-aware / diffusers' magnitude-aware", ratio_aware, by_guider(guiders.magnitude_aware), limit=1.0),
    Function("cfg_zero_star", lambda p: g.cfg_zero_star(p.cond, p.uncond, scale=7.0, x=p.x), limit=5.0),
    Function(
        "cfg_zero_star / host's CFG-Zero*",
        lambda p: g.cfg_zero_star(p.cond, p.uncond, scale=7.0, x=p.x),
        host_zero_star,
        limit=1.0,
    ),
    Function(
        "cfg_zero_star / diffusers' CFG-Zero*",
        lambda p: g.cfg_zero_star(p.cond, p.uncond, scale=7.0, x=p.x),
        by_guider(guiders.cfg_zero_star),
        limit=1.0,
    ),
    Function("tcfg", lambda p: g.tcfg(p.cond, p.uncond, x=p.x), limit=5.0),
    Function("tcfg / host's TCFG", lambda p: g.tcfg(p.cond, p.uncond, x=p.x), host_tcfg, limit=1 / 10),
    Function("tcfg and cfg / diffusers' TCFG", tangentially_damped, by_guider(guiders.tcfg), limit=1.0),
    Function("rescale", lambda p: g.rescale(p.first, p.cond), limit=5.0),
    Function("rescale_denoised", lambda p: rescaled(p.first, p), limit=5.0),
    Function(
        "cfg and rescale_denoised / host's Rescale CFG",
        lambda p: rescaled(g.cfg(p.cond, p.uncond, scale=7.0), p),
        host_rescale,
        limit=1 / 10,
    ),
    Function(
        "cfg and rescale / diffusers' rescale",
        lambda p: g.rescale(g.cfg(p.cond, p.uncond, scale=7.0), p.cond),
        by_guider(guiders.rescale),
        limit=1.0,
    ),
    Function("energy_preserving", preserved, limit=5.0),
    Function("energy_preserving, frame", functools.partial(preserved, scope="frame")),
    Function("energy_preserving, robust", functools.partial(preserved, robust=True)),
    Function("fdg", lambda p: g.fdg(p.cond, p.uncond, scale=7.0)),
    Function(
        "fdg / diffusers' FDG",
        lambda p: g.fdg(p.cond, p.uncond, scale=7.0),
        by_guider(guiders.frequency_decoupled),
        limit=1.0,
    ),
    Function("fdg, 3 bands", lambda p: g.fdg(p.cond, p.uncond, scale=7.0, gains=(1.0, 0.7, 0.4))),
    Function("fresca", lambda p: g.fresca(p.cond, p.uncond, scale=7.0)),
    Function("fresca / host's FreSca", lambda p: g.fresca(p.cond, p.uncond, scale=7.0), host_fresca, limit=1.0),
    Function("skimmed", lambda p: g.skimmed(p.cond, p.uncond, scale=7.0, x=p.x, skim=4.0)),
    Function("skimmed_exact", lambda p: g.skimmed_exact(p.cond, p.uncond, scale=7.0, x=p.x, skim=4.0)),
    Function("pmc", lambda p: g.pmc(p.cond, p.uncond, scale=7.0), limit=5.0),
    Function("momentum_guidance", momentum_guidance, limit=5.0),
    Function("higs", higs),
    Function("higs, eta 0", functools.partial(higs, eta=0.0)),
    Function("smc", smc),
    Function("smc, chatter-free", functools.partial(smc, chatter_free=True)),
    Function("norm_limit", lambda p: g.norm_limit(p.first, p.cond), limit=5.0),
    Function("norm_limit, pixel", lambda p: g.norm_limit(p.first, p.cond, scope="pixel"), limit=5.0),
    Function("cfg and norm_limit / host's RenormCFG", renorm, host_renorm, limit=1.0),
    Function(
        "norm_limit, pixel / host's CFGNorm",
        lambda p: g.norm_limit(p.first, p.cond, scope="pixel"),
        lambda p: host_post_cfg(comfy_extras.nodes_cfg.CFGNorm, p, 1.0),
        limit=1.0,
    ),
    Function("tangential_amplify", lambda p: g.tangential_amplify(p.first, x=p.x, eta=1.15), limit=5.0),
    Function("epsilon_scaling", lambda p: g.epsilon_scaling(p.first, x=p.x)),
    Function(
        "epsilon_scaling / host's Epsilon Scaling",
        lambda p: g.epsilon_scaling(p.first, x=p.x),
        lambda p: host_post_cfg(comfy_extras.nodes_eps.EpsilonScaling, p, 1.005),
        limit=1.0,
    ),
    Function("temporal_score_rescaling", lambda p: g.temporal_score_rescaling(p.first, x=p.x, sigma=p.each, kind="ve")),
    Function("add_term", lambda p: g.add_term(p.first, p.cond, p.uncond, scale=3.0), limit=5.0),
    Function("add_term, rescaled", lambda p: g.add_term(p.first, p.cond, p.uncond, scale=3.0, rescale=0.7)),
    Function("perturbed_attention", lambda p: g.perturbed_attention(p.cond, p.uncond, strength=0.5)),
    Function("nag", lambda p: g.nag(p.cond, p.uncond, scale=5.0), limit=5.0),
    Function("with_same_noise", lambda p: g.with_same_noise(p.x, p.cond, p.uncond, 0.5, kind="flow")),
    Function(
        "distilled_pair",
        lambda p: g.distilled_pair(p.uncond, p.cond, low_guidance=1.5, high_guidance=3.5)[0],
        limit=5.0,
    ),
    Function("cads", lambda p: g.cads(p.cond, p.x, gamma=0.5, scale=0.25)),
    Function(
        "adaptive_similarity",
        lambda p: g.adaptive_similarity(p.cond, p.uncond, x=p.x, sigma=p.each / 10.0, kind="flow"),
        limit=5.0,
    ),
    Function(
        "uncond_reuse",
        lambda p: g.uncond_reuse(p.cond, p.first, sigma=p.each / 20.0, sigma_last=p.each / 10.0, kind="flow"),
        limit=5.0,
    ),
    Function("angle", lambda p: g.angle(p.cond, p.uncond)),
    Function("effective_scale", lambda p: g.effective_scale(p.first, p.cond, p.uncond)),
    Function("dot", lambda p: g.dot(p.cond, p.uncond)),
    Function("norm", lambda p: g.norm(p.cond)),
    Function("finite_per_sample", lambda p: g.finite_per_sample(p.cond)),
    Function("select_per_sample", lambda p: g.select_per_sample(p.mask, p.cond, p.uncond)),
    Function("eps_from_denoised", converted(g.eps_from_denoised)),
    Function("v_from_denoised", converted(g.v_from_denoised)),
    Function("score_from_denoised", converted(g.score_from_denoised)),
    Function("denoised_from_eps", converted(g.denoised_from_eps)),
    Function("denoised_from_v", converted(g.denoised_from_v)),
)
MOST_LATENTS = 3.0
LARGE = 1 << 24  # bytes


def size(shape: tuple[int, ...]) -> str:
    return "x".join(str(n) for n in shape)


def bench_functions(lab: "Lab", plan: Plan, targets: list) -> list[dict]:
    dtypes = [torch.float32, *([torch.float16, torch.bfloat16] if CUDA else [])]
    rows = [row for dtype in dtypes for row in bench_dtype(dtype, plan)]
    single = [row for row in rows if row["dtype"] == "float32"]
    for f, row in zip(plan.functions(), single, strict=True):
        if f.limit and size(VIDEO) in row["time"]:
            targets.append(target(f"time of {f.name}", row["time"][size(VIDEO)]["ratio"], f.limit))
        if f.other is not lerp:
            shape, slowest = max(row["time"].items(), key=lambda item: item[1]["ratio"])
            targets.append(target(f"time of {f.name} at its worst size, {shape}", slowest["ratio"], 1.0))
        targets.append(target(f"device synchronisations of {f.name}", row["reads"], 0))
    worst = max(row["most_latents"] for row in single)
    for row in single:
        if row["most_latents"] == worst or row["most_latents"] > MOST_LATENTS:
            targets.append(target(f"memory of {row['name']}", row["most_latents"], MOST_LATENTS))
    return rows


def bench_dtype(dtype: torch.dtype, plan: Plan) -> list[dict]:
    inputs = [Latents(shape, dtype) for shape in plan.shapes]
    return [bench_function(f, inputs, plan.calls) for f in plan.functions()]


def bench_function(f: Function, inputs: list[Latents], effort: Effort) -> dict:
    """Time and memory at each size; `process_latents` is of the largest alone, where it is exact enough."""
    dtype = str(inputs[0].cond.dtype).removeprefix("torch.")
    progress(f"{f.name} {dtype}")
    ours, theirs = ([functools.partial(call, p) for p in inputs] for call in (f.call, f.other))
    names = [size(p.cond.shape) for p in inputs]
    one = [p.cond.untyped_storage().nbytes() for p in inputs]
    latents = [tensor_memory(call) / unit for call, unit in zip(ours, one, strict=True)]
    grown = process_memory(ours[-1]) if one[-1] > LARGE else None
    process = None if grown is None else grown / one[-1]
    return {
        "name": f.name,
        "dtype": dtype,
        "time": {n: asdict(paired(a, b, effort)) for n, a, b in zip(names, ours, theirs, strict=True)},
        "latents": dict(zip(names, latents, strict=True)),
        "process_latents": process,
        "reads": scalar_reads(ours[0]),
        "most_latents": round(max(*latents, process or 0.0), 1),
    }


def function_tables(rows: list[dict]) -> Iterator[str]:
    for dtype in dict.fromkeys(row["dtype"] for row in rows):
        own = [row for row in rows if row["dtype"] == dtype]
        shapes = list(own[0]["time"])
        yield table(
            f"Functions, {dtype}: time over torch.lerp's, or over that of what stands after the slash, "
            f"peak memory beside inputs and result in latents, and reads that wait for the device",
            ["", *shapes, "latents", "reads"],
            [
                [
                    row["name"],
                    *(str(Ratio(**row["time"][s])) for s in shapes),
                    f"{row['most_latents']:.1f}",
                    str(row["reads"]),
                ]
                for row in own
            ],
        )
        base = own[0]["time"]
        yield "torch.lerp: " + ", ".join(f"{s} {micro(base[s]['theirs'])}" for s in shapes)


# ---- Nodes


class Idle(torch.nn.Module):
    """In place of the network: what is left of a run is what the host and the nodes do around it."""

    dtype = torch.float32
    in_channels = models.CHANNELS  # the host's RenormCFG asks for it

    def forward(self, x, timesteps, context=None, **kwargs):
        return x


class Lab:
    """A lab model with conditionings: `model` as it is, `idle` without its network, `other` a second one."""

    def __init__(self):
        self.model, clip, _ = models.load("ve")
        self.idle, _, _ = models.load("ve")
        self.other, _, _ = models.load("ve")
        self.idle.model.diffusion_model = Idle()

        def text(words):
            return clip.encode_from_tokens_scheduled(clip.tokenize(words))

        self.positive = text("a large red circle left of a small blue square on a grey background")
        self.empty = text("")
        self.negative = text("a small green ring on a white background")


@dataclass(frozen=True)
class Way:
    """A way to sample: what is done to the MODEL, the sampler or its name, its cfg, and the guider if not CFGGuider."""

    patch: Callable = lambda model, lab: model
    sampler: str | comfy.samplers.KSAMPLER = "euler"
    cfg: float = 7.0
    guider: Callable | None = None

    def on(self, lab: Lab, model, *, steps: int, batch: int = 1) -> Callable[[], Tensor]:
        """A call that samples with the host."""
        make = self.guider or cfg_guider
        guider = make(self.patch(model, lab), lab, self.cfg)
        named = isinstance(self.sampler, str)
        sampler = comfy.samplers.sampler_object(self.sampler) if named else self.sampler
        sigmas = comfy.samplers.calculate_sigmas(model.get_model_object("model_sampling"), "normal", steps)
        noise = torch.randn(batch, models.CHANNELS, 16, 16, generator=torch.Generator().manual_seed(0))
        empty = torch.zeros_like(noise)
        return lambda: guider.sample(noise, empty, sampler, sigmas, disable_pbar=True, seed=0)


def cfg_guider(model, lab: Lab, cfg: float):
    guider = comfy.samplers.CFGGuider(model)
    guider.set_conds(lab.positive, lab.empty)
    guider.set_cfg(cfg)
    return guider


def host_perp_neg_guider(model, lab: Lab, cfg: float):
    guider = comfy_extras.nodes_perpneg.Guider_PerpNeg(model)
    guider.set_conds(lab.positive, lab.negative, lab.empty)
    guider.set_cfg(cfg, 1.0)
    return guider


def put(node, model, *args, **kwargs):
    """The MODEL that a node makes of a MODEL."""
    return node.execute(model, *args, **kwargs).args[0]


def weight(scale, start=0.0, end=1.0):
    node = nodes.scheduled_cfg.ScheduledCFG
    return lambda model, lab: put(node, model, scale, start, end, "weight 1")


def negative(mode, value):
    node = nodes.negative_guidance.NegativeGuidance
    return lambda model, lab: put(node, model, lab.negative, mode, value, 0.0, 1.0)


def threshold(mode, mimic_scale, strength=1.0):
    node = nodes.dynamic_thresholding.DynamicThresholding
    return lambda model, lab: put(node, model, mode, mimic_scale, 0.995, True, "mean", "ad", strength)


def adg(mode, strength=1.0):
    return lambda model, lab: put(nodes.angle_domain.AngleDomain, model, 60.0, mode, strength)


def apg(**knobs):
    return lambda model, lab: put(nodes.apg.AdaptiveProjected, model, 1.0, {"preset": "custom", **knobs})


def beta_cfg(a, b):
    form = {"form": "normalised (ours)", "reference": 0.1}
    return lambda model, lab: put(nodes.beta_cfg.BetaCFG, model, 1.0, a, b, 1.0, 1.0, form)


def ratio_aware_node(preset):
    return lambda model, lab: put(nodes.ratio_aware.RatioAware, model, "w_max", 1.0, {"preset": preset})


def zero_star(steps, strength=1.0):
    return lambda model, lab: put(nodes.cfg_zero_star.CFGZeroStar, model, steps, strength)


def tcfg(strength):
    return lambda model, lab: put(nodes.tcfg.TangentialDamping, model, strength)


def rescale(phi):
    return lambda model, lab: put(nodes.rescale.Rescale, model, phi, "v")


def energy(mode, strength=1.0):
    return lambda model, lab: put(nodes.energy_preserving.EnergyPreserving, model, mode, "sample", strength)


def frequency(mode, **knobs):
    return lambda model, lab: put(nodes.frequency.FrequencyDecoupled, model, 1.0, {"mode": mode, **knobs})


def skimmed(mode, skim_scale=4.0):
    return lambda model, lab: put(nodes.skimmed.SkimmedCFG, model, skim_scale, mode, True, False, 1.0)


def pmc(floor):
    return lambda model, lab: put(nodes.pmc.NormCapped, model, 1.05, floor, 1.0)


def momentum(alpha):
    return lambda model, lab: put(nodes.momentum_guidance.MomentumGuidance, model, alpha, 0.6, 0.3, 0.95)


def history(value):
    return lambda model, lab: put(nodes.higs.HistoryGuidance, model, value, 0.75, 1.0, 0.4, 1.0, False)


def sliding(gain, chatter_free=False):
    return lambda model, lab: put(nodes.sliding_mode.SlidingMode, model, gain, 5.0, "relative", chatter_free, 1.0)


def norm_limit(scope, strength=1.0):
    return lambda model, lab: put(nodes.norm_limit.NormLimit, model, 1.0, scope, strength)


def tag(eta, start=0.0, end=1.0):
    return lambda model, lab: put(nodes.tangential.TangentialAmplifying, model, eta, start, end)


def epsilon_scaling(scale):
    return lambda model, lab: put(nodes.epsilon_scaling.EpsilonScaling, model, scale)


def tsr(k):
    return lambda model, lab: put(nodes.temporal_score_rescaling.TemporalScoreRescaling, model, k, 1.0)


def host_node(node, *values):
    return Way(lambda model, lab: put(node, model, *values))


def contrastive(strength):
    node = nodes.contrastive.ContrastiveCFG
    return lambda model, lab: put(node, model, lab.negative, 0.2, "sum (paper)", strength, 0.0, 1.0)


def dynamic_negative(weight):
    node = nodes.dynamic_negative.DynamicNegative
    return lambda model, lab: put(node, model, lab.negative, weight, "positive", 0.01, 0.2, 2e-4, 1e-6, 0.8)


def safe_latent(preset, strength):
    node = nodes.safe_latent.SafeLatent
    return lambda model, lab: put(node, model, lab.negative, strength, {"preset": preset})


def term(module, node, **values):
    """An added term over the whole run."""
    always = {"scale": 3.0, "start": 0.0, "end": 1.0, **values}
    return lambda model, lab: put(getattr(getattr(nodes, module), node), model, **always)


def pag(**values):
    return term("perturbed_attention", "PerturbedAttention", strength=1.0, blocks="auto", rescale=0.0, **values)


def sag(**values):
    return term("self_attention", "SelfAttention", blur=2.0, **values)


def autoguidance(model, lab):
    return term("autoguidance", "Autoguidance", weak_model=lab.other, rescale=0.0)(model, lab)


def nag(scale):
    node = nodes.nag.NormalizedAttention
    return lambda model, lab: put(node, model, lab.negative, scale, 0.0, 1.0, {"preset": "SD1.5, SDXL"})


def cads(scale):
    return lambda model, lab: put(nodes.cads.ConditionAnnealing, model, scale, 0.6, 0.9, 1.0)


def adaptive(threshold):
    return lambda model, lab: put(nodes.adaptive_guidance.AdaptiveGuidance, model, threshold, 0.2, "eps")


def reuse(every):
    return lambda model, lab: put(nodes.uncond_reuse.UncondReuse, model, every, "auto", 0.2, 1.0)


def cfgpp(lam):
    return lambda model, lab: put(nodes.cfgpp.CFGPlusPlus, model, lam, 30.0)


def cfgpp_sampler(method, **options):
    return nodes.cfgpp_sampler.CFGPPSampler.execute("official", {"method": method, **options}).args[0]


def rectified_sampler(lam_max):
    return nodes.rectified_cfgpp.RectifiedCFGPP.execute(lam_max, 0.0, 0.5).args[0]


def chain(*patches):
    return lambda model, lab: functools.reduce(lambda patched, patch: patch(patched, lab), patches, model)


PLAIN = Way()
INTERVAL = Way(weight(7.0, 0.2, 0.8))


@dataclass(frozen=True)
class Node:
    """One row: `way` against plain CFG. `host` is the host's own way to the same; `off`: it must be free.

    `inside`: it changes blocks of the network, so it is measured with it, and its passes are part of its time.
    """

    name: str
    way: Way
    host: Way | None = None
    off: bool = False
    inside: bool = False

    def model(self, lab: Lab):
        return lab.model if self.inside else lab.idle


NODES = (
    Node("plain CFG", PLAIN),
    Node("Scheduled CFG at the sampler's cfg", Way(weight(7.0)), off=True),
    Node("Scheduled CFG at the sampler's cfg, from a schedule", Way(weight(g.Linear(7.0, 7.0))), off=True),
    Node("Scheduled CFG at weight 1", Way(weight(1.0))),
    Node("Scheduled CFG, interval 0.2 to 0.8", INTERVAL),
    Node(
        "Negative Guidance, perpendicular",
        Way(negative("perpendicular", 1.0)),
        Way(guider=host_perp_neg_guider),
    ),
    Node("Negative Guidance, compose", Way(negative("compose", 1.0))),
    Node("Negative Guidance, partial 0.5", Way(negative("partial", 0.5))),
    Node("Negative Guidance, partial 1", Way(negative("partial", 1.0))),
    Node("Negative Guidance at weight 0", Way(negative("perpendicular", 0.0)), off=True),
    Node("Dynamic Thresholding, mimic", Way(threshold("mimic", 4.0))),
    Node("Dynamic Thresholding, imagen", Way(threshold("imagen", 4.0))),
    Node("Dynamic Thresholding at mimic = cfg", Way(threshold("mimic", 7.0)), off=True),
    Node("CFG++", Way(cfgpp(0.6)), Way(sampler="euler_cfg_pp", cfg=0.6)),
    Node(
        "CFG++ Sampler, DPM++ 2M",
        Way(sampler=cfgpp_sampler("DPM++ 2M"), cfg=0.6),
        Way(sampler="dpmpp_2m_cfg_pp", cfg=0.6),
    ),
    Node(
        "CFG++ Sampler, DPM++ 2S ancestral",
        Way(sampler=cfgpp_sampler("DPM++ 2S ancestral", eta=1.0, s_noise=1.0), cfg=0.6),
        Way(sampler="dpmpp_2s_ancestral_cfg_pp", cfg=0.6),
    ),
    Node("Rectified-CFG++ Sampler", Way(sampler=rectified_sampler(3.5))),
    Node("ADG", Way(adg("paper"))),
    Node("ADG, exact rotation", Way(adg("exact rotation"))),
    Node("ADG at strength 0", Way(adg("paper", strength=0.0)), off=True),
    Node("APG", Way(apg(eta=0.0, norm_threshold=5.0, momentum=0.0))),
    Node("APG with momentum", Way(apg(eta=0.0, norm_threshold=5.0, momentum=-0.5))),
    Node("Beta-CFG", Way(beta_cfg(2.0, 3.0))),
    Node("Beta-CFG without a density", Way(beta_cfg(1.0, 1.0))),
    Node("Ratio-Aware Guidance", Way(ratio_aware_node("RAAG"))),
    Node("CFG-Zero*", Way(zero_star(1))),
    Node("CFG-Zero* at strength 0", Way(zero_star(1, strength=0.0)), off=True),
    Node("TCFG", Way(tcfg(1.0)), Way(lambda model, lab: put(comfy_extras.nodes_tcfg.TCFG, model))),
    Node("TCFG at strength 0", Way(tcfg(0.0)), off=True),
    Node("Rescale CFG", Way(rescale(0.7))),
    Node("Rescale CFG at phi 0", Way(rescale(0.0)), off=True),
    Node("EP-CFG", Way(energy("plain"))),
    Node("EP-CFG, robust", Way(energy("robust"))),
    Node("EP-CFG at strength 0", Way(energy("plain", strength=0.0)), off=True),
    Node("FDG", Way(frequency("FDG", low=0.5, high=1.0))),
    Node(
        "FreSca",
        Way(frequency("FreSca", low=1.0, high=1.25, cutoff=0.3)),
        Way(lambda model, lab: put(comfy_extras.nodes_fresca.FreSca, model, 1.0, 1.25, 20)),
    ),
    Node("FDG with gains of 1", Way(frequency("FDG", low=1.0, high=1.0)), off=True),
    Node("Skimmed CFG, exact", Way(skimmed("exact"))),
    Node("Skimmed CFG, as published", Way(skimmed("as published"))),
    Node("Skimmed CFG at the sampler's cfg", Way(skimmed("exact", 7.0)), off=True),
    Node("PMC-CFG", Way(pmc(0.0))),
    Node("PMC-CFG with floor 1", Way(pmc(1.0)), off=True),
    Node("Momentum Guidance", Way(momentum(0.5))),
    Node("Momentum Guidance at alpha 0", Way(momentum(0.0)), off=True),
    Node("HiGS", Way(history(1.75))),
    Node("HiGS at weight 0", Way(history(0.0)), off=True),
    Node("SMC-CFG", Way(sliding(0.2))),
    Node("SMC-CFG, chatter-free", Way(sliding(0.2, chatter_free=True))),
    Node("SMC-CFG at gain 0", Way(sliding(0.0)), off=True),
    Node(
        "Norm Limit",
        Way(norm_limit("sample")),
        host_node(comfy_extras.nodes_lumina2.RenormCFG, 100.0, 1.0),
    ),
    Node(
        "Norm Limit, pixel",
        Way(norm_limit("pixel")),
        host_node(comfy_extras.nodes_cfg.CFGNorm, 1.0),
    ),
    Node("Norm Limit at strength 0", Way(norm_limit("sample", strength=0.0)), off=True),
    Node("TAG", Way(tag(1.15))),
    Node("TAG in a window", Way(tag(1.15, 0.2, 0.8))),
    Node("TAG at eta 1", Way(tag(1.0)), off=True),
    Node(
        "Epsilon Scaling",
        Way(epsilon_scaling(1.005)),
        host_node(comfy_extras.nodes_eps.EpsilonScaling, 1.005),
    ),
    Node("Epsilon Scaling at 1", Way(epsilon_scaling(1.0)), off=True),
    Node(
        "TSR",
        Way(tsr(0.95)),
        host_node(comfy_extras.nodes_eps.TemporalScoreRescaling, 0.95, 1.0),
    ),
    Node("TSR at k 1", Way(tsr(1.0)), off=True),
    Node("Negative Guidance, not", Way(negative("not", 0.5))),
    Node("Contrastive CFG", Way(contrastive(1.0))),
    Node("Contrastive CFG at strength 0", Way(contrastive(0.0)), off=True),
    Node("Dynamic Negative Guidance", Way(dynamic_negative(5.0))),
    Node("Dynamic Negative Guidance at weight 0", Way(dynamic_negative(0.0)), off=True),
    Node("Safe Latent Diffusion, medium", Way(safe_latent("medium", 1.0))),
    Node("Safe Latent Diffusion at strength 0", Way(safe_latent("medium", 0.0)), off=True),
    Node("PAG at scale 0", Way(pag(scale=0.0)), off=True),
    Node(
        "PAG, with its passes",
        Way(pag()),
        Way(lambda model, lab: put(comfy_extras.nodes_pag.PerturbedAttentionGuidance, model, 3.0)),
        inside=True,
    ),
    Node(
        "SAG, with its passes",
        Way(sag(scale=0.5)),
        Way(lambda model, lab: put(comfy_extras.nodes_sag.SelfAttentionGuidance, model, 0.5, 2.0)),
        inside=True,
    ),
    Node("Autoguidance, with its passes", Way(autoguidance), inside=True),
    Node("NAG, with its attentions", Way(nag(3.0)), inside=True),
    Node("NAG at scale 1", Way(nag(1.0)), off=True),
    Node("CADS", Way(cads(0.25))),
    Node("CADS at scale 0", Way(cads(0.0)), off=True),
    Node("Adaptive Guidance, 0.9999", Way(adaptive(0.9999))),
    Node("Adaptive Guidance at threshold 1", Way(adaptive(1.0)), off=True),
    Node("Uncond Reuse, every 2", Way(reuse(2))),
    Node("Uncond Reuse at every 1", Way(reuse(1)), off=True),
    Node(
        "interval + negative + ADG + imagen",
        Way(chain(INTERVAL.patch, negative("perpendicular", 1.0), adg("paper"), threshold("imagen", 4.0))),
    ),
)
FREE = 0.01  # of the time of one step of a model of 2 million parameters on an image of 32x32 pixels


def passes_of(way: Way, lab: Lab, model, steps: int) -> list[int]:
    """The rows of every forward pass of a run of this MODEL with one sample."""
    rows = []

    def note(apply_model, args):
        rows.append(args["input"].shape[0])
        return apply_model(args["input"], args["timestep"], **args["c"])

    counted = model.clone()
    counted.set_model_unet_function_wrapper(note)
    way.on(lab, counted, steps=steps)()
    return rows


def reads_of(way: Way, lab: Lab, model, steps: int) -> int:
    call = way.on(lab, model, steps=steps)
    with counted_reads(PACK.__name__) as seen:
        call()
    return len(seen)


def bench_nodes(lab: Lab, plan: Plan, targets: list) -> list[dict]:
    plain_step = min(timed(PLAIN.on(lab, lab.model, steps=plan.steps), 1) for _ in range(3)) / plan.steps
    rows = []
    for node in NODES:
        progress(node.name)
        steps, model = 2 * plan.steps, node.model(lab)
        passes = passes_of(node.way, lab, model, steps)
        short, long = reads_of(node.way, lab, model, steps), reads_of(node.way, lab, model, 2 * steps)
        per_step = (long - short) / steps
        seen = paired(node.way.on(lab, model, steps=steps), PLAIN.on(lab, model, steps=steps), plan.idle)
        added = (seen.ratio - 1.0) * seen.theirs / steps
        rows.append(
            {
                "name": node.name,
                "steps": steps,
                "passes": sum(passes),
                "forwards": len(passes),
                "reads_per_step": per_step,
                "reads_per_run": short - per_step * steps,
                "added_seconds_per_step": added,
                "added_spread": seen.spread * seen.theirs / steps,
                "share_of_step": added / plain_step,
            }
        )
        if node.off:
            targets.append(target(f"share of a step taken by {node.name}", added / plain_step, FREE))
    return rows


def node_tables(rows: list[dict]) -> Iterator[str]:
    yield table(
        f"Nodes, in a run of {rows[0]['steps']} steps with one sample: model passes, forward calls, reads "
        f"that wait for the device, and time beside the network's, added to plain CFG's",
        ["", "passes", "calls", "reads/step", "reads/run", "added us/step", "of a lab step"],
        [
            [
                row["name"],
                str(row["passes"]),
                str(row["forwards"]),
                f"{row['reads_per_step']:g}",
                f"{row['reads_per_run']:g}",
                f"{1e6 * row['added_seconds_per_step']:.0f} ±{1e6 * row['added_spread']:.0f}",
                f"{100 * row['share_of_step']:.1f} %",
            ]
            for row in rows
        ],
    )


def bench_hosts(lab: Lab, plan: Plan, targets: list) -> list[dict]:
    """Whole runs on the lab model with its network, with the host's own way measured beside ours."""
    rows = []
    for node in NODES:
        if node.host is None:
            continue
        progress(f"{node.name} against the host")
        seen = paired(
            node.way.on(lab, lab.model, steps=plan.steps),
            node.host.on(lab, lab.model, steps=plan.steps),
            plan.runs,
        )
        ours, theirs = (sum(passes_of(way, lab, node.model(lab), plan.steps)) for way in (node.way, node.host))
        rows.append({"name": node.name, "passes": ours, "host_passes": theirs, "time": asdict(seen)})
    return rows


def host_tables(rows: list[dict]) -> Iterator[str]:
    yield table(
        "Nodes against the host's own: a whole run on the lab model",
        ["", "passes", "host's passes", "time / host's"],
        [[row["name"], str(row["passes"]), str(row["host_passes"]), str(Ratio(**row["time"]))] for row in rows],
    )


def bench_interval(lab: Lab, plan: Plan, targets: list) -> dict:
    """A batch so large that the network's time grows with the rows of a pass, or nearly so."""
    progress("interval")
    ours, plain, single = (
        way.on(lab, lab.model, steps=plan.steps, batch=plan.batch) for way in (INTERVAL, PLAIN, Way(cfg=1.0))
    )
    passes, of = (sum(passes_of(way, lab, lab.idle, plan.steps)) for way in (INTERVAL, PLAIN))
    seen = paired(ours, plain, plan.runs)
    twice = paired(plain, single, plan.runs)
    off = seen.ratio / (passes / of) - 1.0
    targets.append(target("time of an interval run, off its passes", abs(off), 0.05))
    return {
        "batch": plan.batch,
        "steps": plan.steps,
        "passes": passes,
        "plain_passes": of,
        "expected": passes / of,
        "time": asdict(seen),
        "off": off,
        "two_passes_over_one": asdict(twice),
    }


def interval_tables(row: dict) -> Iterator[str]:
    yield table(
        f"Interval against plain CFG: {row['steps']} steps on the lab model, {row['batch']} samples",
        ["passes", "plain passes", "expected", "time / plain", "off", "2 passes / 1 pass"],
        [
            [
                str(row["passes"]),
                str(row["plain_passes"]),
                f"{row['expected']:.3f}",
                str(Ratio(**row["time"])),
                f"{100 * row['off']:+.1f} %",
                str(Ratio(**row["two_passes_over_one"])),
            ]
        ],
    )


# ---- The report


def target(name: str, seen: float, limit: float) -> dict:
    return {"name": name, "seen": seen, "limit": limit, "met": seen <= limit}


def target_tables(targets: list[dict]) -> Iterator[str]:
    yield table(
        "Targets",
        ["", "seen", "at most", ""],
        [
            [t["name"], f"{t['seen']:.3g}", f"{t['limit']:.3g}", "met" if t["met"] else "MISSED"]
            for t in sorted(targets, key=lambda t: t["met"])
        ],
    )


def table(title: str, head: list[str], rows: list[list[str]]) -> str:
    """Text in columns, the first one to the left and the others to the right."""
    widths = [max(len(row[i]) for row in [head, *rows]) for i in range(len(head))]

    def line(row: list[str]) -> str:
        cells = zip(row, widths, strict=True)
        return "  ".join(c.rjust(w) if i else c.ljust(w) for i, (c, w) in enumerate(cells)).rstrip()

    return "\n".join([title, "", line(head), "  ".join("-" * w for w in widths), *map(line, rows)])


def micro(seconds: float) -> str:
    return f"{1e6 * seconds:.0f} us" if seconds < 1e-3 else f"{1e3 * seconds:.2f} ms"


def progress(what: str) -> None:
    """One line that is written over, for a person who waits."""
    if sys.stderr.isatty():
        sys.stderr.write(f"\r\033[K{what[:78]}")
        sys.stderr.flush()


def machine() -> dict:
    processor = platform.processor() or platform.machine()
    with contextlib.suppress(OSError, StopIteration):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        processor = next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return {
        "processor": processor,
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "gpu": torch.cuda.get_device_name(DEVICE) if CUDA else None,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "system": platform.system(),
    }


SECTIONS = {
    "nodes": (bench_nodes, node_tables),
    "hosts": (bench_hosts, host_tables),
    "interval": (bench_interval, interval_tables),
    "functions": (bench_functions, function_tables),
}


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="one small size and few repeats")
    parser.add_argument("--only", nargs="+", choices=SECTIONS, help="some of the tables")
    parser.add_argument("--rows", default="", metavar="PATTERN", help="the functions whose names it is found in")
    parser.add_argument("--json", type=Path, metavar="FILE", help="where to write the numbers")
    options = parser.parse_args(arguments)
    plan = replace(QUICK if options.quick else FULL, rows=options.rows)
    chosen = options.only or SECTIONS
    out = options.json or Path(tempfile.gettempdir()) / "azimuth-bench.json"

    found: dict = {"machine": machine(), "quick": options.quick}
    targets: list[dict] = []
    sys.stdout.write(", ".join(f"{k} {v}" for k, v in found["machine"].items() if v) + "\n")
    lab = Lab()

    def show(tables: Iterator[str]) -> None:
        progress("")
        for text in tables:
            sys.stdout.write(f"\n{text}\n")

    for name, (bench, tables) in SECTIONS.items():
        if name in chosen:
            found[name] = bench(lab, plan, targets)
            show(tables(found[name]))
    found["targets"] = targets
    show(target_tables(targets))
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    sys.stdout.write(f"\nNumbers: {out}\n")
    return 0
