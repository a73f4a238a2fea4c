"""What bench.py measures of `guidance/`: FUNCTIONS, a row for each function and for each of its counterparts."""

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from ..pack import guidance as g
from . import diffusers_guiders as guiders
from . import host_functions as host
from .latents import Latents


def lerp(p: Latents) -> Tensor:
    return torch.lerp(p.uncond, p.cond, 7.0)


@dataclass(frozen=True)
class Function:
    """One row: `call` against `other`. `limit` is the ratio to reach in float32: at the video size, and against a
    counterpart 1 at the others too.
    """

    name: str
    call: Callable[[Latents], Tensor]
    other: Callable[[Latents], Tensor] = lerp
    limit: float | None = None


# ---- Calls that several rows make, or that take more than a line


def at_seven(method: Callable, **knobs) -> Callable[[Latents], Tensor]:
    """A method of the two predictions, at a guidance scale of 7."""
    return lambda p: method(p.cond, p.uncond, scale=7.0, **knobs)


def by_guider(call: Callable) -> Callable[[Latents], Tensor]:
    return lambda p: call(p.cond, p.uncond, p.x)


def converted(convert: Callable) -> Callable[[Latents], Tensor]:
    return lambda p: convert(p.x, p.cond, 0.5, kind="flow")


cfg, apg, fdg, fresca = at_seven(g.cfg), at_seven(g.apg, norm_threshold=15.0), at_seven(g.fdg), at_seven(g.fresca)


def perp_neg(p: Latents) -> Tensor:
    return g.perp_neg(p.cond, p.uncond, [p.first], scale=7.0, weights=[1.0])


def zero_star(p: Latents) -> Tensor:
    return g.cfg_zero_star(p.cond, p.uncond, scale=7.0, x=p.x)


def tcfg(p: Latents) -> Tensor:
    return g.tcfg(p.cond, p.uncond, x=p.x)


def tcfg_and_cfg(p: Latents) -> Tensor:
    return g.cfg(p.cond, tcfg(p), scale=7.0)


def rescale_denoised(guided: Tensor, p: Latents) -> Tensor:
    return g.rescale_denoised(guided, p.cond, x=p.x, sigma=p.each, kind="ve")


def energy_preserving(p: Latents, **how) -> Tensor:
    return g.energy_preserving(p.first, p.cond, x=p.x, **how)


def ratio_aware(p: Latents) -> Tensor:
    return g.cfg(p.cond, p.uncond, scale=g.ratio_aware_scale(p.cond, p.uncond, x=p.x, scale=18.0, alpha=12.0))


def norm_limit_pixel(p: Latents) -> Tensor:
    return g.norm_limit(p.first, p.cond, scope="pixel")


def epsilon_scaling(p: Latents) -> Tensor:
    return g.epsilon_scaling(p.first, x=p.x)


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


# ---- What attention is measured with


@functools.cache
def queries(p: Latents, every: int) -> tuple[Tensor, tuple[int, int, int]]:
    """One head's, a token for every so many pixels of a row and a column; and the size of their map."""
    coarse = p.cond[..., ::every, ::every]
    return coarse.flatten(2).transpose(1, 2).unsqueeze(1).contiguous(), (1, *coarse.shape[2:])[-3:]


def smooth_queries(p: Latents, sigma: float) -> Tensor:
    tokens, size = queries(p, 2)
    return g.smooth_queries(tokens, size=size, sigma=sigma)


@functools.cache
def order(count: int, device: torch.device) -> Tensor:
    return torch.randperm(count, generator=torch.Generator().manual_seed(0)).to(device)


def shuffle_tokens(p: Latents) -> Tensor:
    tokens = queries(p, 2)[0]
    return g.shuffle_tokens(tokens, order=order(tokens.shape[-2], tokens.device))


def shuffle_added(p: Latents) -> Tensor:
    before = queries(p, 2)[0]
    return g.shuffle_added(before, before.flip(-1), order=order(before.shape[-2], before.device))


