"""Adaptive Projected Guidance (APG)."""

import numpy as np

import guidance as g

from .. import laws
from ..kinds import Defaults, Formula, Function, Node, Picture, Row, Run, Setting, Way
from ..pictures import HIGH, option
from ..predictions import at_seven, cond, cond_at_any, plain, remembering, wide
from ..workflows import azimuth, picture

NODE = "AzimuthAPG"
LINE = "guides without what only raises saturation"
TABLE = [
    Row(
        "Adaptive Projected Guidance",
        place="combine = D_c + (w − 1) (g − (1 − η) part of g along D_c), g = Δ with momentum, at most r long",
        paper="2410.02416",
        use="high weights without burnt colours",
        passes="2",
        node=NODE,
    ),
]

# ---- The formula, and once more literally


def literal(c, u, w, eta, r, momentum, before=None):
    """Algorithm 1: the update, and the momentum to hand on."""
    m = c - u
    if before is not None:
        m = m + momentum * before
    g = m
    if r > 0 and np.linalg.norm(m) > r:
        g = m * (r / np.linalg.norm(m))
    parallel = np.zeros_like(c) if not c.any() else np.vdot(g, c) / np.vdot(c, c) * c
    return c + (w - 1) * (g - parallel + eta * parallel), m


def with_momentum(p, w):
    state = remembering(wide(p.first - p.second))
    return g.apg(p.cond, p.uncond, scale=w, norm_threshold=4.0, momentum=-0.5, state=state)


ORTHOGONAL = ("what guidance adds is orthogonal to cond", laws.across(cond, cond_at_any))
FORMULAS = [
    Formula(
        "apg",
        lambda p, w: g.apg(p.cond, p.uncond, scale=w),
        lambda s, w: literal(s.cond, s.uncond, w, 0.0, 0.0, 0.0)[0],
        at=((1.0, cond),),
        reductions=(("eta 1", lambda p, w: g.apg(p.cond, p.uncond, scale=w, eta=1.0), plain),),
        laws=(ORTHOGONAL,),
    ),
    Formula(
        "apg, threshold",
        lambda p, w: g.apg(p.cond, p.uncond, scale=w, eta=0.3, norm_threshold=2.5),
        lambda s, w: literal(s.cond, s.uncond, w, 0.3, 2.5, 0.0)[0],
        at=((1.0, cond),),
    ),
    Formula(
        "apg, second step with momentum",
        with_momentum,
        lambda s, w: literal(s.cond, s.uncond, w, 0.0, 4.0, -0.5, s.first - s.second)[0],
        at=((1.0, cond),),
        laws=(ORTHOGONAL,),
    ),
]

DEFAULTS = [Defaults("apg", {"eta": 0.0, "norm_threshold": 0.0, "momentum": 0.0})]

# ---- The node


def custom(eta, norm_threshold, momentum):
    return {"preset": "custom", "eta": eta, "norm_threshold": norm_threshold, "momentum": momentum}


SETTINGS = [
    Setting("apg", NODE, {"preset": {"preset": "SDXL"}, "strength": 1.0}, lambda cfg: [{"strength": 0.0}]),
    Setting("apg_custom", NODE, {"preset": custom(0.2, 0.0, -0.75), "strength": 0.8}),
]

WORKFLOWS = [
    picture(
        "adaptive_projected_guidance",
        "Adaptive Projected Guidance (APG)",
        "The part of the update that only raises the saturation is left out, so cfg 12 keeps natural colours. The "
        "preset is the paper's for SDXL; other models have their own, or choose custom.",
        lambda load: azimuth("APG", load, preset="SDXL"),
        "a hot air balloon festival above a valley at dawn, colourful fabric, photograph",
        cfg=12.0,
    ),
]

# ---- The benchmark

apg = at_seven(g.apg, norm_threshold=15.0)
FUNCTIONS = [
    Function("apg", apg, limit=5.0),
    Function("apg / host's APG", apg, "host.apg", limit=1 / 10),
    Function("apg / diffusers' APG", apg, "diffusers.apg", limit=1.0),
]


def run(name, momentum):
    return Run(name, Way(Node(NODE, {"strength": 1.0, "preset": custom(0.0, 5.0, momentum)})))


RUNS = [run("APG", 0.0), run("APG with momentum", -0.5)]

# ---- The pictures


def shown(note, norm_threshold, momentum):
    chosen = option("preset", "custom", eta=0.0, norm_threshold=norm_threshold, momentum=momentum)
    return Picture("APG", f"cfg {HIGH:g}: {note}", HIGH, (Node(NODE, chosen),))


PICTURES = [shown("threshold 5, momentum -0.5", 5.0, -0.5), shown("no threshold, no momentum", 0.0, 0.0)]
