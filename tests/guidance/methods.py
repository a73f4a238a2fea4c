"""The one list of methods. A row is all that the property tests need to know about a method."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import guidance_laws as laws
import guidance_oracle as oracle
import numpy as np
import torch
from torch import Tensor

import guidance as g
from guidance.negatives.dynamic_negative import Seen
from guidance.tensors.reduce import wide_dtype


@dataclass(frozen=True)
class Predictions:
    """One step's inputs: tensors (B, C, *spatial), or the same of a single sample in numpy."""

    cond: Tensor
    uncond: Tensor
    first: Tensor
    second: Tensor

    def map(self, f: Callable) -> "Predictions":
        return Predictions(f(self.cond), f(self.uncond), f(self.first), f(self.second))

    @property
    def negatives(self) -> list[Tensor]:
        return [self.first, self.second]


@dataclass(frozen=True)
class Method:
    """call(p, w) against oracle(sample, w). w is the scale, or whatever number per sample the function takes.

    at: value of w -> what it must return, bit for bit. reductions: name, ours(p, w), expected(p, w), bit for
    bit for any w. scales: the range of w. result: "latent" (dtype and shape of cond) or "wide" (float32 or better).
    laws: name, law(p, w, result), which is 0 for any w, as far as float64 is exact. exact: relative error to expect
    in float64. pictures: whether each picture (the last two dimensions) is filtered as one, so that the order of its
    places counts.
    """

    name: str
    call: Callable
    oracle: Callable
    at: tuple = ()
    reductions: tuple = ()
    scales: tuple[float, float] = (0.0, 15.0)
    result: str = "latent"
    laws: tuple = ()
    exact: float = 1e-11
    pictures: bool = False


WEIGHTS = (0.7, -0.4)
LIMIT = math.pi / 3


def cond(p):
    return p.cond


def uncond(p):
    return p.uncond


def first(p):
    return p.first


def plain(p, w):
    return g.cfg(p.cond, p.uncond, scale=w)


def cond_at_any(p, w):
    return p.cond


def zeros(p, w):
    return torch.zeros_like(p.cond)


def update(p):
    return p.cond - p.uncond


def above_1(law):
    """A law that does not hold for interpolation."""
    return lambda p, w, result: law(p, w, result) * (torch.as_tensor(w) >= 1.0)


ROTATED = above_1(laws.as_long(cond))
ENERGY = laws.as_long(lambda p: p.first - p.cond, lambda p, result: p.first - result)


def gone(f, rule):
    """What is left of a rule when its negatives are absent, weightless, or equal to the empty prompt."""

    def weightless(p, w):
        return torch.zeros(p.cond.shape[0])

    return (
        ("no negatives", lambda p, w: f(p, w, [], []), rule),
        ("weights 0", lambda p, w: f(p, w, p.negatives, [0.0, 0]), rule),
        ("tensors of weights 0", lambda p, w: f(p, w, p.negatives, [weightless(p, w)] * 2), rule),
        ("negatives equal to uncond", lambda p, w: f(p, w, [p.uncond, p.uncond], WEIGHTS), rule),
    )


def compose(p, w, negatives, weights):
    return g.compose(p.cond, p.uncond, negatives, scale=w, weights=weights)


def negative_terms(p, w, negatives, weights):
    return g.negative_terms(p.uncond, negatives, weights=weights)


def perp_neg(p, w, negatives, weights):
    return g.perp_neg(p.cond, p.uncond, negatives, scale=w, weights=weights)


def perp_terms(p, w, negatives, weights):
    return g.perp_terms(p.cond, p.uncond, negatives, weights=weights)


def weighted(f):
    """The weight of the first negative as the number per sample."""
    return lambda p, w: f(p, 3.0, p.negatives, [w, WEIGHTS[1]])


def mimic(percentile, per_channel, startpoint, measure, phi):
    knobs = {
        "percentile": percentile,
        "per_channel": per_channel,
        "startpoint": startpoint,
        "measure": measure,
    }

    def ours(p, w, mimic_scale=2.5, phi=phi):
        return g.mimic_threshold(p.cond, p.uncond, scale=w, mimic_scale=mimic_scale, phi=phi, **knobs)

    def theirs(s, w):
        return oracle.mimic_threshold(s.cond, s.uncond, w, 2.5, phi=phi, p=percentile, **rest)

    rest = {k: v for k, v in knobs.items() if k != "percentile"}
    reductions = [("phi 0", lambda p, w: ours(p, w, phi=0.0), plain)]
    if percentile == 1.0 and measure == "ad":
        reductions.append(("mimic_scale = scale", lambda p, w: ours(p, w, mimic_scale=w), plain))
    channels = "channels" if per_channel else "whole"
    name = f"mimic_threshold {startpoint} {measure} {percentile} {channels}"
    # The quantile is float32 for every input.
    exact = 1e-11 if percentile == 1.0 or measure == "std" else 1e-6
    return Method(name, ours, theirs, reductions=tuple(reductions), exact=exact)


def apg_with_momentum(p, w):
    state = g.Memory()
    state.begin(0)
    state.keep((p.first - p.second).to(torch.promote_types(p.first.dtype, torch.float32)))
    state.begin(1)
    return g.apg(p.cond, p.uncond, scale=w, norm_threshold=4.0, momentum=-0.5, state=state)


def skimming(name, ours, theirs, noisy=True, full=False, reductions=()):
    """One row of Skimmed CFG; `first` is the noisy latent."""
    kind = ("" if noisy else ", without x") + (", full" if full else "")
    return Method(
        name + kind,
        lambda p, w: ours(p.cond, p.uncond, scale=w, x=p.first if noisy else None, skim=3.0, full_negative=full),
        lambda s, w: theirs(s.cond, s.uncond, w, s.first if noisy else None, 3.0, full),
        at=((1.0, cond), (0.0, uncond)),
        reductions=reductions,
    )


