"""Energy-Preserving Guidance (EP-CFG)."""

import functools

import numpy as np

import guidance as g

from .. import laws
from ..kinds import Defaults, Formula, Function, Node, Picture, Row, Run, Setting, Way
from ..pictures import HIGH
from ..predictions import cond, cond_at_any, uncond
from ..workflows import azimuth, picture

NODE = "AzimuthEnergyPreserving"
LINE = "the positive's norm, at any weight"
TABLE = [
    Row(
        "Energy preservation",
        place="correct = x − (‖x − D_c‖/‖x − D‖) (x − D)",
        paper="2412.09966",
        use="high weights at the contrast of w = 1",
        passes="2",
        node=NODE,
    ),
]

# ---- The formula, and once more literally


def literal(g, c, x, energy):
    there, wanted = x - g, x - c
    return x - np.sqrt(energy(wanted) / energy(there)) * there if energy(there) > 0 else g


def plain_energy(values):
    return np.vdot(values, values)


def middle_energy(values):
    """Of the squares from the 45th to the 55th percentile, as ranks."""
    squares = np.sort(values.ravel() ** 2)
    last = len(squares) - 1
    return squares[int(np.floor(0.45 * last)) : int(np.ceil(0.55 * last)) + 1].sum()


KEPT = laws.as_long(lambda p: p.first - p.cond, lambda p, result: p.first - result)


# `uncond` is the guided prediction, and `first` the noisy latent.
def preserving(form, energy, obeyed=()):
    def ours(p, w, guided=uncond):
        return g.energy_preserving(guided(p), p.cond, x=p.first, robust=form == "robust", scope="sample")

    return Formula(
        f"energy_preserving {form} sample",
        ours,
        lambda s, w: literal(s.uncond, s.cond, s.first, energy),
        laws=obeyed,
        reductions=(("guided equal to cond", lambda p, w: ours(p, w, guided=cond), cond_at_any),),
    )


FORMULAS = [
    preserving("plain", plain_energy, (("x - D is as long as x - D_c", KEPT),)),
    preserving("robust", middle_energy),
]

DEFAULTS = [Defaults("energy_preserving", {"robust": False, "scope": "sample"})]

# ---- The node

SETTINGS = [
    Setting(
        "energy",
        NODE,
        {"mode": "plain", "scope": "sample", "strength": 1.0},
        lambda cfg: [{"strength": 0.0}, {"strength": 0.0, "mode": "robust"}],
    ),
    Setting("energy_robust", NODE, {"mode": "robust", "scope": "frame", "strength": 0.8}),
]

WORKFLOWS = [
    picture(
        "energy_preserving_guidance",
        "Energy-Preserving Guidance (EP-CFG)",
        "The network's guided prediction keeps the norm of the positive one, whatever the cfg. Try robust if small "
        "bright spots set the contrast of the whole picture.",
        lambda load: azimuth("EnergyPreserving", load),
        "a narrow street of blue houses with clay pots and bougainvillea, noon light, photograph",
        cfg=10.0,
    ),
]

# ---- The benchmark


def energy_preserving(p, **how):
    return g.energy_preserving(p.first, p.cond, x=p.x, **how)


FUNCTIONS = [
    Function("energy_preserving", energy_preserving, limit=5.0),
    Function("energy_preserving, frame", functools.partial(energy_preserving, scope="frame")),
    Function("energy_preserving, robust", functools.partial(energy_preserving, robust=True)),
]


def way(mode, strength):
    return Way(Node(NODE, {"mode": mode, "scope": "sample", "strength": strength}))


RUNS = [
    Run("EP-CFG", way("plain", 1.0)),
    Run("EP-CFG, robust", way("robust", 1.0)),
    Run("EP-CFG at strength 0", way("plain", 0.0), off=True),
]

# ---- The pictures

PICTURES = [
    Picture("EP-CFG", f"cfg {HIGH:g}: plain", HIGH, (Node(NODE),)),
    Picture("EP-CFG", f"cfg {HIGH:g}: robust", HIGH, (Node(NODE, {"mode": "robust"}),)),
]
