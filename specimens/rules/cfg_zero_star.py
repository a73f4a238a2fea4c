"""CFG-Zero*."""

import numpy as np

import guidance as g

from .. import laws
from ..kinds import Formula, Function, Node, Picture, Row, Run, Setting, Way
from ..pictures import HIGH, LOW
from ..predictions import cond, cond_at_any
from ..workflows import SD3, azimuth, picture

NODE = "AzimuthCFGZeroStar"
LINE = "flow models: cleaner, the first step left out"
TABLE = [
    Row(
        "CFG-Zero*",
        place="combine: x − D = s V_b + w (V_c − s V_b), V = x − D of each, s = ⟨V_c, V_b⟩/‖V_b‖²; "
        "D = x in the first steps",
        paper="2503.18886",
        use="flow models at their usual weight",
        passes="2",
        node=NODE,
    ),
]

# ---- The formula, and once more literally


def literal(c, u, w, x):
    """In velocities times t, and back."""
    v_c, v_u = x - c, x - u
    s = np.vdot(v_c, v_u) / np.vdot(v_u, v_u) if v_u.any() else 0.0
    return x - (s * v_u + w * (v_c - s * v_u))


FORMULAS = [
    Formula(
        "cfg_zero_star",
        lambda p, w: g.cfg_zero_star(p.cond, p.uncond, scale=w, x=p.first),
        lambda s, w: literal(s.cond, s.uncond, w, s.first),
        at=((1.0, cond),),
        laws=(("what guidance adds is orthogonal to x - D_u", laws.across(lambda p: p.first - p.uncond, cond_at_any)),),
    ),
]

# ---- The node


def zero_star_is_off(cfg):
    return [{"strength": 0.0}, {"strength": 0.0, "zero_init_steps": 3}]


SETTINGS = [
    Setting("zero_star", NODE, {"zero_init_steps": 1, "strength": 1.0}, zero_star_is_off),
    Setting("zero_star_alone", NODE, {"zero_init_steps": 0, "strength": 0.8}),
]

WORKFLOWS = [
    picture(
        "flow_sd3_cfg_zero_star",
        "CFG-Zero*",
        "Guides away from as much of the negative as the positive shares, and leaves the latent as it is in the "
        "first step, where a flow model is least sure. Keep a sampler that adds no noise, such as euler.",
        lambda load: azimuth("CFGZeroStar", load, zero_init_steps=1),
        "a lighthouse keeper reading by an oil lamp, storm outside the window, oil painting",
        **SD3,
        sampler_name="euler",
        cfg=4.5,
        steps=28,
    ),
]

# ---- The benchmark


def zero_star(p):
    return g.cfg_zero_star(p.cond, p.uncond, scale=7.0, x=p.x)


FUNCTIONS = [
    Function("cfg_zero_star", zero_star, limit=5.0),
    Function("cfg_zero_star / host's CFG-Zero*", zero_star, "host.cfg_zero_star", limit=1.0),
    Function("cfg_zero_star / diffusers' CFG-Zero*", zero_star, "diffusers.cfg_zero_star", limit=1.0),
]


def run(name, strength, off=False):
    return Run(name, Way(Node(NODE, {"zero_init_steps": 1, "strength": strength})), off=off)


RUNS = [run("CFG-Zero*", 1.0), run("CFG-Zero* at strength 0", 0.0, off=True)]

# ---- The pictures

PICTURES = [
    Picture("CFG-Zero*", f"cfg {LOW:g}: one step of zero-init", LOW, (Node(NODE, {"zero_init_steps": 1}),)),
    Picture("CFG-Zero*", f"cfg {HIGH:g}: no zero-init", HIGH, (Node(NODE, {"zero_init_steps": 0}),)),
]
