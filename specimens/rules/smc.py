"""Sliding Mode Guidance (SMC-CFG)."""

import functools

import numpy as np

import guidance as g

from ..kinds import Defaults, Formula, Function, Node, Picture, Row, Run, Setting, Way
from ..pictures import HIGH
from ..predictions import cond, plain, remembering, wide
from ..workflows import SD3, azimuth, picture

NODE = "AzimuthSMC"
LINE = "holds back what was pushed hard the step before"
TABLE = [
    Row(
        "Sliding Mode Guidance",
        place="combine = D_b + w σ P, P = E − K sign(E + (λ − 1) P of the step before), E = Δ/σ",
        paper="2603.03281",
        use="semantic alignment over a range of weights",
        passes="2",
        node=NODE,
    ),
]

# ---- The formula, and once more literally


def literal(c, u, w, sigma, lam, gain, relative, chatter_free, p=None):
    """The guided prediction, and the corrected error to hand on."""
    if w == 1:
        return c, p
    e = (c - u) / sigma
    k = gain * np.abs(e).mean() if relative else gain
    if chatter_free:
        hat = np.sign(e) * np.maximum(np.abs(e) - k, 0)
    else:
        hat = e - k * np.sign(e + (lam - 1) * (e if p is None else p))
    return u + w * sigma * hat, hat


def second_step(p, w, **knobs):
    return g.smc(p.cond, p.uncond, scale=w, sigma=0.5, state=remembering(wide(p.second)), **knobs)


def sliding(name, first=False, lam=5.0, gain=0.2, relative=True, chatter_free=False):
    knobs = {"lam": lam, "gain": gain, "relative": relative, "chatter_free": chatter_free}

    def ours(p, w):
        return g.smc(p.cond, p.uncond, scale=w, sigma=0.5, **knobs) if first else second_step(p, w, **knobs)

    return Formula(
        f"smc, {name}",
        ours,
        lambda s, w: literal(s.cond, s.uncond, w, 0.5, *knobs.values(), None if first else s.second)[0],
        at=((1.0, cond),),
        reductions=(("gain 0", lambda p, w: second_step(p, w, **{**knobs, "gain": 0.0}), plain),),
    )


FORMULAS = [
    sliding("first step", first=True),
    sliding("second step"),
    sliding("lambda 0, first step", first=True, lam=0.0),
    sliding("lambda 0.05", lam=0.05, gain=0.3),
    sliding("absolute", gain=0.4, relative=False),
    sliding("chatter-free", gain=0.5, chatter_free=True),
    sliding("absolute and chatter-free", relative=False, chatter_free=True),
]

DEFAULTS = [Defaults("smc", {"lam": 5.0, "gain": 0.2, "relative": True, "chatter_free": False})]

# ---- The node

SLIDING = {"gain": 0.2, "lam": 5.0, "gain_unit": "relative", "chatter_free": False, "strength": 1.0}


def smc_is_off(cfg):
    return [{"gain": 0.0}, {"strength": 0.0}, {"gain": g.Steps((0.0,) * 6)}]


SETTINGS = [Setting("smc", NODE, SLIDING, smc_is_off)]

WORKFLOWS = [
    picture(
        "sliding_mode_guidance",
        "Sliding Mode Guidance (SMC-CFG)",
        "The difference between the two predictions is pushed towards zero from step to step, which holds a high cfg "
        "back. On flow models the paper's absolute gain can be chosen; if you see grain, switch on chatter_free.",
        lambda load: azimuth("SMC", load, gain=0.2, gain_unit="absolute, flow only"),
        "a red tram climbing a steep street between tiled houses, morning haze, photograph",
        **SD3,
        sampler_name="euler",
        cfg=7.5,
        steps=28,
    ),
]

# ---- The benchmark


def smc(p, **knobs):
    return g.smc(p.cond, p.uncond, scale=7.0, sigma=p.half, state=remembering(p.second), **knobs)


FUNCTIONS = [
    Function("smc", smc),
    Function("smc, chatter-free", functools.partial(smc, chatter_free=True)),
]

RUNS = [
    Run("SMC-CFG", Way(Node(NODE, SLIDING))),
    Run("SMC-CFG, chatter-free", Way(Node(NODE, {**SLIDING, "chatter_free": True}))),
    Run("SMC-CFG at gain 0", Way(Node(NODE, {**SLIDING, "gain": 0.0})), off=True),
]

# ---- The pictures

PICTURES = [
    Picture("Sliding Mode Guidance", f"cfg {HIGH:g}: relative gain 0.2", HIGH, (Node(NODE),)),
    Picture(
        "Sliding Mode Guidance",
        f"cfg {HIGH:g}: relative gain 0.2, chatter-free",
        HIGH,
        (Node(NODE, {"chatter_free": True}),),
    ),
]
