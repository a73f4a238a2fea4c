"""Tangential Amplifying Guidance (TAG)."""

import numpy as np

import guidance as g

from .. import laws
from ..kinds import Formula, Function, Node, Picture, Row, Run, Setting, Way
from ..pictures import LOW
from ..predictions import cond, cond_at_any, first
from ..workflows import azimuth, picture

NODE = "AzimuthTAG"
LINE = "amplifies what changes the content"
TABLE = [
    Row(
        "Tangential amplifying",
        place="correct = D + (η − 1)(D without its part along x), x the noisy latent",
        paper="2510.04533",
        use="fewer malformed things, at any weight and on distilled models",
        passes="2; 1 at w = 1",
        node=NODE,
    ),
]

# ---- The formula, and once more literally


def literal(d, x, eta):
    """The prediction of which the Euler step from sigma 2 to 1 is the amplified one."""
    derivative = (x - d) / 2.0
    step = amplified((1.0 - 2.0) * derivative, x, eta)
    return x + 2.0 * step


def amplified(step, x, eta):
    """A step whose part orthogonal to x is eta times as long."""
    square = np.vdot(x, x)
    radial = np.zeros_like(x) if square == 0 else np.vdot(step, x) / square * x
    return radial + eta * (step - radial)


FORMULAS = [
    Formula(
        "tangential_amplify",
        lambda p, w: g.tangential_amplify(p.cond, x=p.first, eta=w),
        lambda s, w: literal(s.cond, s.first, w),
        at=((1.0, cond),),
        laws=(("what it adds is orthogonal to x", laws.across(first, cond_at_any)),),
        scales=(0.5, 2.0),
    ),
]

# ---- The node


def inputs(eta, start=0.0, end=1.0):
    return {"eta": eta, "start": start, "end": end}


SETTINGS = [
    Setting(
        "tangential",
        NODE,
        inputs(1.3),
        lambda cfg: [{"eta": 1.0}, {"eta": g.Linear(1.0, 1.0)}, {"start": 0.4, "end": 0.4}],
    ),
]

WORKFLOWS = [
    picture(
        "tangential_amplifying_guidance",
        "Tangential Amplifying Guidance (TAG)",
        "Every step keeps the part that removes noise and takes the rest 1.2 times as far, the paper's number for "
        "SDXL without a prompt. It also works at cfg 1 and on distilled models; start at 1.15 for SD1.5, 1.05 for SD3.",
        lambda load: azimuth("TAG", load, eta=1.2),
        "a violin maker at her workbench, hands and tools in focus, warm lamp, photograph",
        cfg=6.0,
        sampler_name="euler",
    ),
]

# ---- The benchmark

FUNCTIONS = [
    Function("tangential_amplify", lambda p: g.tangential_amplify(p.first, x=p.x, eta=1.15), limit=5.0),
]

RUNS = [
    Run("TAG", Way(Node(NODE, inputs(1.15)))),
    Run("TAG in a window", Way(Node(NODE, inputs(1.15, 0.2, 0.8)))),
    Run("TAG at eta 1", Way(Node(NODE, inputs(1.0))), off=True),
]

# ---- The pictures

PICTURES = [
    Picture("TAG", f"cfg {LOW:g}: eta 1.15", LOW, (Node(NODE, {"eta": 1.15}),)),
    Picture("TAG", "cfg 1: eta 1.3", 1.0, (Node(NODE, {"eta": 1.3}),)),
]
