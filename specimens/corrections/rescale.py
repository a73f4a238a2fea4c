"""Rescaled guidance, in v, noise or x0."""

import numpy as np

import guidance as g

from .. import oracle
from ..kinds import Defaults, Formula, Function, Node, Picture, Row, Run, Setting, Way
from ..pictures import HIGH
from ..predictions import at_seven, uncond
from ..workflows import azimuth, picture

NODE = "AzimuthRescaleCFG"
LINE = "the spread of the positive, at any weight"
TABLE = [
    Row(
        "Rescaled guidance",
        place="correct = D with φ of the way to the standard deviation of D_c, measured in v, ε or x0",
        paper="2305.08891",
        use="any weight that burns; v models and flow models",
        passes="2",
        node=NODE,
    ),
]

# ---- The formula, and once more literally


def literal(g, c, phi):
    if g.std() == 0:
        return g
    return phi * (c.std() / g.std()) * g + (1 - phi) * g


def literal_in(space, g, c, x, sigma, kind, phi):
    """There, and back."""
    if space == "x0":
        return literal(g, c, phi)
    there = getattr(oracle, space)
    scaled = literal(there(x, g, sigma, kind), there(x, c, sigma, kind), phi)
    a, s = oracle.signal_noise(sigma, kind)
    if space == "eps":
        return (x - s * scaled) / a
    return x - s * scaled if kind == "flow" else x / (1 + s**2) - s / np.sqrt(1 + s**2) * scaled


# `uncond` is the guided prediction.
def rescaled(space, kind, levels):
    """The level as the number per sample."""

    def ours(p, w, phi=0.7):
        return g.rescale_denoised(p.uncond, p.cond, x=p.first, sigma=w, kind=kind, space=space, phi=phi)

    return Formula(
        f"rescale_denoised {space} {kind}",
        ours,
        lambda s, w: literal_in(space, s.uncond, s.cond, s.first, w, kind, 0.7),
        reductions=(("phi 0", lambda p, w: ours(p, w, phi=0.0), lambda p, w: p.uncond),),
        scales=levels,
    )


FORMULAS = [
    Formula(
        "rescale",
        lambda p, w: g.rescale(p.uncond, p.cond, phi=w),
        lambda s, w: literal(s.uncond, s.cond, w),
        at=((0.0, uncond),),
        reductions=(("guided equal to cond", lambda p, w: g.rescale(p.cond, p.cond, phi=w), lambda p, w: p.cond),),
        scales=(0.0, 1.0),
    ),
    rescaled("v", "ve", (0.05, 14.0)),
    rescaled("v", "flow", (0.05, 1.0)),
    rescaled("eps", "ve", (0.05, 14.0)),
    rescaled("eps", "flow", (0.05, 0.9)),
    rescaled("x0", "flow", (0.05, 1.0)),
]

DEFAULTS = [
    Defaults("rescale", {"phi": 0.7}),
    Defaults("rescale_denoised", {"space": "v", "phi": 0.7, "data_sigma": 1.0}),
]

# ---- The node

SETTINGS = [
    Setting(
        "rescale",
        NODE,
        {"phi": 0.7, "space": "v"},
        lambda cfg: [{"phi": 0.0}, {"phi": g.Linear(0.0, 0.0)}, {"phi": 0.0, "space": "x0"}],
    ),
    Setting("rescale_eps", NODE, {"phi": 1.0, "space": "eps"}),
]

WORKFLOWS = [
    picture(
        "rescale_cfg",
        "Rescale CFG (Azimuth)",
        "The guided prediction gets the spread of the positive one, so cfg 10 does not burn. Raise phi for a calmer "
        "picture, lower it if greys look flat.",
        lambda load: azimuth("RescaleCFG", load, phi=0.7),
        "an iceberg under the midnight sun, calm sea, wide angle photograph",
        cfg=10.0,
    ),
]

# ---- The benchmark

cfg = at_seven(g.cfg)


def in_v(p, guided):
    return g.rescale_denoised(guided, p.cond, x=p.x, sigma=p.each, kind="ve")


FUNCTIONS = [
    Function("rescale", lambda p: g.rescale(p.first, p.cond), limit=5.0),
    Function("rescale_denoised", lambda p: in_v(p, p.first), limit=5.0),
    Function("cfg and rescale_denoised / host's Rescale CFG", lambda p: in_v(p, cfg(p)), "host.rescale", limit=1 / 10),
    Function(
        "cfg and rescale / diffusers' rescale",
        lambda p: g.rescale(cfg(p), p.cond),
        "diffusers.rescale",
        limit=1.0,
    ),
]


def way(phi):
    return Way(Node(NODE, {"phi": phi, "space": "v"}))


RUNS = [Run("Rescale CFG", way(0.7)), Run("Rescale CFG at phi 0", way(0.0), off=True)]

# ---- The pictures

PICTURES = [
    Picture("Rescale CFG", f"cfg {HIGH:g}: phi {phi:g}", HIGH, (Node(NODE, {"phi": phi}),)) for phi in (0.7, 1.0)
]