def attention_mass(p: Latents) -> Tensor:
    """Of one picture, as a UNet's middle block has it."""
    tokens, size = queries(p, 8)
    picture = tokens[..., : math.prod(size[1:]), :]
    return g.attention_mass(picture, picture)


def blurred_where_attended(p: Latents) -> Tensor:
    tokens, size = queries(p, 8)
    return g.blurred_where_attended(p.cond, tokens[:, 0, :, 0], size=size, sigma=2.0)


# ---- The second step of a run


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


# ---- The rows

FUNCTIONS = (
    Function("cfg", cfg),
    Function("cfg, scale per sample", lambda p: g.cfg(p.cond, p.uncond, scale=p.each)),
    Function("cfg / host's linear CFG", cfg, host.cfg),
    Function("cfg / diffusers' CFG", cfg, by_guider(guiders.cfg)),
    Function("compose, 1 negative", lambda p: g.compose(p.cond, p.uncond, [p.first], scale=7.0, weights=[1.0])),
    Function(
        "compose, 2 negatives",
        lambda p: g.compose(p.cond, p.uncond, [p.first, p.second], scale=7.0, weights=[1.0, 2.0]),
    ),
    Function("negative_terms", lambda p: g.negative_terms(p.uncond, [p.first], weights=[1.0])),
    Function("partial_negative", lambda p: g.partial_negative(p.uncond, p.first, strength=0.5)),
    Function("perp_neg, 1 negative", perp_neg),
    Function(
        "perp_neg, 2 negatives",
        lambda p: g.perp_neg(p.cond, p.uncond, [p.first, p.second], scale=7.0, weights=[1.0, 2.0]),
    ),
    Function(
        "perp_neg / host's Perp-Neg",
        perp_neg,
        host.perp_neg,
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
        "cfgpp_2s_middle",
        lambda p: g.cfgpp_2s_middle(p.x, p.cond, p.uncond, sigma=2.0, sigma_middle=1.5, kind="ve"),
        limit=5.0,
    ),
    Function(
        "cfgpp_2s_end",
        lambda p: g.cfgpp_2s_end(p.x, p.first, p.cond, p.uncond, sigma=2.0, sigma_next=1.2, kind="ve"),
        limit=5.0,
    ),
    Function(
        "renoise", lambda p: g.renoise(p.x, p.second, sigma_down=1.0, sigma_next=1.2, kind="ve", s_noise=1.0), limit=5.0
    ),
    Function("euler_step", lambda p: g.euler_step(p.x, p.cond, sigma=2.0, sigma_next=1.2), limit=5.0),
    Function(
        "rectified_cfgpp",
        lambda p: g.rectified_cfgpp(p.first, p.uncond, p.cond, sigma=0.7, sigma_middle=0.5),
        limit=5.0,
    ),
    Function("angle_domain", at_seven(g.angle_domain), limit=5.0),
    Function("angle_domain, scale per sample", lambda p: g.angle_domain(p.cond, p.uncond, scale=p.each), limit=5.0),
    Function("rotate", at_seven(g.rotate), limit=5.0),
    Function("apg", apg, limit=5.0),
    Function(
        "apg / host's APG",
        apg,
        host.apg,
        limit=1 / 10,
    ),
    Function(
        "apg / diffusers' APG",
        apg,
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
        "dynamic_negative, second step",
        lambda p: g.dynamic_negative(p.cond, p.first, x=p.x, sigma=p.each, kind="ve", state=seen_step(p)),
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
    Function("cfg_zero_star", zero_star, limit=5.0),
    Function(
        "cfg_zero_star / host's CFG-Zero*",
        zero_star,
        host.cfg_zero_star,
        limit=1.0,
    ),
    Function(
        "cfg_zero_star / diffusers' CFG-Zero*",
        zero_star,
        by_guider(guiders.cfg_zero_star),
        limit=1.0,
    ),
    Function("tcfg", tcfg, limit=5.0),
    Function("tcfg / host's TCFG", tcfg, host.tcfg, limit=1 / 10),
    Function("tcfg and cfg / diffusers' TCFG", tcfg_and_cfg, by_guider(guiders.tcfg), limit=1.0),
    Function("rescale", lambda p: g.rescale(p.first, p.cond), limit=5.0),
    Function("rescale_denoised", lambda p: rescale_denoised(p.first, p), limit=5.0),
    Function(
        "cfg and rescale_denoised / host's Rescale CFG",
        lambda p: rescale_denoised(cfg(p), p),
        host.rescale,
        limit=1 / 10,
    ),
    Function(
        "cfg and rescale / diffusers' rescale",
        lambda p: g.rescale(cfg(p), p.cond),
        by_guider(guiders.rescale),
        limit=1.0,
    ),
    Function("energy_preserving", energy_preserving, limit=5.0),
    Function("energy_preserving, frame", functools.partial(energy_preserving, scope="frame")),
    Function("energy_preserving, robust", functools.partial(energy_preserving, robust=True)),
    Function("fdg", fdg),
    Function(
        "fdg / diffusers' FDG",
        fdg,
        by_guider(guiders.frequency_decoupled),
        limit=1.0,
    ),
    Function("fdg, 3 bands", at_seven(g.fdg, gains=(1.0, 0.7, 0.4))),
    Function("fresca", fresca),
    Function("fresca / host's FreSca", fresca, host.fresca, limit=1.0),
    Function("skimmed", lambda p: g.skimmed(p.cond, p.uncond, scale=7.0, x=p.x, skim=4.0)),
    Function("skimmed_exact", lambda p: g.skimmed_exact(p.cond, p.uncond, scale=7.0, x=p.x, skim=4.0)),
    Function("pmc", at_seven(g.pmc), limit=5.0),
    Function("momentum_guidance", momentum_guidance, limit=5.0),
    Function("higs", higs),
    Function("higs, eta 0", functools.partial(higs, eta=0.0)),
    Function("smc", smc),
    Function("smc, chatter-free", functools.partial(smc, chatter_free=True)),
    Function("norm_limit", lambda p: g.norm_limit(p.first, p.cond), limit=5.0),
    Function("norm_limit, pixel", norm_limit_pixel, limit=5.0),
    Function("cfg and norm_limit / host's RenormCFG", lambda p: g.norm_limit(cfg(p), p.cond), host.renorm, limit=1.0),
    Function(
        "norm_limit, pixel / host's CFGNorm",
        norm_limit_pixel,
        host.norm_per_pixel,
        limit=1.0,
    ),
    Function("tangential_amplify", lambda p: g.tangential_amplify(p.first, x=p.x, eta=1.15), limit=5.0),
    Function("epsilon_scaling", epsilon_scaling),
    Function(
        "epsilon_scaling / host's Epsilon Scaling",
        epsilon_scaling,
        host.epsilon_scaling,
        limit=1.0,
    ),
    Function("temporal_score_rescaling", lambda p: g.temporal_score_rescaling(p.first, x=p.x, sigma=p.each, kind="ve")),
    Function("add_term", lambda p: g.add_term(p.first, p.cond, p.uncond, scale=3.0), limit=5.0),
    Function("add_term, rescaled", lambda p: g.add_term(p.first, p.cond, p.uncond, scale=3.0, rescale=0.7)),
    Function("perturbed_attention", lambda p: g.perturbed_attention(p.cond, p.uncond, strength=0.5)),
    Function("nag", lambda p: g.nag(p.cond, p.uncond, scale=5.0), limit=5.0),
    Function("smooth_queries", functools.partial(smooth_queries, sigma=10.0)),
    Function("smooth_queries, their mean", functools.partial(smooth_queries, sigma=10000.0)),
    Function("shuffle_tokens", shuffle_tokens),
    Function("shuffle_added", shuffle_added),
    Function("attention_mass", attention_mass),
    Function("blurred_where_attended", blurred_where_attended),
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
