"""The effective scale: the scale of plain CFG that would push as far as a result does."""

import numpy as np

import guidance as g

from ..kinds import Formula, Function


def literal(d, c, u):
    delta = c - u
    square = np.vdot(delta, delta)
    return 1.0 if square == 0 else np.vdot(d - u, delta) / square


FORMULAS = [
    Formula(
        "effective_scale",
        lambda p, w: g.effective_scale(p.first, p.cond, p.uncond),
        lambda s, w: literal(s.first, s.cond, s.uncond),
        result="wide",
    ),
]

FUNCTIONS = [Function("effective_scale", lambda p: g.effective_scale(p.first, p.cond, p.uncond))]
