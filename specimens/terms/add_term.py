"""The term that a weaker model's prediction makes, and what the specimens of such terms share."""

import functools

import guidance as g

from ..kinds import Defaults, Formula, Function
from ..predictions import first

# ---- The formula, and once more literally


def literal(d, c, bad, scale, rescale):
    result = d + scale * (c - bad)
    deviation = result.std(ddof=1) if result.size > 1 else 0.0
    ratio = 1.0 if deviation == 0 else c.std(ddof=1) / deviation
    return result * (rescale * ratio + 1 - rescale)


# `first` is what the step goes on with, and `uncond` the weaker prediction.
FORMULAS = [
    Formula(
        "add_term",
        lambda p, w: g.add_term(p.first, p.cond, p.uncond, scale=w),
        lambda s, w: literal(s.first, s.cond, s.uncond, w, 0.0),
        at=((0.0, first),),
        reductions=(("weak = cond", lambda p, w: g.add_term(p.first, p.cond, p.cond, scale=w), lambda p, w: p.first),),
    ),
    Formula(
        "add_term, rescaled",
        lambda p, w: g.add_term(p.first, p.cond, p.uncond, scale=w, rescale=0.7),
        lambda s, w: literal(s.first, s.cond, s.uncond, w, 0.7),
    ),
]

DEFAULTS = [Defaults("add_term", {"rescale": 0.0})]

# ---- The benchmark

FUNCTIONS = [
    Function("add_term", lambda p: g.add_term(p.first, p.cond, p.uncond, scale=3.0), limit=5.0),
    Function("add_term, rescaled", lambda p: g.add_term(p.first, p.cond, p.uncond, scale=3.0, rescale=0.7)),
]

# ---- What the specimens of terms share

TERM = {"scale": 2.0, "start": 0.0, "end": 1.0, "rescale": 0.0}


def term_is_off(cfg):
    return [{"scale": 0.0}, {"start": 0.4, "end": 0.4}, {"scale": g.Steps((0.0,) * 6)}]


@functools.cache
def queries(p, every):
    """One head's, a token for every so many pixels of a row and a column; and the size of their map."""
    coarse = p.cond[..., ::every, ::every]
    return coarse.flatten(2).transpose(1, 2).unsqueeze(1).contiguous(), (1, *coarse.shape[2:])[-3:]
