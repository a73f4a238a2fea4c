"""The one list of methods. A row is all that the property tests need to know about a method."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import guidance_oracle as oracle
import torch
from torch import Tensor

import guidance as g


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
    bit for any w. scales: the range of w. result: "latent" (dtype and shape of cond) or "float32".
    exact: relative error to expect in float64.
    """

    name: str
    call: Callable
    oracle: Callable
    at: tuple = ()
    reductions: tuple = ()
    scales: tuple[float, float] = (0.0, 15.0)
    result: str = "latent"
    exact: float = 1e-11


WEIGHTS = (0.7, -0.4)
LIMIT = math.pi / 3


def cond(p):
    return p.cond


def uncond(p):
    return p.uncond


def plain(p, w):
    return g.cfg(p.cond, p.uncond, scale=w)


def zeros(p, w):
    return torch.zeros_like(p.cond)


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


def conversion(name, convert, kind, formula):
    return Method(
        f"{name} {kind}",
        lambda p, w: convert(p.first, p.cond, w, kind=kind),
        lambda s, w: formula(s.first, s.cond, w, kind),
        scales=(0.5, 14.0) if kind == "ve" else (0.5, 0.95),
    )


def within_one(t):
    return t.clamp(-1, 1)


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
    ),
    Method(
        "perp_terms",
        weighted(perp_terms),
        lambda s, w: oracle.perp_neg(s.cond, s.uncond, s.negatives, 1.0, (w, WEIGHTS[1])) - s.cond,
        reductions=gone(perp_terms, zeros),
    ),
    Method(
        "partial_negative",
        lambda p, w: g.partial_negative(p.uncond, p.first, strength=w),
        lambda s, w: oracle.partial_negative(s.uncond, s.first, w),
        at=((1.0, lambda p: p.first), (0.0, uncond)),
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
    ),
    Method(
        "apg",
        lambda p, w: g.apg(p.cond, p.uncond, scale=w),
        lambda s, w: oracle.apg(s.cond, s.uncond, w, 0.0, 0.0, 0.0)[0],
        at=((1.0, cond),),
        reductions=(("eta 1", lambda p, w: g.apg(p.cond, p.uncond, scale=w, eta=1.0), plain),),
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
    ),
    Method(
        "effective_scale",
        lambda p, w: g.effective_scale(p.first, p.cond, p.uncond),
        lambda s, w: oracle.effective_scale(s.first, s.cond, s.uncond),
        result="float32",
        exact=1e-6,
    ),
    Method(
        "abs_quantile",
        lambda p, w: g.abs_quantile(p.cond, 0.37),
        lambda s, w: oracle.np.quantile(oracle.np.abs(s.cond), 0.37),
        result="float32",
        exact=1e-6,
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
