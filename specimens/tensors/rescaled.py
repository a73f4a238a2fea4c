"""The spread of another prediction, measured in what a network puts out."""

import guidance as g

from ..kinds import Defaults, Formula, Function
from .parametrisation import FLOW, denoised, output


def literal_output(g, c, x, sigma, row, phi):
    """What the network puts out for g and c, by its definition, and back."""
    n_g, n_c = output(x, g, sigma, *row), output(x, c, sigma, *row)
    scaled = n_g if n_g.std() == 0 else phi * (n_c.std() / n_g.std()) * n_g + (1 - phi) * n_g
    return denoised(x, scaled, sigma, *row)


def of_network(kind, predicts, levels, d=1.0):
    of = g.Parametrisation(kind, predicts, d)
    return Formula(
        f"rescale_output {predicts} {kind} {d:g}",
        lambda p, w: g.rescale_output(p.uncond, p.cond, x=p.first, sigma=w, of=of),
        lambda s, w: literal_output(s.uncond, s.cond, s.first, w, (kind, predicts, d), 0.7),
        scales=levels,
    )


# `uncond` is the guided prediction, x is `first`.
FORMULAS = [
    of_network("ve", "eps", (0.05, 14.0)),
    of_network("ve", "v", (0.05, 14.0), d=0.5),
    of_network("ve", "v of raw x", (0.05, 14.0)),
    of_network("ve", "velocity", (0.05, 14.0)),
    of_network("ve", "x0", (0.05, 14.0)),
    of_network("flow", "velocity", (0.05, 1.0)),
]

DEFAULTS = [Defaults("rescale_output", {"phi": 0.7})]

# ---- The benchmark

FUNCTIONS = [
    Function("rescale_output", lambda p: g.rescale_output(p.first, p.cond, x=p.x, sigma=0.5, of=FLOW)),
]
