"""Conversions between the denoised prediction, noise, velocity and score."""

import math

import guidance as g

from .. import oracle
from ..kinds import Formula, Function, Helper


def literal_score(x, d, sigma, kind):
    """The gradient of log N(x; a x0, s^2) at the posterior mean of x0."""
    a, s = oracle.signal_noise(sigma, kind)
    return -(x - a * d) / s**2


def conversion(name, convert, kind, formula):
    return Formula(
        f"{name} {kind}",
        lambda p, w: convert(p.first, p.cond, w, kind=kind),
        lambda s, w: formula(s.first, s.cond, w, kind),
        scales=(0.5, 14.0) if kind == "ve" else (0.5, 0.95),
    )


# x and D, or what stands for it, are the roles of `first` and `cond`; the number per sample is sigma.
FORMULAS = [
    conversion("eps_from_denoised", g.eps_from_denoised, "ve", oracle.eps),
    conversion("eps_from_denoised", g.eps_from_denoised, "flow", oracle.eps),
    conversion("v_from_denoised", g.v_from_denoised, "ve", oracle.v),
    conversion("v_from_denoised", g.v_from_denoised, "flow", oracle.v),
    conversion("score_from_denoised", g.score_from_denoised, "ve", literal_score),
    conversion("score_from_denoised", g.score_from_denoised, "flow", literal_score),
    # The inverses.
    Formula(
        "denoised_from_eps ve",
        lambda p, w: g.denoised_from_eps(p.first, p.cond, w, kind="ve"),
        lambda s, w: s.first - w * s.cond,
        scales=(0.5, 14.0),
    ),
    Formula(
        "denoised_from_eps flow",
        lambda p, w: g.denoised_from_eps(p.first, p.cond, w, kind="flow"),
        lambda s, w: (s.first - w * s.cond) / (1 - w),
        scales=(0.05, 0.9),
    ),
    Formula(
        "denoised_from_v ve",
        lambda p, w: g.denoised_from_v(p.first, p.cond, w, kind="ve"),
        # VP: x0 = a z - s v with z = a x.
        lambda s, w: s.first / (1 + w * w) - w / math.sqrt(1 + w * w) * s.cond,
        scales=(0.5, 14.0),
    ),
    Formula(
        "denoised_from_v flow",
        lambda p, w: g.denoised_from_v(p.first, p.cond, w, kind="flow"),
        lambda s, w: s.first - w * s.cond,
        scales=(0.05, 1.0),
    ),
]

HELPERS = [Helper("flow_sigma"), Helper("half_log_snr"), Helper("noise_level"), Helper("ve_sigma")]

# ---- The benchmark


def timed(name, convert):
    return Function(name, lambda p: convert(p.x, p.cond, 0.5, kind="flow"))


FUNCTIONS = [
    timed("eps_from_denoised", g.eps_from_denoised),
    timed("v_from_denoised", g.v_from_denoised),
    timed("score_from_denoised", g.score_from_denoised),
    timed("denoised_from_eps", g.denoised_from_eps),
    timed("denoised_from_v", g.denoised_from_v),
]
