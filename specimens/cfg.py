"""Classifier-free guidance (CFG), which every chapter starts from. ComfyUI's samplers make it, so it has no node."""

import guidance as g

from . import oracle
from .kinds import Formula, Function, Picture, Row, Run, Way
from .pictures import HIGH, LOW
from .predictions import at_seven, cond, plain, uncond

FORMULAS = [
    Formula("cfg", plain, lambda s, w: oracle.cfg(s.cond, s.uncond, w), at=((1.0, cond), (0.0, uncond))),
]

FUNCTIONS = [
    Function("cfg", at_seven(g.cfg)),
    Function("cfg, scale per sample", lambda p: g.cfg(p.cond, p.uncond, scale=p.each)),
    Function("cfg / host's linear CFG", at_seven(g.cfg), "host.cfg"),
    Function("cfg / diffusers' CFG", at_seven(g.cfg), "diffusers.cfg"),
]

RUNS = [Run("plain CFG", Way())]

PICTURES = [
    Picture("Plain CFG", f"cfg {LOW:g}", LOW, sheet=1),
    Picture("Plain CFG", f"cfg {HIGH:g}", HIGH, sheet=2),
]

TABLE = [
    Row(
        "CFG",
        place="combine = D_b + w Δ",
        paper="2207.12598",
        use="always there",
        passes="2; 1 at w = 1",
        node="none needed",
    ),
]
