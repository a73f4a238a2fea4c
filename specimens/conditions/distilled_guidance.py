"""Distilled guidance: the guidance embedding of Flux and its kin, step by step, or two passes at two values of it."""

import numpy as np

import guidance as g

from ..kinds import Formula, Function, Node, Picture, Row, Run, Setting, Way
from ..pictures import HIGH, option
from ..predictions import uncond
from ..workflows import FLUX, azimuth, picture, schedule

NODE = "AzimuthDistilledGuidance"
LINE = "the guidance embedding by step, or two passes"
TABLE = [
    Row(
        "Distilled guidance, scheduled",
        place="D_c = D(g), g = g(p) in the model's own embedding",
        paper="ours",
        use="Flux-dev and its kin at cfg 1",
        passes="1",
        node=f"{NODE}: schedule",
    ),
    Row(
        "Distilled guidance, two passes",
        place="Δ = (D(g2) − D(g1))/(g2 − g1), D_c = D(1), D_u = D(0) on that line",
        paper="ours, after 2210.03142",
        use="combine rules on Flux-dev without a negative",
        passes="2",
        node=f"{NODE}: two passes",
    ),
]

# ---- The formula, and once more literally


def literal(low, high, g1, g2):
    """The pair of which a guided model shows D(g) = g D_c + (1 - g) D_u at two values: two equations, solved."""
    equations = np.array([[g1, 1 - g1], [g2, 1 - g2]])
    pair = np.linalg.solve(equations, np.stack([low.ravel(), high.ravel()]))
    return pair[0].reshape(low.shape), pair[1].reshape(low.shape)


def pair(p, g1, g2):
    return g.distilled_pair(p.uncond, p.cond, low_guidance=g1, high_guidance=g2)


FORMULAS = [
    Formula(
        "distilled_pair, cond",
        lambda p, w: pair(p, w, w + 2.0)[0],
        lambda s, w: literal(s.uncond, s.cond, w, w + 2.0)[0],
        at=((1.0, uncond),),
    ),
    Formula(
        "distilled_pair, uncond",
        lambda p, w: pair(p, 0.5, w)[1],
        lambda s, w: literal(s.uncond, s.cond, 0.5, w)[1],
        scales=(1.0, 15.0),
    ),
]

# ---- The node


def guided(mode, guidance):
    values = {"mode": mode, "guidance": guidance, "start": 0.0, "end": 1.0, "low": 1.5, "high": 3.5}
    return {**values, "passes": "all"}


FALLING = g.Linear(5.0, 2.0)
SETTINGS = [
    Setting(
        "distilled",
        NODE,
        guided("schedule", FALLING),
        lambda cfg: [{"guidance": 3.5}, {"guidance": g.Linear(3.5, 3.5)}, {"start": 0.4, "end": 0.4}],
        elsewhere="Flux dev",
        beside="Flux dev, cfg 5",
    ),
    Setting(
        "distilled_pair",
        NODE,
        guided("two passes", 4.0),
        lambda cfg: [{"start": 0.4, "end": 0.4}],
        elsewhere="Flux dev",
    ),
]

WORKFLOWS = [
    picture(
        "flow_flux_distilled_guidance",
        "Distilled Guidance on Flux-dev",
        "Two passes at embedded guidance 1.5 and 3.5 stand in for a positive and a negative one, so Angle Domain "
        "Guidance acts on Flux-dev at cfg 1. They are made in the first 60 % of the run; mode schedule costs no pass "
        "at all.",
        lambda load: azimuth(
            "AngleDomain", azimuth("DistilledGuidance", load, mode="two passes", guidance=5.0, start=0.0, end=0.6)
        ),
        "an old sailor mending a net on a wooden pier, overcast morning, documentary photograph",
        "",
        **FLUX,
        sampler_name="euler",
        cfg=1.0,
        steps=20,
    ),
]

# ---- The benchmark

FUNCTIONS = [
    Function(
        "distilled_pair",
        lambda p: g.distilled_pair(p.uncond, p.cond, low_guidance=1.5, high_guidance=3.5)[0],
        limit=5.0,
    ),
]

RUNS = [
    Run("Distilled Guidance, schedule", Way(Node(NODE, guided("schedule", FALLING))), on="distilled"),
    Run("Distilled Guidance, two passes", Way(Node(NODE, guided("two passes", 7.0)), cfg=1.0), on="distilled"),
]

# ---- The pictures


def distilled(note, *chain, label="Distilled Guidance"):
    """On the distilled model, which has no negative pass."""
    return Picture(label, note, 1.0, chain, ("flow_distilled",))


TWO_PASSES = {"mode": "two passes", "guidance": HIGH}
PROJECTED = Node("AzimuthAPG", option("preset", "custom", eta=0.0, norm_threshold=0.0, momentum=0.0))
PICTURES = [
    distilled("cfg 1: the embedding at 3.5", label="No guidance node"),
    distilled("cfg 1: the embedding at 8", Node(NODE, {"guidance": 8.0})),
    distilled(
        "cfg 1: the embedding from 1 to 6",
        Node(NODE, {"guidance": schedule("linear", first=1.0, last=6.0)}),
    ),
    distilled(f"two passes, guidance {HIGH:g}", Node(NODE, TWO_PASSES)),
    distilled(f"two passes, guidance {HIGH:g}, with APG", PROJECTED, Node(NODE, TWO_PASSES)),
]
