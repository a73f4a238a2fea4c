"""The term that a weaker model's prediction makes, and what the specimens of such terms share."""

import functools

import guidance as g

from ..kinds import Defaults, Formula, Function
from ..predictions import first
from ..tensors.parametrisation import FLOW, denoised, output

# ---- The formula, and once more literally


def rescaled(result, cond, scale, rescale):
    """The authors' factor, for a rescale that comes with the term: whole from a scale of 1 on."""
    k = rescale * min(1.0, abs(scale))
    deviation = result.std()
    ratio = 1.0 if deviation == 0 else cond.std() / deviation
    return result * (k * ratio + 1 - k)


def literal(d, c, bad, scale, rescale):
    return rescaled(d + scale * (c - bad), c, scale, rescale)


def literal_output(d, c, bad, x, scale, rescale, sigma, row):
    """As the authors have it: the term is added, and the result rescaled, in what the network puts out."""
    n, n_c, n_bad = (output(x, t, sigma, *row) for t in (d, c, bad))
    return denoised(x, rescaled(n + scale * (n_c - n_bad), n_c, scale, rescale), sigma, *row)


def in_network(kind, predicts, sigma, d=1.0):
    """The noisy x is `second`."""
    of = g.Parametrisation(kind, predicts, d)

    def ours(p, w):
        given = {"x": p.second, "sigma": sigma, "of": of}
        return g.add_term(p.first, p.cond, p.uncond, scale=w, rescale=0.7, **given)

    row = kind, predicts, d
    return Formula(
        f"add_term, rescaled in {predicts} {kind}",
        ours,
        lambda s, w: literal_output(s.first, s.cond, s.uncond, s.second, w, 0.7, sigma, row),
        at=((0.0, first),),
        scales=(0.0, 4.0),
    )


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
        at=((0.0, first),),
        scales=(0.0, 4.0),
    ),
    in_network("ve", "eps", 3.0),
    in_network("ve", "v", 3.0, d=0.5),
    in_network("ve", "x0", 3.0),
    in_network("flow", "velocity", 0.7),
]

DEFAULTS = [Defaults("add_term", {"rescale": 0.0})]

# ---- The benchmark

FUNCTIONS = [
    Function("add_term", lambda p: g.add_term(p.first, p.cond, p.uncond, scale=3.0), limit=5.0),
    Function("add_term, rescaled", lambda p: g.add_term(p.first, p.cond, p.uncond, scale=3.0, rescale=0.7)),
    Function(
        "add_term, rescaled in velocity",
        lambda p: g.add_term(p.first, p.cond, p.uncond, scale=3.0, rescale=0.7, x=p.x, sigma=0.5, of=FLOW),
    ),
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