def beta_cfg(name, **knobs):
    def ours(p, w, **changes):
        return g.beta_cfg(p.cond, p.uncond, scale=w, **{**knobs, **changes})

    return Method(
        f"beta_cfg{name}",
        ours,
        lambda s, w: oracle.beta_cfg(s.cond, s.uncond, s.first, w, **knobs),
        at=() if "floor" in knobs else ((0.0, uncond),),
        reductions=(
            ("gamma 0", lambda p, w: ours(p, w, gamma=0.0, floor=0.0), plain),
            ("gamma 0, a floor", lambda p, w: ours(p, w + 2.0, gamma=0.0, floor=2.0), lambda p, w: plain(p, w + 2.0)),
        ),
    )


def rescaled(space, kind, sigmas, phi=0.7):
    """The level as the number per sample."""

    def ours(p, w, phi=phi):
        return g.rescale_denoised(p.uncond, p.cond, x=p.first, sigma=w, kind=kind, space=space, phi=phi)

    return Method(
        f"rescale_denoised {space} {kind}",
        ours,
        lambda s, w: oracle.rescale_denoised(s.uncond, s.cond, s.first, w, kind, space, phi),
        reductions=(("phi 0", lambda p, w: ours(p, w, phi=0.0), lambda p, w: p.uncond),),
        scales=sigmas,
    )


def energy(form, scope, measure):
    def ours(p, w, guided=uncond):
        return g.energy_preserving(guided(p), p.cond, x=p.first, robust=form == "robust", scope=scope)

    return Method(
        f"energy_preserving {form} {scope}",
        ours,
        lambda s, w: oracle.energy_preserving(s.uncond, s.cond, s.first, measure),
        laws=(("x - D is as long as x - D_c", ENERGY),) if (form, scope) == ("plain", "sample") else (),
        reductions=(("guided equal to cond", lambda p, w: ours(p, w, guided=cond), lambda p, w: p.cond),),
    )


def remembering(value):
    """The memory of a run's second step, with what the first kept."""
    state = g.Memory()
    state.begin(0)
    state.keep(value)
    state.begin(1)
    return state


def momentum_guidance(p, alpha, sigma=0.6, kind="flow"):
    wide = torch.promote_types(p.second.dtype, torch.float32)
    return g.momentum_guidance(
        p.cond, x=p.first, sigma=sigma, kind=kind, alpha=alpha, state=remembering(p.second.to(wide))
    )


def momentum(kind, sigma):
    return Method(
        f"momentum_guidance, {kind} {sigma:g}",
        lambda p, w: momentum_guidance(p, w, sigma, kind),
        lambda s, w: oracle.momentum_guidance(s.cond, s.first, sigma, kind, w, 0.6, 0.3, 0.95, s.second)[0],
        at=((0.0, cond),),
        reductions=(
            ("above the window", lambda p, w: momentum_guidance(p, w, 0.96), lambda p, w: p.cond),
            ("below the window", lambda p, w: momentum_guidance(p, w, 0.4, "ve"), lambda p, w: p.cond),
        ),
        scales=(0.0, 2.0),
    )


def higs(p, weight, sigma=0.8, kind="flow", **knobs):
    state = g.Memory()
    g.higs(p.first, sigma=sigma, kind=kind, weight=weight, state=state, **knobs)
    state.begin(1)
    return g.higs(p.cond, sigma=sigma, kind=kind, weight=weight, state=state, **knobs)


def history(kind, sigma, eta=1.0, bias_correction=False):
    knobs = {"eta": eta, "bias_correction": bias_correction}

    def literal(s, w):
        own = (sigma, kind, w, 0.75, eta, 0.4, 1.0, bias_correction)
        return oracle.higs(s.cond, *own, oracle.higs(s.first, *own)[1], 1)[0]

    return Method(
        f"higs, {kind} {sigma:g}, eta {eta:g}{', bias corrected' if bias_correction else ''}",
        lambda p, w: higs(p, w, sigma, kind, **knobs),
        literal,
        at=((0.0, cond),),
        reductions=(
            ("outside the window", lambda p, w: higs(p, w, 0.4, **knobs), lambda p, w: p.cond),
            (
                "the first step",
                lambda p, w: g.higs(p.cond, sigma=0.8, kind="flow", weight=w, state=g.Memory()),
                lambda p, w: p.cond,
            ),
        ),
        scales=(0.0, 3.0),
        pictures=True,
    )


def smc(p, w, sigma=0.5, **knobs):
    wide = torch.promote_types(p.second.dtype, torch.float32)
    return g.smc(p.cond, p.uncond, scale=w, sigma=sigma, state=remembering(p.second.to(wide)), **knobs)


def sliding(name, first=False, gain=0.2, relative=True, chatter_free=False):
    knobs = {"gain": gain, "relative": relative, "chatter_free": chatter_free}
    own = (0.5, 5.0, gain, relative, chatter_free)

    def ours(p, w):
        return g.smc(p.cond, p.uncond, scale=w, sigma=0.5, **knobs) if first else smc(p, w, **knobs)

    return Method(
        f"smc, {name}",
        ours,
        lambda s, w: oracle.smc(s.cond, s.uncond, w, *own, None if first else s.second)[0],
        at=((1.0, cond),),
        reductions=(("gain 0", lambda p, w: smc(p, w, **{**knobs, "gain": 0.0}), plain),),
    )


