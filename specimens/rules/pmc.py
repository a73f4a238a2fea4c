"""Norm-capped guidance (PMC-CFG)."""

import numpy as np

import guidance as g

from .. import laws
from ..kinds import Defaults, Formula, Function, Node, Picture, Row, Run, Setting, Way
from ..pictures import HIGH
from ..predictions import at_seven, cond, plain, uncond
from ..workflows import azimuth, picture

NODE = "AzimuthPMC"
LINE = "as much of the weight as keeps the norm"
TABLE = [
    Row(
        "Norm-capped guidance",
        place="combine = D_c + β Δ, the largest β ≤ w − 1 with ‖D‖ ≤ Γ ‖D_c‖",
        paper="2609.24287",
        use="little guidance at first, all of it later",
        passes="2",
        node=NODE,
    ),
]

# ---- The formula, and once more literally


def literal(c, u, w, gamma, floor):
    delta = c - u
    a, b, q = np.vdot(delta, delta), np.vdot(c, delta), np.vdot(c, c)
    if w <= 1 or a == 0:
        return c + (w - 1) * delta
    s = np.sqrt(b * b + (gamma**2 - 1) * a * q)
    cap = (gamma**2 - 1) * q / (b + s) if b > 0 else (s - b) / a
    return c + max(min(w - 1, cap), floor * (w - 1)) * delta


CAPPED = laws.above_1(laws.at_most(lambda w: 1.05, cond, laws.length))
FORMULAS = [
    Formula(
        "pmc",
        lambda p, w: g.pmc(p.cond, p.uncond, scale=w),
        lambda s, w: literal(s.cond, s.uncond, w, 1.05, 0.0),
        at=((1.0, cond), (0.0, uncond)),
        reductions=(("floor 1", lambda p, w: g.pmc(p.cond, p.uncond, scale=w, floor=1.0), plain),),
        laws=(("above w = 1 at most gamma times as long as cond", CAPPED),),
    ),
    Formula(
        "pmc, floor",
        lambda p, w: g.pmc(p.cond, p.uncond, scale=w, gamma=2.5, floor=0.2),
        lambda s, w: literal(s.cond, s.uncond, w, 2.5, 0.2),
        at=((1.0, cond), (0.0, uncond)),
    ),
]

DEFAULTS = [Defaults("pmc", {"gamma": 1.05, "floor": 0.0})]

# ---- The node

SETTINGS = [
    Setting(
        "pmc",
        NODE,
        {"gamma": 1.0, "floor": 0.0, "strength": 1.0},
        lambda cfg: [{"floor": 1.0}, {"strength": 0.0}],
    ),
]

WORKFLOWS = [
    picture(
        "norm_capped_guidance",
        "Norm-Capped Guidance (PMC-CFG)",
        "Each step uses as much of cfg 9 as keeps the prediction within 1.1 times its norm: little at first, all of it "
        "later. If the layout drifts from the prompt, raise floor.",
        lambda load: azimuth("PMC", load, gamma=1.1, floor=0.2),
        "a wooden rowing boat on a still alpine lake, reflections, early autumn, photograph",
        cfg=9.0,
    ),
]

# ---- The benchmark

FUNCTIONS = [Function("pmc", at_seven(g.pmc), limit=5.0)]


def run(name, floor, off=False):
    return Run(name, Way(Node(NODE, {"gamma": 1.05, "floor": floor, "strength": 1.0})), off=off)


RUNS = [run("PMC-CFG", 0.0), run("PMC-CFG with floor 1", 1.0, off=True)]

# ---- The pictures

PICTURES = [
    Picture("PMC-CFG", f"cfg {HIGH:g}: gamma 1.05", HIGH, (Node(NODE, {"gamma": 1.05}),)),
    Picture("PMC-CFG", f"cfg {HIGH:g}: gamma 1.15, floor 0.1", HIGH, (Node(NODE, {"gamma": 1.15, "floor": 0.1}),)),
]
