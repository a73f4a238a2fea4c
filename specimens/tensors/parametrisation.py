"""What a network puts out, for every parametrisation."""

import math

import guidance as g

from ..kinds import Defaults, Formula, Function

# ---- D from N, as each is defined in its source, and once more N from D


def denoised(x, n, s, kind, predicts, d):
    """eps and flow: x without its noise. v and EDM: c_skip x - c_out N. A flow in VE coordinates: at (1 - t) x."""
    if predicts == "x0":
        return n
    if predicts == "velocity":
        t = s if kind == "flow" else s / (1 + s)
        return (x if kind == "flow" else (1 - t) * x) - t * n
    if predicts == "eps":
        return (x - s * n) / (1 - s) if kind == "flow" else x - s * n
    if predicts == "v of raw x":
        alpha = 1 / math.sqrt(1 + s * s)
        return alpha * x - math.sqrt(1 - alpha**2) * n
    skip, out = d * d / (s * s + d * d), s * d / math.sqrt(s * s + d * d)
    return skip * x - out * n


def output(x, there, *row):
    """D is a straight line in N, so two of its points are enough."""
    at_0, at_1 = denoised(x, 0.0, *row), denoised(x, 1.0, *row)
    return (there - at_0) / (at_1 - at_0)


def formulas(kind, predicts, levels, d=1.0):
    of = g.Parametrisation(kind, predicts, d)
    name = f"{predicts} {kind} {d:g}"

    def same_as_seen(p, w, result):
        there = g.denoised_from_output(of.x_seen(p.first, w), p.cond, of.sigma_seen(w), of=of.seen)
        return (there - result) / (1.0 + result.abs())

    return (
        Formula(
            f"output_from_denoised {name}",
            lambda p, w: g.output_from_denoised(p.first, p.cond, w, of=of),
            lambda s, w: output(s.first, s.cond, w, kind, predicts, d),
            scales=levels,
        ),
        Formula(
            f"denoised_from_output {name}",
            lambda p, w: g.denoised_from_output(p.first, p.cond, w, of=of),
            lambda s, w: denoised(s.first, s.cond, w, kind, predicts, d),
            laws=(("the same D in the coordinates of rules", same_as_seen),),
            scales=levels,
        ),
    )


# x is `first`; D, or N, is `cond`; the number per sample is sigma.
FORMULAS = [
    *formulas("ve", "eps", (0.1, 14.0)),
    *formulas("ve", "v", (0.1, 14.0)),
    *formulas("ve", "v", (0.1, 14.0), d=0.5),
    *formulas("ve", "v of raw x", (0.1, 14.0)),
    *formulas("ve", "velocity", (0.1, 14.0)),
    *formulas("ve", "x0", (0.1, 14.0)),
    *formulas("flow", "eps", (0.1, 0.9)),
    *formulas("flow", "velocity", (0.1, 1.0)),
    *formulas("flow", "x0", (0.1, 1.0)),
]

DEFAULTS = [Defaults("Parametrisation", {"kind": "ve", "predicts": "eps", "data_sigma": 1.0})]

# ---- The benchmark

FLOW = g.Parametrisation("flow", "velocity")
FUNCTIONS = [
    Function("output_from_denoised", lambda p: g.output_from_denoised(p.x, p.cond, 0.5, of=FLOW)),
    Function("denoised_from_output", lambda p: g.denoised_from_output(p.x, p.cond, 0.5, of=FLOW)),
]
