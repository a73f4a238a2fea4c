"""Epsilon scaling: a little less noise than the model predicts."""

import guidance as g

from .. import oracle
from ..kinds import Defaults, Formula, Function, Node, Picture, Row, Run, Setting, Way
from ..pictures import LOW
from ..predictions import cond
from ..workflows import azimuth, picture

NODE = "AzimuthEpsilonScaling"
LINE = "takes away a little less noise at every step"
TABLE = [
    Row(
        "Epsilon scaling",
        place="correct = x − (x − D)/λ",
        paper="2308.15321",
        use="fine detail, against the drift of a run",
        passes="2; 1 at w = 1",
        node=NODE,
    ),
]

# ---- The formula, and once more literally

FORMULAS = [
    Formula(
        "epsilon_scaling",
        lambda p, w: g.epsilon_scaling(p.cond, x=p.first, scale=w),
        lambda s, w: oracle.scaled_noise(s.cond, s.first, 3.0, "ve", 1 / w),
        at=((1.0, cond),),
        scales=(0.5, 1.5),
    ),
]

DEFAULTS = [Defaults("epsilon_scaling", {"scale": 1.005})]

# ---- The node

SETTINGS = [
    Setting("epsilon_scaling", NODE, {"scale": 1.05}, lambda cfg: [{"scale": 1.0}, {"scale": g.Linear(1.0, 1.0)}]),
]

WORKFLOWS = [
    picture(
        "epsilon_scaling",
        "Epsilon Scaling (Azimuth)",
        "A little less noise is taken away at every step, which brings out texture. Stay between 1.004 and 1.02: more "
        "shows as grain, and more steps want less of it.",
        lambda load: azimuth("EpsilonScaling", load, scale=1.01),
        "close-up of weathered oak bark with moss and lichen, overcast light, photograph",
        cfg=6.0,
    ),
]

# ---- The benchmark


def epsilon_scaling(p):
    return g.epsilon_scaling(p.first, x=p.x)


FUNCTIONS = [
    Function("epsilon_scaling", epsilon_scaling),
    Function("epsilon_scaling / host's Epsilon Scaling", epsilon_scaling, "host.epsilon_scaling", limit=1.0),
]

RUNS = [
    Run(
        "Epsilon Scaling",
        Way(Node(NODE, {"scale": 1.005})),
        Way(Node("comfy_extras.nodes_eps.EpsilonScaling", {"scaling_factor": 1.005})),
    ),
    Run("Epsilon Scaling at 1", Way(Node(NODE, {"scale": 1.0})), off=True),
]

# ---- The pictures

PICTURES = [Picture("Epsilon Scaling", f"cfg {LOW:g}: scale 1.02", LOW, (Node(NODE, {"scale": 1.02}),))]
