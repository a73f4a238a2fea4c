"""Skimmed CFG, and an exact form of our own."""

import numpy as np

import guidance as g

from .. import oracle
from ..kinds import Defaults, Formula, Function, Node, Picture, Row, Run, Setting, Way
from ..pictures import HIGH, LOW
from ..predictions import cond, plain, uncond
from ..workflows import azimuth, picture

NODE = "AzimuthSkimmedCFG"
LINE = "a lower weight for the values driven furthest out"
TABLE = [
    Row(
        "Skimmed CFG",
        place="combine = D_b + w_i Δ, value by value; w_i is lower where D_b + w Δ lies far out",
        paper="none ([Skimmed_CFG](https://github.com/Extraltodeus/Skimmed_CFG))",
        use="high weights with less burning",
        passes="2",
        node=NODE,
    ),
]

# ---- The formulas, and once more literally


def skim(a, b, k, s, x):
    """A with the values that the original skims moved towards B, and where those are."""
    g = b + k * (a - b)
    mask = (np.sign(a - b) == np.sign(a)) & (np.sign(k * a - (k - 1) * b) == np.sign(a))
    if x is not None:
        mask &= np.sign(g) == np.sign(g - x)
    return np.where(mask, a - (k - s) / k * (a - b), a), mask


def literal(c, u, w, x, s, full):
    if w <= 1:
        return oracle.cfg(c, u, w)
    u, _ = skim(u, c, w, 0 if full else s, x)
    c, _ = skim(c, u, w - 1, s, x)
    return oracle.cfg(c, u, w)


def literal_exact(c, u, w, x, s, full):
    if w <= 1:
        return oracle.cfg(c, u, w)
    _, negative = skim(u, c, w, s, x)
    _, positive = skim(c, u, w - 1, s, x)
    reached = np.where(negative | positive, min(s, w), w)
    return oracle.cfg(c, u, np.where(negative & full, 1.0, reached))


def skimming(name, ours, theirs, noisy=True, full=False, reductions=()):
    """The noisy x is the role of `first`."""
    return Formula(
        name,
        lambda p, w: ours(p.cond, p.uncond, scale=w, x=p.first if noisy else None, skim=3.0, full_negative=full),
        lambda s, w: theirs(s.cond, s.uncond, w, s.first if noisy else None, 3.0, full),
        at=((1.0, cond), (0.0, uncond)),
        reductions=reductions,
    )


FORMULAS = [
    skimming("skimmed", g.skimmed, literal),
    skimming("skimmed, without x, full", g.skimmed, literal, noisy=False, full=True),
    skimming(
        "skimmed_exact",
        g.skimmed_exact,
        literal_exact,
        reductions=(
            ("skim = scale", lambda p, w: g.skimmed_exact(p.cond, p.uncond, scale=w, x=p.first, skim=15.0), plain),
        ),
    ),
    skimming("skimmed_exact, without x, full", g.skimmed_exact, literal_exact, noisy=False, full=True),
]

DEFAULTS = [Defaults(name, {"skim": 7.0, "full_negative": False}) for name in ("skimmed", "skimmed_exact")]

# ---- The node


def setting(skim_scale, mode, flip_filter=True, full_negative=False, strength=1.0):
    which = {"flip_filter": flip_filter, "full_negative": full_negative}
    return {"skim_scale": skim_scale, "mode": mode, **which, "strength": strength}


def skimmed_is_off(cfg):
    return [
        {"skim_scale": cfg},
        {"skim_scale": g.Linear(cfg, cfg + 3.0)},
        {"strength": 0.0},
        {"mode": "as published", "strength": 0.0},
    ]


SETTINGS = [
    Setting("skimmed", NODE, setting(2.0, "exact"), skimmed_is_off),
    Setting("skimmed_as_published", NODE, setting(2.0, "as published", False, True, 0.8)),
]

WORKFLOWS = [
    picture(
        "skimmed_cfg",
        "Skimmed CFG",
        "The values that cfg 12 would drive furthest out get the weight 4, the others keep 12. If the picture still "
        "looks burnt, lower skim_scale; as published does what the original node does.",
        lambda load: azimuth("SkimmedCFG", load, skim_scale=4.0),
        "a parade of paper dragons in a narrow old street, lanterns, confetti, photograph",
        cfg=12.0,
    ),
]

# ---- The benchmark

FUNCTIONS = [
    Function("skimmed", lambda p: g.skimmed(p.cond, p.uncond, scale=7.0, x=p.x, skim=4.0), limit=10.0),
    Function("skimmed_exact", lambda p: g.skimmed_exact(p.cond, p.uncond, scale=7.0, x=p.x, skim=4.0), limit=10.0),
]

RUNS = [
    Run("Skimmed CFG, exact", Way(Node(NODE, setting(4.0, "exact")))),
    Run("Skimmed CFG, as published", Way(Node(NODE, setting(4.0, "as published")))),
    Run("Skimmed CFG at the sampler's cfg", Way(Node(NODE, setting(7.0, "exact"))), off=True),
]

# ---- The pictures

PICTURES = [
    Picture(
        "Skimmed CFG",
        f"cfg {HIGH:g}: {mode}, skim_scale {LOW:g}",
        HIGH,
        (Node(NODE, {"skim_scale": LOW, "mode": mode}),),
    )
    for mode in ("exact", "as published")
]
