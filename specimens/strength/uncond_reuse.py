"""Uncond reuse: a negative prediction from the positive one and the difference of an earlier step."""

import numpy as np

import guidance as g

from .. import oracle
from ..kinds import Defaults, Formula, Function, Node, Picture, Row, Run, Setting, Way
from ..pictures import LOW
from ..workflows import azimuth, picture

NODE = "AzimuthUncondReuse"
LINE = "predicts the negative at every n-th step only"
TABLE = [
    Row(
        "Uncond reuse",
        place="D_u = D_c − (r(σ)/r(σ_last)) Δ_last at the steps between, r of what is held: eps, velocity or x0",
        paper="2410.19355",
        use="speed at the full weight, in a number of passes known beforehand",
        passes="2 at one step in n, else 1",
        node=NODE,
    ),
]

# ---- The formula, and once more literally


def literal(c, difference, sigma, sigma_last, kind, frozen):
    """D_u whose distance to D_c is, in the quantity that is held, what it was at sigma_last."""

    def quantity(d, sigma):
        return d if frozen == "x0" else (oracle.eps if frozen == "eps" else oracle.v)(0.0, d, sigma, kind)

    held = quantity(difference, sigma_last) - quantity(0.0, sigma_last)
    unit = quantity(1.0, sigma) - quantity(0.0, sigma)
    return c - held / unit


def edm(c, difference, sigma, sigma_last, d):
    """What EDM's network F puts out for D = c_skip x + c_out F is as far apart as it was at sigma_last."""

    def c_out(s):
        return s * d / np.sqrt(s * s + d * d)

    return c - c_out(sigma) * (difference / c_out(sigma_last))


def reuse(kind, frozen, sigma_last, low, high):
    """The number per sample is the sigma of the step; the difference of the earlier step is the role of `first`."""

    def ours(p, w, before=sigma_last):
        return g.uncond_reuse(p.cond, p.first, sigma=w, sigma_last=before, kind=kind, frozen=frozen)

    return Formula(
        f"uncond_reuse {frozen} {kind}",
        ours,
        lambda s, w: literal(s.cond, s.first, w, sigma_last, kind, frozen),
        reductions=(("at the same sigma", lambda p, w: ours(p, w, before=w), lambda p, w: p.cond - p.first),),
        scales=(low, high),
    )


FORMULAS = [
    *(reuse("ve", frozen, 5.0, 0.05, 14.0) for frozen in ("velocity", "eps", "x0")),
    *(reuse("flow", frozen, 0.8, 0.05, 0.95) for frozen in ("velocity", "eps", "x0")),
    Formula(
        "uncond_reuse velocity of EDM",
        lambda p, w: g.uncond_reuse(p.cond, p.first, sigma=w, sigma_last=5.0, kind="ve", data_sigma=0.5),
        lambda s, w: edm(s.cond, s.first, w, 5.0, 0.5),
        scales=(0.05, 14.0),
    ),
]

DEFAULTS = [Defaults("uncond_reuse", {"frozen": "velocity", "data_sigma": 1.0})]

# ---- The node

SETTINGS = [
    Setting(
        "uncond_reuse",
        NODE,
        {"every": 2, "frozen": "auto", "start": 0.0, "end": 1.0},
        lambda cfg: [{"every": 1}, {"start": 0.4, "end": 0.4}],
    ),
]

WORKFLOWS = [
    picture(
        "uncond_reuse",
        "Uncond Reuse",
        "From a fifth of the run on, only every other step predicts the negative; between them its last difference to "
        "the prompt is used again, at the full weight. every 3 is faster still; compare it with every 1, which is off.",
        lambda load: azimuth("UncondReuse", load, every=2),
        "a lighthouse on a basalt cliff at dusk, waves breaking, photograph",
        cfg=7.0,
        steps=30,
    ),
]

# ---- The benchmark

FUNCTIONS = [
    Function(
        "uncond_reuse",
        lambda p: g.uncond_reuse(p.cond, p.first, sigma=p.each / 20.0, sigma_last=p.each / 10.0, kind="flow"),
        limit=5.0,
    ),
]


def way(every):
    return Way(Node(NODE, {"every": every, "frozen": "auto", "start": 0.2, "end": 1.0}))


RUNS = [
    Run("Uncond Reuse, every 2", way(2)),
    Run("Uncond Reuse at every 1", way(1), off=True),
]

# ---- The pictures

PICTURES = [
    Picture("Uncond Reuse", f"cfg {LOW:g}: every 3rd step from 0.2 on", LOW, (Node(NODE, {"every": 3}),)),
]