def norm_limit(scope):
    limited = laws.at_most(lambda w: w, cond, laws.of_pixels if scope == "pixel" else laws.length)

    def ours(p, w):
        return g.norm_limit(p.first, p.cond, limit=w, scope=scope)

    return Method(
        f"norm_limit, {scope}",
        ours,
        lambda s, w: oracle.norm_limit(s.first, s.cond, w, scope),
        laws=((f"each {scope} is at most w times as long as that of cond", limited),),
        at=((1e9, lambda p: p.first),),
        reductions=(
            ("guided = cond", lambda p, w: g.norm_limit(p.cond, p.cond, limit=w + 0.7, scope=scope), cond_at_any),
        ),
        scales=(0.3, 3.0),
    )


def tsr(p, sigma, kind, k):
    return g.temporal_score_rescaling(p.cond, x=p.first, sigma=sigma, kind=kind, k=k)


def contrastive(name, f, tau, sigma, kind, per_element=False):
    knobs = {"tau": tau, "sigma": sigma, "kind": kind, "per_element": per_element}

    def ours(p, w, **changes):
        return f(p.cond, p.uncond, p.first, scale=w, **{**knobs, **changes})

    def theirs(s, w):
        plain = oracle.cfg(s.cond, s.uncond, w) if f is g.contrastive_terms else 0.0
        return oracle.contrastive(s.cond, s.uncond, s.first, w, tau, sigma, kind, per_element) - plain

    composed = {
        g.contrastive: lambda p, w: compose(p, w, [p.first], [w]),
        g.contrastive_terms: lambda p, w: negative_terms(p, w, [p.first], [w]),
    }
    return Method(name, ours, theirs, reductions=(("tau 0", lambda p, w: ours(p, w, tau=0.0), composed[f]),))


DNG = {"tau": 0.02, "delta": 2e-4, "p_min": 1e-6, "p_max": 0.8}


def dynamic_negative(f):
    """The second step of a run, at sigma 5 after sigma 8 and from `uncond` to `second`; D_b was zero at the first."""

    def ours(p, w):
        d, x = wide(p.first), wide(p.uncond)
        lead = g.dot(d, d) - 2.0 * g.dot(d, x)
        each = torch.ones_like(lead, dtype=torch.float64)
        state = g.Memory()
        state.begin(0)
        state.keep(Seen(math.log(0.2) * each, 8.0 * each, x, d, lead.double()))
        state.begin(1)
        return f(p.cond, p.first, x=p.second, sigma=5.0, kind="ve", scale=w, state=state, **DNG)

    def theirs(s, w):
        p = oracle.dynamic_posterior(0.2, s.second, s.uncond, s.first, 0.0, 8.0, 5.0, "ve", **DNG)
        whole = oracle.dynamic_negative(s.cond, s.first, w, p)
        return whole - s.cond if f is g.dynamic_negative_terms else whole

    at = ((0.0, cond if f is g.dynamic_negative else zero),)
    # At p_max the weight is 4 times the scale, which float16 must hold.
    return Method(f"{f.__name__}, second step", ours, theirs, at=at, scales=(0.0, 3.0))


def wide(t):
    return t.to(torch.promote_types(t.dtype, torch.float32))


def zero(p):
    return torch.zeros_like(p.cond)


def first_dynamic(p, w):
    """From t = 1."""
    return g.dynamic_negative(p.cond, p.first, x=p.second, sigma=1.0, kind="flow", scale=w, prior=0.3, state=g.Memory())


SLD = {"concept_scale": 0.8, "threshold": 0.3, "momentum_scale": 0.5, "momentum_beta": 0.7}


def safe_latent(name, f, sigma, kind, **changes):
    """A second step, which finds the momentum that `second` stands for."""
    knobs = {"sigma": sigma, "kind": kind, **SLD, **changes}

    def ours(p, w):
        state = g.Memory()
        state.begin(0)
        state.keep(wide(p.second))
        state.begin(1)
        return f(p.cond, p.uncond, p.first, scale=w, state=state, **knobs)

    def theirs(s, w):
        rest = (sigma, kind, *(knobs[symbol] for symbol in SLD), knobs.get("warm", True))
        whole = oracle.safe_latent(s.cond, s.uncond, s.first, w, *rest, s.second)[0]
        return whole if f is g.safe_latent else whole - oracle.cfg(s.cond, s.uncond, w)

    def bare(p, w, concept, concept_scale):
        return g.safe_latent(p.cond, p.uncond, concept, scale=w, **{**knobs, "concept_scale": concept_scale})

    reductions = (
        ("concept_scale 0", lambda p, w: bare(p, w, p.first, 0.0), plain),
        ("concept equal to uncond", lambda p, w: bare(p, w, p.uncond, 100.0), plain),
    )
    if f is g.safe_latent_terms:
        return Method(name, ours, theirs, at=((0.0, zero),))
    return Method(name, ours, theirs, at=((0.0, uncond),), reductions=reductions)


def nag(name, **knobs):
    """Channels come last there: a latent is taken as the tokens of its places."""

    def ours(p, w, negative=None, **changes):
        z, other = (t.movedim(1, -1) for t in (p.cond, p.uncond if negative is None else negative))
        return g.nag(z, other, scale=w, **{**knobs, **changes}).movedim(-1, 1)

    def theirs(s, w):
        z, other = (np.moveaxis(t, 0, -1) for t in (s.cond, s.uncond))
        return np.moveaxis(oracle.nag(z, other, w, *knobs.values()), -1, 0)

    reductions = (
        ("alpha 0", lambda p, w: ours(p, w, alpha=0.0), cond_at_any),
        ("negative = positive", lambda p, w: ours(p, w, negative=p.cond), cond_at_any),
    )
    return Method(name, ours, theirs, ((1.0, cond),), reductions)


