"""Adaptive Guidance: the negative pass ends once it says the same as the positive one."""

import numpy as np

import guidance as g

from .. import oracle
from ..kinds import Defaults, Formula, Function, Node, Picture, Row, Run, Setting, Way
from ..pictures import LOW
from ..workflows import azimuth, picture

NODE = "AzimuthAdaptiveGuidance"
LINE = "ends the negative pass once it says nothing new"
TABLE = [
    Row(
        "Adaptive Guidance",
        place="w = 1 for the rest of the run, once cos(x − D_c, x − D_u) ≥ γ̄",
        paper="2312.12487",
        use="speed at the same picture, as far as each picture allows",
        passes="2, then 1",
        node=NODE,
    ),
]

# ---- The formula, and once more literally


def literal(c, u, x, sigma, kind, space):
    p, q = (oracle.eps(x, d, sigma, kind) if space == "eps" else x - d for d in (c, u))
    lengths = np.linalg.norm(p) * np.linalg.norm(q)
    return 0.0 if lengths == 0 else np.vdot(p, q) / lengths


def similarity(kind, space, low, high):
    """`first` is the noisy latent, and the number per sample is sigma."""
    return Formula(
        f"adaptive_similarity {space} {kind}",
        lambda p, w: g.adaptive_similarity(p.cond, p.uncond, x=p.first, sigma=w, kind=kind, space=space),
        lambda s, w: literal(s.cond, s.uncond, s.first, w, kind, space),
        scales=(low, high),
        result="wide",
    )


FORMULAS = [
    similarity("ve", "eps", 0.5, 14.0),
    similarity("flow", "eps", 0.05, 1.0),
    similarity("flow", "velocity", 0.05, 1.0),
]

DEFAULTS = [Defaults("adaptive_similarity", {"space": "eps"})]

# ---- The node

SETTINGS = [
    Setting(
        "adaptive",
        NODE,
        {"threshold": 0.0, "start": 0.0, "space": "eps"},
        lambda cfg: [{"threshold": 1.0}],
        lasting={"start": 0.4},  # at 0 the first step, after which it is done, is evaluated once alone
    ),
]

WORKFLOWS = [
    picture(
        "adaptive_guidance",
        "Adaptive Guidance",
        "The negative pass is left out once it says the same as the positive one, so the end of the run goes up "
        "to twice as fast. The log says how many passes were skipped; lower the threshold to skip more.",
        lambda load: azimuth("AdaptiveGuidance", load),
        "a narrow gauge steam train crossing a stone viaduct in autumn, aerial photograph",
        cfg=7.0,
        steps=30,
    ),
]

# ---- The benchmark

FUNCTIONS = [
    Function(
        "adaptive_similarity",
        lambda p: g.adaptive_similarity(p.cond, p.uncond, x=p.x, sigma=p.each / 10.0, kind="flow"),
        limit=5.0,
    ),
]


def way(threshold):
    return Way(Node(NODE, {"threshold": threshold, "start": 0.2, "space": "eps"}))


RUNS = [
    Run("Adaptive Guidance, 0.9999", way(0.9999)),
    Run("Adaptive Guidance at threshold 1", way(1.0), off=True),
]

# ---- The pictures

PICTURES = [
    Picture(
        "Adaptive Guidance",
        f"cfg {LOW:g}: threshold 0.991, start 0.4",
        LOW,
        (Node(NODE, {"threshold": 0.991, "start": 0.4}),),
    ),
]
