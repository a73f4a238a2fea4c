"""Perturbed-Attention Guidance (PAG)."""

import guidance as g

from ..kinds import Formula, Function, Node, Picture, Row, Run, Setting, Way
from ..pictures import LOW
from ..predictions import first
from ..workflows import azimuth, picture
from .add_term import TERM, term_is_off

NODE = "AzimuthPerturbedAttention"
LINE = "clearer shapes, also without a negative"
TABLE = [
    Row(
        "Perturbed-attention guidance",
        place="T = s (D_c − D_bad), self-attention of D_bad: (1 − u) A V + u V",
        paper="2403.17377, u: 2506.10978",
        use="clearer shapes, also at cfg 1 and without a negative",
        passes="+ 1",
        node=NODE,
    ),
]

# ---- The formula, and once more literally

# `first` is the attention's output, and `second` the value.
FORMULAS = [
    Formula(
        "perturbed_attention",
        lambda p, w: g.perturbed_attention(p.first, p.second, strength=w),
        lambda s, w: (1 - w) * s.first + w * s.second,
        at=((0.0, first), (1.0, lambda p: p.second)),
        scales=(0.0, 1.0),
    ),
]

# ---- The node

SETTINGS = [
    Setting("pag", NODE, {**TERM, "strength": 1.0, "blocks": "auto"}, term_is_off),
    Setting(
        "pag_soft", NODE, {**TERM, "strength": 0.6, "blocks": "auto", "rescale": 0.7}, lambda cfg: [{"strength": 0.0}]
    ),
]

WORKFLOWS = [
    picture(
        "perturbed_attention_guidance",
        "Perturbed-Attention Guidance (PAG)",
        "Each step asks once more with the attention of the middle block switched off, and moves away from that: "
        "clearer shapes at a moderate cfg. With cfg 1 it works alone, at the price of a plain run.",
        lambda load: azimuth("PerturbedAttention", load, scale=3.0),
        "a wrought iron greenhouse full of ferns, overcast light, architectural photograph",
        cfg=4.0,
    ),
]

# ---- The benchmark

FUNCTIONS = [Function("perturbed_attention", lambda p: g.perturbed_attention(p.cond, p.uncond, strength=0.5))]


def way(scale):
    return Way(Node(NODE, {**TERM, "scale": scale, "strength": 1.0, "blocks": "auto"}))


RUNS = [
    Run("PAG at scale 0", way(0.0), off=True),
    Run(
        "PAG, with its passes",
        way(3.0),
        Way(Node("comfy_extras.nodes_pag.PerturbedAttentionGuidance", {"scale": 3.0})),
        on="model",
    ),
]

# ---- The pictures

SHOWN = (Node(NODE, {"scale": 2.0}),)
PICTURES = [
    Picture("PAG", f"cfg {LOW:g}: scale 2", LOW, SHOWN),
    Picture("PAG", "cfg 1: scale 2, no negative pass", 1.0, SHOWN),
]