def distilled_pair(p, g1, g2):
    return g.distilled_pair(p.uncond, p.cond, low_guidance=g1, high_guidance=g2)


def similarity(kind, space, low, high):
    """The number per sample is sigma."""
    return Method(
        f"adaptive_similarity {space} {kind}",
        lambda p, w: g.adaptive_similarity(p.cond, p.uncond, x=p.first, sigma=w, kind=kind, space=space),
        lambda s, w: oracle.adaptive_similarity(s.cond, s.uncond, s.first, w, kind, space),
        scales=(low, high),
        result="wide",
    )


def reuse(kind, frozen, sigma_last, low, high):
    """The number per sample is the sigma of the step; the difference of the earlier step is the role of `first`."""

    def ours(p, w, before=sigma_last):
        return g.uncond_reuse(p.cond, p.first, sigma=w, sigma_last=before, kind=kind, frozen=frozen)

    return Method(
        f"uncond_reuse {frozen} {kind}",
        ours,
        lambda s, w: oracle.uncond_reuse(s.cond, s.first, w, sigma_last, kind, frozen),
        reductions=(("at the same sigma", lambda p, w: ours(p, w, before=w), lambda p, w: p.cond - p.first),),
        scales=(low, high),
    )


def conversion(name, convert, kind, formula):
    return Method(
        f"{name} {kind}",
        lambda p, w: convert(p.first, p.cond, w, kind=kind),
        lambda s, w: formula(s.first, s.cond, w, kind),
        scales=(0.5, 14.0) if kind == "ve" else (0.5, 0.95),
    )


def within_one(t):
    return t.clamp(-1, 1)


def tokens_of(shuffle, order, *latents) -> Tensor:
    """Latents whose channels are taken for tokens, put into an order."""
    tokens = [t.flatten(2) for t in latents]
    return shuffle(*tokens, order=order(tokens[0].shape[1], device=tokens[0].device)).view_as(latents[0])


def turned(count: int, device) -> Tensor:
    """The second token first, and the first one last."""
    return torch.arange(1, count + 1, device=device) % count


