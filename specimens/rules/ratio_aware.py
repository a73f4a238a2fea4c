"""Ratio-Aware Guidance: RAAG, and MAMBO-G."""

import numpy as np

import guidance as g

from .. import oracle
from ..kinds import Formula, Function, Node, Picture, Row, Run, Setting, Way
from ..pictures import HIGH
from ..predictions import wide
from ..workflows import SD3, azimuth, picture

NODE = "AzimuthRatioAware"
LINE = "less weight where the update is large"
TABLE = [
    Row(
        "RAAG, MAMBO-G",
        place="combine = D_b + w Δ, w = 1 + (w_max − 1) exp(−α ‖Δ‖/‖x − D_b‖)",
        paper="2508.03442",
        use="flow models in few steps",
        passes="2",
        node=NODE,
    ),
]

# ---- The formula, and once more literally


def literal(c, u, x, w_max, alpha):
    """With the velocities of a flow model at t = 1, which no ratio of them depends on."""
    v_c, v_u = oracle.v(x, c, 1.0, "flow"), oracle.v(x, u, 1.0, "flow")
    rho = np.linalg.norm(v_c - v_u) / np.linalg.norm(v_u)
    return 1 + (w_max - 1) * np.exp(-alpha * rho)


FORMULAS = [
    Formula(
        "ratio_aware_scale",
        lambda p, w: g.ratio_aware_scale(p.cond, p.uncond, x=p.first, scale=w, alpha=1.3),
        lambda s, w: literal(s.cond, s.uncond, s.first, w, 1.3),
        at=((1.0, lambda p: wide(p.cond).new_ones(len(p.cond))),),
        result="wide",
    ),
]

# ---- The node


def ratio_aware_is_off(cfg):
    return [
        {"strength": 0.0},
        {"preset": {"preset": "custom", "w_max": 3.0, "alpha": 0.0}, "weight": "sampler cfg"},
    ]


SETTINGS = [
    Setting("raag", NODE, {"preset": {"preset": "RAAG"}, "weight": "w_max", "strength": 1.0}, ratio_aware_is_off),
    Setting("mambo_g", NODE, {"preset": {"preset": "MAMBO-G"}, "weight": "sampler cfg", "strength": 0.8}),
]

WORKFLOWS = [
    picture(
        "ratio_aware_guidance",
        "Ratio-Aware Guidance (RAAG, MAMBO-G)",
        "Flow models are pushed too hard in their first steps. The weight starts low there and reaches 10 later, so "
        "that few steps suffice. It takes the place of the sampler's cfg, which only has to differ from 1.",
        lambda load: azimuth("RatioAware", load, preset="MAMBO-G"),
        "an old tram climbing a steep street by the sea, golden hour, photograph",
        **SD3,
        sampler_name="euler",
        cfg=4.5,
        steps=20,
    ),
]

# ---- The benchmark


def damped(p):
    return g.cfg(p.cond, p.uncond, scale=g.ratio_aware_scale(p.cond, p.uncond, x=p.x, scale=18.0, alpha=12.0))


FUNCTIONS = [
    Function("ratio_aware_scale and cfg", damped, limit=5.0),
    Function("ratio-aware / diffusers' magnitude-aware", damped, "diffusers.magnitude_aware", limit=1.0),
]

RAAG = Node(NODE, {"preset": {"preset": "RAAG"}, "weight": "w_max", "strength": 1.0})
RUNS = [Run("Ratio-Aware Guidance", Way(RAAG))]

# ---- The pictures

PICTURES = [
    Picture(
        "Ratio-Aware Guidance",
        "preset RAAG: w_max 18, alpha 12",
        HIGH,
        (Node(NODE, {"preset": "RAAG"}),),
    ),
    Picture(
        "Ratio-Aware Guidance",
        f"cfg {HIGH:g}: MAMBO-G's alpha 8",
        HIGH,
        (Node(NODE, {"preset": "MAMBO-G", "weight": "sampler cfg"}),),
    ),
]
