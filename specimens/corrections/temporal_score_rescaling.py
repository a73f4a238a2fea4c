"""Temporal Score Rescaling (TSR)."""

import guidance as g

from .. import oracle
from ..kinds import Defaults, Formula, Function, Node, Picture, Row, Run, Setting, Way
from ..pictures import LOW
from ..predictions import cond, cond_at_any
from ..workflows import azimuth, picture

NODE = "AzimuthTSR"
LINE = "samples at another temperature"
TABLE = [
    Row(
        "Temporal Score Rescaling",
        place="correct = r D + ((1 − r)/α) x, r from 1 to k as the noise falls",
        paper="2510.01184",
        use="more detail (k < 1) or smoother pictures (k > 1)",
        passes="2; 1 at w = 1",
        node=NODE,
    ),
]

# ---- The formula, and once more literally


def literal(d, x, sigma, kind, k, spread):
    a, s = oracle.signal_noise(sigma, kind)
    if a == 0:
        return d
    if s == 0:
        return x / a + k * (d - x / a)  # the limit of r is k
    snr = a**2 / s**2
    r = (snr * spread**2 + 1) / (snr * spread**2 / k + 1)
    return oracle.scaled_noise(d, x, sigma, kind, r)


def tsr(p, sigma, kind, k, data_sigma=1.0):
    return g.temporal_score_rescaling(p.cond, x=p.first, sigma=sigma, kind=kind, k=k, data_sigma=data_sigma)


FORMULAS = [
    Formula(
        "temporal_score_rescaling ve",
        lambda p, w: tsr(p, w, "ve", 0.95, data_sigma=3.0),
        lambda s, w: literal(s.cond, s.first, w, "ve", 0.95, 3.0),
        reductions=(("k 1", lambda p, w: tsr(p, w, "ve", 1.0), cond_at_any),),
        scales=(0.0, 14.0),
    ),
    Formula(
        "temporal_score_rescaling flow",
        lambda p, w: tsr(p, w, "flow", 2.0),
        lambda s, w: literal(s.cond, s.first, w, "flow", 2.0, 1.0),
        at=((1.0, cond),),
        reductions=(("k 1", lambda p, w: tsr(p, w, "flow", 1.0), cond_at_any),),
        scales=(0.0, 1.0),
    ),
    Formula(
        "temporal_score_rescaling, k per sample",
        lambda p, w: tsr(p, 2.0, "ve", w),
        lambda s, w: literal(s.cond, s.first, 2.0, "ve", w, 1.0),
        at=((1.0, cond),),
        scales=(0.1, 10.0),
    ),
]

DEFAULTS = [Defaults("temporal_score_rescaling", {"k": 0.95, "data_sigma": 1.0})]

# ---- The node

SETTINGS = [
    Setting(
        "tsr",
        NODE,
        {"k": 0.8, "data_sigma": 1.0},
        lambda cfg: [{"k": 1.0}, {"k": 1.0, "data_sigma": 3.0}, {"k": g.Linear(1.0, 1.0)}],
    ),
]

WORKFLOWS = [
    picture(
        "temporal_score_rescaling",
        "Temporal Score Rescaling (TSR)",
        "A k below 1 samples from a broader distribution than the model's and shows more detail, a k above 1 smooths. "
        "A larger data_sigma acts earlier in the run.",
        lambda load: azimuth("TSR", load, k=0.95, data_sigma=1.0),
        "an old town on a hillside above the sea, many roofs and windows, clear afternoon, photograph",
        cfg=6.0,
    ),
]

# ---- The benchmark

FUNCTIONS = [
    Function("temporal_score_rescaling", lambda p: g.temporal_score_rescaling(p.first, x=p.x, sigma=p.each, kind="ve")),
]

RUNS = [
    Run(
        "TSR",
        Way(Node(NODE, {"k": 0.95, "data_sigma": 1.0})),
        Way(Node("comfy_extras.nodes_eps.TemporalScoreRescaling", {"tsr_k": 0.95, "tsr_sigma": 1.0})),
    ),
    Run("TSR at k 1", Way(Node(NODE, {"k": 1.0, "data_sigma": 1.0})), off=True),
]

# ---- The pictures

PICTURES = [Picture("TSR", f"cfg {LOW:g}: k {k:g}", LOW, (Node(NODE, {"k": k}),)) for k in (0.9, 2.0)]