METHODS = [
    Method("cfg", plain, lambda s, w: oracle.cfg(s.cond, s.uncond, w), at=((1.0, cond), (0.0, uncond))),
    Method(
        "compose",
        lambda p, w: compose(p, w, p.negatives, WEIGHTS),
        lambda s, w: oracle.compose(s.cond, s.uncond, s.negatives, w, WEIGHTS),
        reductions=gone(compose, plain),
    ),
    Method(
        "compose, weight per sample",
        weighted(compose),
        lambda s, w: oracle.compose(s.cond, s.uncond, s.negatives, 3.0, (w, WEIGHTS[1])),
    ),
    Method(
        "negative_terms",
        weighted(negative_terms),
        lambda s, w: oracle.compose(s.uncond, s.uncond, s.negatives, 0.0, (w, WEIGHTS[1])) - s.uncond,
        reductions=gone(negative_terms, zeros),
    ),
    Method(
        "perp_neg",
        lambda p, w: perp_neg(p, w, p.negatives, WEIGHTS),
        lambda s, w: oracle.perp_neg(s.cond, s.uncond, s.negatives, w, WEIGHTS),
        reductions=gone(perp_neg, plain),
        laws=(("what negatives add is orthogonal to the update", laws.across(update, plain)),),
    ),
    Method(
        "perp_terms",
        weighted(perp_terms),
        lambda s, w: oracle.perp_neg(s.cond, s.uncond, s.negatives, 1.0, (w, WEIGHTS[1])) - s.cond,
        reductions=gone(perp_terms, zeros),
        laws=(("orthogonal to the update", laws.across(update, zeros)),),
    ),
    Method(
        "partial_negative",
        lambda p, w: g.partial_negative(p.uncond, p.first, strength=w),
        lambda s, w: oracle.partial_negative(s.uncond, s.first, w),
        at=((1.0, first), (0.0, uncond)),
        scales=(0.0, 1.0),
    ),
    Method(
        "dynamic_threshold",
        lambda p, w: g.dynamic_threshold(p.cond, percentile=0.9),
        lambda s, w: oracle.dynamic_threshold(s.cond, 0.9),
        reductions=(
            (
                "within 1",
                lambda p, w: g.dynamic_threshold(within_one(p.cond)),
                lambda p, w: within_one(p.cond),
            ),
        ),
        exact=1e-6,
    ),
    mimic(1.0, True, "mean", "ad", 1.0),
    mimic(1.0, False, "mean", "ad", 0.7),
    mimic(0.9, True, "mean", "ad", 1.0),
    mimic(0.9, False, "mean", "ad", 0.7),
    mimic(1.0, True, "zero", "ad", 1.0),
    mimic(0.9, False, "zero", "ad", 0.7),
    mimic(1.0, True, "mean", "std", 0.7),
    mimic(1.0, False, "zero", "std", 1.0),
    Method(
        "angle_domain",
        lambda p, w: g.angle_domain(p.cond, p.uncond, scale=w),
        lambda s, w: oracle.angle_domain(s.cond, s.uncond, w, LIMIT),
        at=((1.0, cond), (0.0, uncond)),
    ),
    Method(
        "angle_domain, small limit",
        lambda p, w: g.angle_domain(p.cond, p.uncond, scale=w, max_angle=0.2),
        lambda s, w: oracle.angle_domain(s.cond, s.uncond, w, 0.2),
        at=((1.0, cond), (0.0, uncond)),
    ),
    Method(
        "rotate",
        lambda p, w: g.rotate(p.cond, p.uncond, scale=w),
        lambda s, w: oracle.rotate(s.cond, s.uncond, w, LIMIT),
        at=((1.0, cond), (0.0, uncond)),
        reductions=(
            (
                "max_angle 0",
                lambda p, w: g.rotate(p.cond, p.uncond, scale=w + 2.0, max_angle=0.0),
                lambda p, w: p.cond,
            ),
        ),
        laws=(("above w = 1 as long as cond", ROTATED),),
    ),
    Method(
        "apg",
        lambda p, w: g.apg(p.cond, p.uncond, scale=w),
        lambda s, w: oracle.apg(s.cond, s.uncond, w, 0.0, 0.0, 0.0)[0],
        at=((1.0, cond),),
        reductions=(("eta 1", lambda p, w: g.apg(p.cond, p.uncond, scale=w, eta=1.0), plain),),
        laws=(("what guidance adds is orthogonal to cond", laws.across(cond, cond_at_any)),),
    ),
    Method(
        "apg, threshold",
        lambda p, w: g.apg(p.cond, p.uncond, scale=w, eta=0.3, norm_threshold=2.5),
        lambda s, w: oracle.apg(s.cond, s.uncond, w, 0.3, 2.5, 0.0)[0],
        at=((1.0, cond),),
    ),
    Method(
        "apg, second step with momentum",
        apg_with_momentum,
        lambda s, w: oracle.apg(s.cond, s.uncond, w, 0.0, 4.0, -0.5, s.first - s.second)[0],
        at=((1.0, cond),),
        laws=(("what guidance adds is orthogonal to cond", laws.across(cond, cond_at_any)),),
    ),
    beta_cfg("", gamma=1.0, sigma=2.0, kind="ve"),
    beta_cfg(", flow, reference, floor", gamma=0.4, sigma=0.7, kind="flow", reference=0.1, floor=1.0),
    Method(
        "ratio_aware_scale",
        lambda p, w: g.ratio_aware_scale(p.cond, p.uncond, x=p.first, scale=w, alpha=1.3),
        lambda s, w: oracle.ratio_aware_scale(s.cond, s.uncond, s.first, w, 1.3),
        at=((1.0, lambda p: torch.ones(p.cond.shape[0], dtype=wide_dtype(p.cond), device=p.cond.device)),),
        result="wide",
    ),
    # In these the noisy x is the role of `first`.
    Method(
        "cfg_zero_star",
        lambda p, w: g.cfg_zero_star(p.cond, p.uncond, scale=w, x=p.first),
        lambda s, w: oracle.cfg_zero_star(s.cond, s.uncond, w, s.first),
        at=((1.0, cond),),
        laws=(("what guidance adds is orthogonal to x - D_u", laws.across(lambda p: p.first - p.uncond, cond_at_any)),),
    ),
    Method(
        "tcfg",
        lambda p, w: g.tcfg(p.cond, p.uncond, x=p.first),
        lambda s, w: oracle.tcfg(s.cond, s.uncond, s.first),
        exact=1e-10,
    ),
    # In these `uncond` is the guided prediction.
    Method(
        "rescale",
        lambda p, w: g.rescale(p.uncond, p.cond, phi=w),
        lambda s, w: oracle.rescale(s.uncond, s.cond, w),
        at=((0.0, uncond),),
        reductions=(("guided equal to cond", lambda p, w: g.rescale(p.cond, p.cond, phi=w), lambda p, w: p.cond),),
        scales=(0.0, 1.0),
    ),
    rescaled("v", "ve", (0.05, 14.0)),
    rescaled("v", "flow", (0.05, 1.0)),
    rescaled("eps", "ve", (0.05, 14.0)),
    rescaled("eps", "flow", (0.05, 0.9)),
    rescaled("x0", "flow", (0.05, 1.0)),
    energy("plain", "sample", oracle.energy),
    energy("robust", "sample", oracle.middle_energy),
    Method(
        "fdg",
        lambda p, w: g.fdg(p.cond, p.uncond, scale=w),
        lambda s, w: oracle.fdg(s.cond, s.uncond, w, (1.0, 0.5)),
        at=((0.0, uncond),),
        reductions=(
            ("gains 1", lambda p, w: g.fdg(p.cond, p.uncond, scale=w, gains=(1.0, 1.0, 1.0)), plain),
            (
                "equal gains",
                lambda p, w: g.fdg(p.cond, p.uncond, scale=w, gains=(0.5, 0.5)),
                lambda p, w: plain(p, w * 0.5),
            ),
        ),
        pictures=True,
    ),
    Method(
        "fdg, 3 bands",
        lambda p, w: g.fdg(p.cond, p.uncond, scale=w, gains=(1.3, 0.9, 0.2)),
        lambda s, w: oracle.fdg(s.cond, s.uncond, w, (1.3, 0.9, 0.2)),
        at=((0.0, uncond),),
        pictures=True,
    ),
    Method(
        "fresca",
        lambda p, w: g.fresca(p.cond, p.uncond, scale=w, low=0.7, high=1.5, cutoff=0.45),
        lambda s, w: oracle.fresca(s.cond, s.uncond, w, 0.7, 1.5, 0.45),
        at=((0.0, uncond),),
        reductions=(
            ("1 and 1", lambda p, w: g.fresca(p.cond, p.uncond, scale=w, low=1.0, high=1.0), plain),
            (
                "low = high",
                lambda p, w: g.fresca(p.cond, p.uncond, scale=w, low=0.5, high=0.5),
                lambda p, w: plain(p, w * 0.5),
            ),
        ),
        pictures=True,
    ),
    skimming("skimmed", g.skimmed, oracle.skimmed),
    skimming("skimmed", g.skimmed, oracle.skimmed, noisy=False, full=True),
    skimming(
        "skimmed_exact",
        g.skimmed_exact,
        oracle.skimmed_exact,
        reductions=(
            ("skim = scale", lambda p, w: g.skimmed_exact(p.cond, p.uncond, scale=w, x=p.first, skim=15.0), plain),
        ),
    ),
    skimming("skimmed_exact", g.skimmed_exact, oracle.skimmed_exact, noisy=False, full=True),
    Method(
        "pmc",
        lambda p, w: g.pmc(p.cond, p.uncond, scale=w),
        lambda s, w: oracle.pmc(s.cond, s.uncond, w, 1.05, 0.0),
        at=((1.0, cond), (0.0, uncond)),
        reductions=(("floor 1", lambda p, w: g.pmc(p.cond, p.uncond, scale=w, floor=1.0), plain),),
        laws=(
            (
                "above w = 1 at most gamma times as long as cond",
                above_1(laws.at_most(lambda w: 1.05, cond, laws.length)),
            ),
        ),
    ),
    Method(
        "pmc, floor",
        lambda p, w: g.pmc(p.cond, p.uncond, scale=w, gamma=2.5, floor=0.2),
        lambda s, w: oracle.pmc(s.cond, s.uncond, w, 2.5, 0.2),
        at=((1.0, cond), (0.0, uncond)),
    ),
    momentum("flow", 0.6),
    momentum("ve", 1.5),
    history("flow", 0.8),
    history("flow", 0.95, eta=0.3),
    history("ve", 3.0, eta=0.0, bias_correction=True),
    sliding("first step", first=True),
    sliding("second step"),
    sliding("absolute", gain=0.4, relative=False),
    sliding("chatter-free", gain=0.5, chatter_free=True),
    sliding("absolute and chatter-free", relative=False, chatter_free=True),
    norm_limit("sample"),
    norm_limit("pixel"),
    Method(
        "tangential_amplify",
        lambda p, w: g.tangential_amplify(p.cond, x=p.first, eta=w),
        lambda s, w: oracle.tag(s.cond, s.first, w),
        at=((1.0, cond),),
        laws=(("what it adds is orthogonal to x", laws.across(first, cond_at_any)),),
        scales=(0.5, 2.0),
    ),
    Method(
        "epsilon_scaling",
        lambda p, w: g.epsilon_scaling(p.cond, x=p.first, scale=w),
        lambda s, w: oracle.scaled_noise(s.cond, s.first, 3.0, "ve", 1 / w),
        at=((1.0, cond),),
        scales=(0.5, 1.5),
    ),
    Method(
        "temporal_score_rescaling ve",
        lambda p, w: g.temporal_score_rescaling(p.cond, x=p.first, sigma=w, kind="ve", data_sigma=3.0),
        lambda s, w: oracle.tsr(s.cond, s.first, w, "ve", 0.95, 3.0),
        reductions=(("k 1", lambda p, w: tsr(p, w, "ve", 1.0), cond_at_any),),
        scales=(0.0, 14.0),
    ),
    Method(
        "temporal_score_rescaling flow",
        lambda p, w: g.temporal_score_rescaling(p.cond, x=p.first, sigma=w, kind="flow", k=2.0),
        lambda s, w: oracle.tsr(s.cond, s.first, w, "flow", 2.0, 1.0),
        at=((1.0, cond),),
        reductions=(("k 1", lambda p, w: tsr(p, w, "flow", 1.0), cond_at_any),),
        scales=(0.0, 1.0),
    ),
    Method(
        "temporal_score_rescaling, k per sample",
        lambda p, w: tsr(p, 2.0, "ve", w),
        lambda s, w: oracle.tsr(s.cond, s.first, 2.0, "ve", w, 1.0),
        at=((1.0, cond),),
        scales=(0.1, 10.0),
    ),
    contrastive("contrastive ve", g.contrastive, 0.2, 6.0, "ve"),
    contrastive("contrastive flow, per element", g.contrastive, 5.0, 0.6, "flow", per_element=True),
    contrastive("contrastive_terms ve, per element", g.contrastive_terms, 5.0, 6.0, "ve", per_element=True),
    contrastive("contrastive_terms flow", g.contrastive_terms, 0.2, 0.9, "flow"),
    Method(
        "dynamic_negative, first step",
        first_dynamic,
        lambda s, w: oracle.dynamic_negative(s.cond, s.first, w, 0.3),
        at=((0.0, cond),),
    ),
    dynamic_negative(g.dynamic_negative),
    dynamic_negative(g.dynamic_negative_terms),
    safe_latent("safe_latent ve", g.safe_latent, 2.0, "ve"),
    safe_latent("safe_latent flow", g.safe_latent, 0.7, "flow"),
    safe_latent("safe_latent, during the warm-up", g.safe_latent, 2.0, "ve", warm=False),
    safe_latent("safe_latent_terms ve", g.safe_latent_terms, 2.0, "ve"),
    safe_latent("safe_latent_terms flow", g.safe_latent_terms, 0.7, "flow"),
    Method(
        "add_term",
        lambda p, w: g.add_term(p.first, p.cond, p.uncond, scale=w),
        lambda s, w: oracle.add_term(s.first, s.cond, s.uncond, w, 0.0),
        at=((0.0, first),),
        reductions=(("weak = cond", lambda p, w: g.add_term(p.first, p.cond, p.cond, scale=w), lambda p, w: p.first),),
    ),
    Method(
        "add_term, rescaled",
        lambda p, w: g.add_term(p.first, p.cond, p.uncond, scale=w, rescale=0.7),
        lambda s, w: oracle.add_term(s.first, s.cond, s.uncond, w, 0.7),
    ),
    Method(
        "perturbed_attention",
        lambda p, w: g.perturbed_attention(p.first, p.second, strength=w),
        lambda s, w: (1 - w) * s.first + w * s.second,
        at=((0.0, first), (1.0, lambda p: p.second)),
        scales=(0.0, 1.0),
    ),
    Method(
        "shuffle_tokens",
        lambda p, w: tokens_of(g.shuffle_tokens, turned, p.first),
        lambda s, w: oracle.shuffle_tokens(s.first, s.first.shape[0]),
        reductions=(
            (
                "order = 0, 1, ...",
                lambda p, w: tokens_of(g.shuffle_tokens, torch.arange, p.first),
                lambda p, w: p.first,
            ),
        ),
    ),
    Method(
        "shuffle_added",
        lambda p, w: tokens_of(g.shuffle_added, turned, p.first, p.second),
        lambda s, w: oracle.shuffle_added(s.first, s.second, s.first.shape[0]),
        reductions=(
            (
                "order = 0, 1, ...",
                lambda p, w: tokens_of(g.shuffle_added, torch.arange, p.first, p.second),
                lambda p, w: p.second,
            ),
        ),
    ),
    nag("nag", tau=2.5, alpha=0.25, norm=1),
    nag("nag L2, at once", tau=1.2, alpha=1.0, norm=2),
    Method(
        "with_same_noise ve",
        lambda p, w: g.with_same_noise(p.first, p.cond, p.uncond, w, kind="ve"),
        lambda s, w: s.first + s.uncond - s.cond,
        scales=(0.5, 14.0),
    ),
    Method(
        "with_same_noise flow",
        lambda p, w: g.with_same_noise(p.first, p.cond, p.uncond, w, kind="flow"),
        # x = (1 - t) x0 + t eps
        lambda s, w: (1 - w) * s.uncond + w * oracle.eps(s.first, s.cond, w, "flow"),
        scales=(0.05, 1.0),
    ),
    Method(
        "distilled_pair, cond",
        lambda p, w: distilled_pair(p, w, w + 2.0)[0],
        lambda s, w: oracle.distilled_pair(s.uncond, s.cond, w, w + 2.0)[0],
        at=((1.0, uncond),),
    ),
    Method(
        "distilled_pair, uncond",
        lambda p, w: distilled_pair(p, 0.5, w)[1],
        lambda s, w: oracle.distilled_pair(s.uncond, s.cond, 0.5, w)[1],
        scales=(1.0, 15.0),
    ),
    Method(
        "cads",
        lambda p, w: g.cads(p.cond, p.first, gamma=0.5, scale=w),
        lambda s, w: oracle.cads(s.cond, s.first, 0.5, w, 1.0),
        reductions=(("gamma 1", lambda p, w: g.cads(p.cond, p.first, gamma=1.0, scale=w), lambda p, w: p.cond),),
        scales=(0.05, 1.0),
    ),
    Method(
        "cads, psi 0.7",
        lambda p, w: g.cads(p.cond, p.first, gamma=0.2, scale=w, psi=0.7),
        lambda s, w: oracle.cads(s.cond, s.first, 0.2, w, 0.7),
        scales=(0.05, 1.0),
    ),
    similarity("ve", "eps", 0.5, 14.0),
    similarity("flow", "eps", 0.05, 1.0),
    similarity("flow", "velocity", 0.05, 1.0),
    *(reuse("ve", frozen, 5.0, 0.05, 14.0) for frozen in ("velocity", "eps", "x0")),
    *(reuse("flow", frozen, 0.8, 0.05, 0.95) for frozen in ("velocity", "eps", "x0")),
    Method(
        "effective_scale",
        lambda p, w: g.effective_scale(p.first, p.cond, p.uncond),
        lambda s, w: oracle.effective_scale(s.first, s.cond, s.uncond),
        result="wide",
    ),
    Method(
        "abs_quantile",
        lambda p, w: g.abs_quantile(p.cond, 0.37),
        lambda s, w: oracle.np.quantile(oracle.np.abs(s.cond), 0.37),
        result="wide",
    ),
    conversion("eps_from_denoised", g.eps_from_denoised, "ve", oracle.eps),
    conversion("eps_from_denoised", g.eps_from_denoised, "flow", oracle.eps),
    conversion("v_from_denoised", g.v_from_denoised, "ve", oracle.v),
    conversion("v_from_denoised", g.v_from_denoised, "flow", oracle.v),
    conversion("score_from_denoised", g.score_from_denoised, "ve", oracle.score),
    conversion("score_from_denoised", g.score_from_denoised, "flow", oracle.score),
    # The inverses, by undoing them: x and D are the roles of `first` and `cond`.
    Method(
        "denoised_from_eps ve",
        lambda p, w: g.denoised_from_eps(p.first, p.cond, w, kind="ve"),
        lambda s, w: s.first - w * s.cond,
        scales=(0.5, 14.0),
    ),
    Method(
        "denoised_from_eps flow",
        lambda p, w: g.denoised_from_eps(p.first, p.cond, w, kind="flow"),
        lambda s, w: (s.first - w * s.cond) / (1 - w),
        scales=(0.05, 0.9),
    ),
    Method(
        "denoised_from_v ve",
        lambda p, w: g.denoised_from_v(p.first, p.cond, w, kind="ve"),
        # VP: x0 = a z - s v with z = a x.
        lambda s, w: s.first / (1 + w * w) - w / math.sqrt(1 + w * w) * s.cond,
        scales=(0.5, 14.0),
    ),
    Method(
        "denoised_from_v flow",
        lambda p, w: g.denoised_from_v(p.first, p.cond, w, kind="flow"),
        lambda s, w: s.first - w * s.cond,
        scales=(0.05, 1.0),
    ),
]


