"""Contrastive CFG (CCFG)."""

import numpy as np

import guidance as g

from .. import oracle
from ..kinds import Defaults, Formula, Function, Node, Picture, Row, Run, Setting, Stand, Way
from ..pictures import LOW, away_from_pink
from ..workflows import azimuth, picture, text

NODE = "AzimuthContrastiveCFG"
LINE = "a negative that lets go once it is far off"
TABLE = [
    Row(
        "Contrastive CFG",
        place="T = (p − w) Δ − q (D_n − D_b), p from w to 2 w and q from w to 0 as predictions part",
        paper="2411.17077",
        use="a negative that lets go once it is far off; halve the weight",
        passes="+ 1",
        node=NODE,
    ),
]

# ---- The formula, and once more literally


def literal(c, u, n, w, tau, sigma, kind, mean):
    a, s = oracle.signal_noise(sigma, kind)

    def sigmoid(z):
        return np.exp(-np.logaddexp(0.0, -z))

    def square(d):
        """Of the difference of two noise predictions, from that of the denoised ones."""
        squares = (a / s * d) ** 2
        return squares.mean() if mean else squares.sum()

    toward = 2 * w * sigmoid(tau * square(c - u)) * (c - u)
    away = 2 * w * sigmoid(-tau * square(n - u)) * (n - u)
    return u + toward - away


def formula(name, f, tau, sigma, kind, per_element=False):
    """`first` is the further negative."""
    knobs = {"tau": tau, "sigma": sigma, "kind": kind, "per_element": per_element}

    def ours(p, w, **changes):
        return f(p.cond, p.uncond, p.first, scale=w, **{**knobs, **changes})

    def theirs(s, w):
        plain = oracle.cfg(s.cond, s.uncond, w) if f is g.contrastive_terms else 0.0
        return literal(s.cond, s.uncond, s.first, w, tau, sigma, kind, per_element) - plain

    return Formula(name, ours, theirs, reductions=(("tau 0", lambda p, w: ours(p, w, tau=0.0), COMPOSED[f]),))


COMPOSED = {
    g.contrastive: lambda p, w: g.compose(p.cond, p.uncond, [p.first], scale=w, weights=[w]),
    g.contrastive_terms: lambda p, w: g.negative_terms(p.uncond, [p.first], weights=[w]),
}
FORMULAS = [
    formula("contrastive ve", g.contrastive, 0.2, 6.0, "ve"),
    formula("contrastive flow, per element", g.contrastive, 5.0, 0.6, "flow", per_element=True),
    formula("contrastive_terms ve, per element", g.contrastive_terms, 5.0, 6.0, "ve", per_element=True),
    formula("contrastive_terms flow", g.contrastive_terms, 0.2, 0.9, "flow"),
]

DEFAULTS = [Defaults(name, {"tau": 0.2, "per_element": False}) for name in ("contrastive", "contrastive_terms")]

# ---- The node

ACTING = {"negative": Stand.NEGATIVE, "tau": 0.2, "norm": "sum (paper)", "strength": 1.0, "start": 0.0, "end": 1.0}
SETTINGS = [
    Setting(
        "contrastive",
        NODE,
        ACTING,
        lambda cfg: [{"strength": 0.0}, {"start": 0.4, "end": 0.4}, {"strength": g.Steps((0.0,) * 6)}],
    ),
]

WORKFLOWS = [
    picture(
        "contrastive_cfg",
        "Contrastive CFG (CCFG)",
        "The further negative repels while it is close and lets go once it is far off. The prompt counts up to twice, "
        "so the cfg is half the usual one, and the sampler's negative stays empty.",
        lambda load: azimuth(
            "ContrastiveCFG",
            load,
            negative=text(load.out(1), "cars, traffic", "Further negative"),
            tau=100.0,
            norm="mean (ours)",
        ),
        "a narrow street in an old town with balconies full of flowers, morning sun, photograph",
        "",
        cfg=3.5,
    ),
]

# ---- The benchmark


def timed(f):
    return lambda p: f(p.cond, p.uncond, p.first, scale=7.0, sigma=p.each, kind="ve")


FUNCTIONS = [
    Function("contrastive", timed(g.contrastive), limit=5.0),
    Function("contrastive_terms", timed(g.contrastive_terms)),
]
RUNS = [
    Run("Contrastive CFG", Way(Node(NODE, ACTING))),
    Run("Contrastive CFG at strength 0", Way(Node(NODE, {**ACTING, "strength": 0.0})), off=True),
]

# ---- The pictures

PICTURES = [
    Picture(
        "Contrastive CFG",
        f"cfg {LOW:g}: away from 'pink', tau 0.2, norm: sum",
        LOW,
        (away_from_pink(NODE, tau=0.2, norm="sum (paper)"),),
    ),
]
