"""Beta-CFG."""

import numpy as np

import guidance as g

from .. import oracle
from ..kinds import Defaults, Formula, Function, Node, Picture, Row, Run, Setting, Way
from ..pictures import HIGH, option
from ..predictions import at_seven, plain, uncond
from ..workflows import azimuth, picture

NODE = "AzimuthBetaCFG"
LINE = "about the same push for every prompt"
TABLE = [
    Row(
        "beta-CFG",
        place="combine = D_b + max(floor, w Beta(p; a, b) (r/‖d‖)^γ) Δ, d in eps",
        paper="2502.10574",
        use="the same push at every step and for every prompt",
        passes="2",
        node=NODE,
    ),
]

# ---- The formula, and once more literally


def literal(c, u, x, w, gamma, sigma, kind, reference=None, floor=0.0):
    """In eps, and back."""
    a, s = oracle.signal_noise(sigma, kind)
    eps_c, eps_u = oracle.eps(x, c, sigma, kind), oracle.eps(x, u, sigma, kind)
    d = eps_c - eps_u
    length = np.linalg.norm(d)
    r = 1.0 if reference is None else reference * np.sqrt(d.size)
    weight = max(floor, w * (r / length) ** gamma if length > 0 else w)
    return (x - s * (eps_u + weight * d)) / a


def divided(name, **knobs):
    """The noisy x is the role of `first`."""

    def ours(p, w, **changes):
        return g.beta_cfg(p.cond, p.uncond, scale=w, **{**knobs, **changes})

    return Formula(
        name,
        ours,
        lambda s, w: literal(s.cond, s.uncond, s.first, w, **knobs),
        at=() if "floor" in knobs else ((0.0, uncond),),
        reductions=(
            ("gamma 0", lambda p, w: ours(p, w, gamma=0.0, floor=0.0), plain),
            ("gamma 0, a floor", lambda p, w: ours(p, w + 2.0, gamma=0.0, floor=2.0), lambda p, w: plain(p, w + 2.0)),
        ),
    )


FORMULAS = [
    divided("beta_cfg", gamma=1.0, sigma=2.0, kind="ve"),
    divided("beta_cfg, flow, reference, floor", gamma=0.4, sigma=0.7, kind="flow", reference=0.1, floor=1.0),
]

DEFAULTS = [Defaults("beta_cfg", {"floor": 0.0})]

# ---- The node

NORMALISED = {"form": {"form": "normalised (ours)", "reference": 0.1}}


def beta_cfg_is_off(cfg):
    return [{"strength": 0.0}, {"gamma": 0.0, "a": 1.0, "b": 1.0, "floor": min(cfg, 1.0)}]


SETTINGS = [
    Setting(
        "beta_cfg",
        NODE,
        {**NORMALISED, "gamma": 0.5, "a": 2.0, "b": 3.0, "floor": 1.0, "strength": 1.0},
        beta_cfg_is_off,
    ),
    Setting(
        "beta_cfg_paper",
        NODE,
        {"form": {"form": "paper"}, "gamma": 1.0, "a": 1.0, "b": 1.0, "floor": 0.0, "strength": 0.7},
    ),
]

WORKFLOWS = [
    picture(
        "beta_cfg",
        "Beta-CFG",
        "The update is divided by its own norm and the weight rises and falls over the run, so no step is pushed much "
        "harder than another. If the picture is soft, raise reference; if it is burnt, lower it.",
        lambda load: azimuth("BetaCFG", load, form="normalised (ours)"),
        "a blue tit on a mossy branch in the rain, shallow depth of field, wildlife photograph",
        cfg=7.0,
    ),
]

# ---- The benchmark

FUNCTIONS = [Function("beta_cfg", at_seven(g.beta_cfg, gamma=1.0, sigma=2.0, kind="ve"), limit=5.0)]


def run(name, a, b):
    return Run(name, Way(Node(NODE, {**NORMALISED, "gamma": 1.0, "a": a, "b": b, "floor": 1.0, "strength": 1.0})))


RUNS = [run("Beta-CFG", 2.0, 3.0), run("Beta-CFG without a density", 1.0, 1.0)]

# ---- The pictures

PICTURES = [
    Picture(
        "Beta-CFG",
        f"cfg {HIGH:g}: normalised, reference 0.02, gamma 1",
        HIGH,
        (Node(NODE, {**option("form", "normalised (ours)", reference=0.02), "gamma": 1.0}),),
    ),
]