LEVELS = {"ve": (3.1, 2.0, 1.2), "flow": (0.9, 0.7, 0.45)}  # of the step before, of this one, of the next


def stepping(name, ours, theirs, reductions):
    """A row of a sampler's step: `first` is the noisy latent, and the number per sample is lambda."""
    return Method(name, ours, theirs, reductions=reductions, scales=(0.0, 1.0))


def cfgpp_step(kind):
    _, sigma, after = LEVELS[kind]

    def ours(p, w, sigma_next=after):
        return g.cfgpp_step(p.first, plain(p, w), p.uncond, sigma=sigma, sigma_next=sigma_next, kind=kind)

    return stepping(
        f"cfgpp_step {kind}",
        ours,
        lambda s, w: oracle.cfgpp_step(s.first, oracle.cfg(s.cond, s.uncond, w), s.uncond, sigma, after, kind),
        (("to 0", lambda p, w: ours(p, w, 0.0), plain),),
    )


def cfgpp_2m(kind, mixed):
    before, sigma, after = LEVELS[kind]

    def ours(p, w, sigma_before=before, sigma_next=after):
        step = {"sigma_before": sigma_before, "sigma": sigma, "sigma_next": sigma_next}
        return g.cfgpp_2m(p.first, plain(p, w), p.uncond, p.second, kind=kind, mixed=mixed, **step)

    def first_order(p, w):
        return g.cfgpp_step(p.first, plain(p, w), p.uncond, sigma=sigma, sigma_next=after, kind=kind)

    reductions = [
        ("to 0", lambda p, w: ours(p, w, sigma_next=0.0), plain),
        ("first step", lambda p, w: ours(p, w, sigma_before=sigma), first_order),
    ]
    if kind == "flow":
        reductions.append(("second step", lambda p, w: ours(p, w, sigma_before=1.0), first_order))
    return stepping(
        f"cfgpp_2m {kind}{', mixed' if mixed else ''}",
        ours,
        lambda s, w: oracle.cfgpp_2m(
            s.first, oracle.cfg(s.cond, s.uncond, w), s.uncond, s.second, LEVELS[kind], kind, mixed
        ),
        tuple(reductions),
    )


