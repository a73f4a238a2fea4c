"""Condition annealing (CADS)."""

import numpy as np

import guidance as g

from ..kinds import Defaults, Formula, Function, Helper, Node, Picture, Row, Run, Setting, Way
from ..pictures import LOW
from ..predictions import cond_at_any
from ..workflows import azimuth, picture

NODE = "AzimuthCADS"
LINE = "noise on the prompts early in the run, for variety"
TABLE = [
    Row(
        "Condition annealing",
        place="prompt y becomes √γ y + s √(1 − γ) noise, with the mean and spread of y; γ(p) rises from 0 to 1",
        paper="2310.17347",
        use="more variety from seed to seed",
        passes="2; 1 at w = 1",
        node=NODE,
    ),
]

# ---- The formula, and once more literally


def literal(y, n, gamma, s, psi):
    """Algorithm 1 of the paper, one conditioning."""
    noisy = np.sqrt(gamma) * y + s * np.sqrt(1 - gamma) * n
    if np.std(y) == 0:
        return noisy
    rescaled = (noisy - np.mean(noisy)) / np.std(noisy) * np.std(y) + np.mean(y)
    return psi * rescaled + (1 - psi) * noisy


# The conditioning is the role of `cond`, the noise that of `first`; the number per sample is the noise's scale.
FORMULAS = [
    Formula(
        "cads",
        lambda p, w: g.cads(p.cond, p.first, gamma=0.5, scale=w),
        lambda s, w: literal(s.cond, s.first, 0.5, w, 1.0),
        reductions=(("gamma 1", lambda p, w: g.cads(p.cond, p.first, gamma=1.0, scale=w), cond_at_any),),
        scales=(0.05, 1.0),
    ),
    Formula(
        "cads, psi 0.7",
        lambda p, w: g.cads(p.cond, p.first, gamma=0.2, scale=w, psi=0.7),
        lambda s, w: literal(s.cond, s.first, 0.2, w, 0.7),
        scales=(0.05, 1.0),
    ),
]

DEFAULTS = [Defaults("cads", {"psi": 1.0}), Defaults("cads_gamma", {"tau1": 0.6, "tau2": 0.9})]
HELPERS = [Helper("cads_gamma")]

# ---- The node


def annealed(scale):
    return {"scale": scale, "tau1": 0.6, "tau2": 0.9, "psi": 1.0}


SETTINGS = [
    Setting(
        "cads",
        NODE,
        annealed(0.25),
        lambda cfg: [{"scale": 0.0}, {"tau1": 1.0, "tau2": 1.0}, {"scale": g.Steps((0.0,) * 6)}],
        by_index=True,
    ),
]

WORKFLOWS = [
    picture(
        "condition_annealing",
        "Condition Annealing (CADS)",
        "Noise on the prompts in the first steps lets the layout differ more from seed to seed. Change the seed to see "
        "it; a larger tau1 brings the prompt back.",
        lambda load: azimuth("CADS", load, scale=0.25),
        "a cabin by a lake in autumn, oil painting",
        cfg=8.0,
    ),
]

# ---- The benchmark

FUNCTIONS = [Function("cads", lambda p: g.cads(p.cond, p.x, gamma=0.5, scale=0.25))]

RUNS = [
    Run("CADS", Way(Node(NODE, annealed(0.25)))),
    Run("CADS at scale 0", Way(Node(NODE, annealed(0.0))), off=True),
]

# ---- The pictures

PICTURES = [
    Picture("CADS", f"cfg {LOW:g}: noise 0.25", LOW, (Node(NODE, {"scale": 0.25}),)),
    Picture("CADS", f"cfg {LOW:g}: noise 0.25 until time 0.3", LOW, (Node(NODE, {"tau1": 0.3}),)),
]
