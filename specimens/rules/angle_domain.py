"""Angle Domain Guidance (ADG), and an exact rotation of our own."""

import math

import numpy as np

import guidance as g

from .. import laws, oracle
from ..kinds import Defaults, Formula, Function, Helper, Node, Picture, Row, Run, Setting, Way
from ..pictures import HIGH
from ..predictions import at_seven, cond, cond_at_any, uncond
from ..workflows import azimuth, picture

NODE = "AzimuthAngleDomain"
LINE = "turns the prediction instead of stretching it"
TABLE = [
    Row(
        "Angle Domain Guidance",
        place="combine = cos a · D_c + (sin a/sin θ) e, a = min((w − 1) θ, limit), e = D_c without its part along D_b",
        paper="2506.11039",
        use="high weights without burnt colours",
        passes="2",
        node=f"{NODE}: paper",
    ),
    Row(
        "Exact rotation",
        place="combine = cos a · D_c + sin a · q, q orthogonal to D_c, as long as it, away from D_b",
        paper="ours",
        use="the same, with the norm of D_c kept",
        passes="2",
        node=f"{NODE}: exact rotation",
    ),
]

# ---- The formulas, and once more literally

LIMIT = math.pi / 3


def angle(a, b):
    """Kahan's formula on unit vectors, exact at any angle."""
    a, b = a / np.linalg.norm(a), b / np.linalg.norm(b)
    return 2 * np.arctan2(np.linalg.norm(a - b), np.linalg.norm(a + b))


def literal(c, u, w, limit):
    if w <= 1:
        return oracle.cfg(c, u, w)
    if not c.any() or not u.any():
        return c
    theta = angle(c, u)
    if np.pi - theta < 2e-3:
        return c
    a = min((w - 1) * theta, limit)
    e = c - np.vdot(c, u) / np.vdot(u, u) * u
    k = np.sin(a) / np.sin(theta) if np.sin(theta) > 1e-3 else w - 1
    return np.cos(a) * c + k * e


def literal_rotation(c, u, w, limit):
    """Polar coordinates in the plane of u and c, u at angle 0."""
    if w <= 1:
        return oracle.cfg(c, u, w)
    if not c.any() or not u.any():
        return c
    theta = angle(c, u)
    if theta < 1e-9 or np.pi - theta < 2e-3:
        return c
    along = u / np.linalg.norm(u)
    across = c - np.vdot(c, along) * along
    across = across / np.linalg.norm(across)
    turned = theta + min((w - 1) * theta, limit, np.pi - theta)
    return np.linalg.norm(c) * (np.cos(turned) * along + np.sin(turned) * across)


ROTATED = ("above w = 1 as long as cond", laws.above_1(laws.as_long(cond)))
FORMULAS = [
    Formula(
        "angle_domain",
        lambda p, w: g.angle_domain(p.cond, p.uncond, scale=w),
        lambda s, w: literal(s.cond, s.uncond, w, LIMIT),
        at=((1.0, cond), (0.0, uncond)),
    ),
    Formula(
        "angle_domain, small limit",
        lambda p, w: g.angle_domain(p.cond, p.uncond, scale=w, max_angle=0.2),
        lambda s, w: literal(s.cond, s.uncond, w, 0.2),
        at=((1.0, cond), (0.0, uncond)),
    ),
    Formula(
        "rotate",
        lambda p, w: g.rotate(p.cond, p.uncond, scale=w),
        lambda s, w: literal_rotation(s.cond, s.uncond, w, LIMIT),
        at=((1.0, cond), (0.0, uncond)),
        reductions=(
            ("max_angle 0", lambda p, w: g.rotate(p.cond, p.uncond, scale=w + 2.0, max_angle=0.0), cond_at_any),
        ),
        laws=(ROTATED,),
    ),
]

DEFAULTS = [Defaults(name, {"max_angle": LIMIT}) for name in ("angle_domain", "rotate")]
HELPERS = [Helper("angle")]

# ---- The node

SETTINGS = [
    Setting("adg", NODE, {"max_angle": 60.0, "mode": "paper", "strength": 1.0}, lambda cfg: [{"strength": 0.0}]),
    Setting("rotation", NODE, {"max_angle": 30.0, "mode": "exact rotation", "strength": 0.8}),
]

WORKFLOWS = [
    picture(
        "angle_domain_guidance",
        "Angle Domain Guidance (ADG)",
        "The weight turns the prediction instead of stretching it, so cfg 10 keeps natural colours. Lower "
        "max_angle for a gentler picture; exact rotation also keeps the contrast of weight 1.",
        lambda load: azimuth("AngleDomain", load),
        "a market street in the rain at night, neon signs, umbrellas, cinematic photograph",
        cfg=10.0,
    ),
]

# ---- The benchmark

FUNCTIONS = [
    Function("angle_domain", at_seven(g.angle_domain), limit=5.0),
    Function("angle_domain, scale per sample", lambda p: g.angle_domain(p.cond, p.uncond, scale=p.each), limit=5.0),
    Function("rotate", at_seven(g.rotate), limit=5.0),
    Function("angle", lambda p: g.angle(p.cond, p.uncond)),
]


def run(name, mode, strength=1.0, off=False):
    return Run(name, Way(Node(NODE, {"max_angle": 60.0, "mode": mode, "strength": strength})), off=off)


RUNS = [
    run("ADG", "paper"),
    run("ADG, exact rotation", "exact rotation"),
    run("ADG at strength 0", "paper", strength=0.0, off=True),
]

# ---- The pictures

PICTURES = [
    Picture(
        "Angle Domain Guidance",
        f"cfg {HIGH:g}: paper's, at most 20 degrees",
        HIGH,
        (Node(NODE, {"mode": "paper", "max_angle": 20.0}),),
        sheet=8,
    ),
    Picture(
        "Angle Domain Guidance",
        f"cfg {HIGH:g}: exact rotation, at most 20 degrees",
        HIGH,
        (Node(NODE, {"mode": "exact rotation", "max_angle": 20.0}),),
        sheet=9,
    ),
]