def cfgpp_2s_middle(kind, mixed):
    _, sigma, middle = LEVELS[kind]
    to = {"sigma": sigma, "kind": kind}

    def clean(p, w):
        return g.cfgpp_step(p.first, plain(p, w) if mixed else p.uncond, p.uncond, sigma_next=middle, **to)

    def ours(p, w):
        return g.cfgpp_2s_middle(p.first, plain(p, w), p.uncond, sigma_middle=middle, mixed=mixed, **to)

    return stepping(
        f"cfgpp_2s_middle {kind}{', mixed' if mixed else ''}",
        ours,
        lambda s, w: oracle.cfgpp_2s_middle(
            s.first, oracle.cfg(s.cond, s.uncond, w), s.uncond, sigma, middle, kind, mixed
        ),
        (("one step", ours, clean),),
    )


def cfgpp_2s_end(kind, mixed):
    """`second` is what was guided at the beginning."""
    _, sigma, after = LEVELS[kind]

    def ours(p, w, sigma_next=after):
        to = {"sigma": sigma, "sigma_next": sigma_next, "kind": kind, "mixed": mixed}
        return g.cfgpp_2s_end(p.first, p.second, plain(p, w), p.uncond, **to)

    return stepping(
        f"cfgpp_2s_end {kind}{', mixed' if mixed else ''}",
        ours,
        lambda s, w: oracle.cfgpp_2s_end(
            s.first, s.second, oracle.cfg(s.cond, s.uncond, w), s.uncond, sigma, after, kind, mixed
        ),
        (("to 0", lambda p, w: ours(p, w, 0.0), plain),),
    )


def renoise(kind):
    down, sigma = LEVELS[kind][2], LEVELS[kind][1]

    def ours(p, w, sigma_down=down):
        return g.renoise(plain(p, w), p.first, sigma_down=sigma_down, sigma_next=sigma, kind=kind)

    return stepping(
        f"renoise {kind}",
        ours,
        lambda s, w: oracle.renoise(oracle.cfg(s.cond, s.uncond, w), s.first, down, sigma, kind),
        (("from the level itself", lambda p, w: ours(p, w, sigma), plain),),
    )


def euler_step(p, w, sigma_next=1.2):
    return g.euler_step(p.first, plain(p, w), sigma=2.0, sigma_next=sigma_next)


def rectified(p, w):
    """`first` is the positive's prediction at the beginning of the step; the pair is that of the predictor."""
    return g.rectified_cfgpp(p.first, plain(p, w), p.cond, sigma=0.7, sigma_middle=0.5)


METHODS += [
    *(cfgpp_step(kind) for kind in LEVELS),
    *(
        row(kind, mixed)
        for row in (cfgpp_2m, cfgpp_2s_middle, cfgpp_2s_end)
        for kind in LEVELS
        for mixed in (False, True)
    ),
    *(renoise(kind) for kind in LEVELS),
    stepping(
        "euler_step",
        euler_step,
        lambda s, w: oracle.euler_step(s.first, oracle.cfg(s.cond, s.uncond, w), 2.0, 1.2),
        (
            ("to 0", lambda p, w: euler_step(p, w, 0.0), plain),
            ("nowhere", lambda p, w: euler_step(p, w, 2.0), lambda p, w: p.first),
        ),
    ),
    Method(
        "rectified_cfgpp",
        rectified,
        lambda s, w: oracle.rectified_cfgpp(s.first, s.cond, s.uncond, w - 1, 0.7, 0.5),
        at=((1.0, first),),
    ),
]
