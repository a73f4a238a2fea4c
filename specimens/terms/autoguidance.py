"""Autoguidance. Its formula is that of every term: see add_term."""

from ..kinds import Node, Picture, Row, Run, Setting, Stand, Way
from ..pictures import LOW
from ..workflows import azimuth, checkpoint, picture
from .add_term import TERM, term_is_off

NODE = "AzimuthAutoguidance"
LINE = "fewer errors of the model, with a worse model of its family"
TABLE = [
    Row(
        "Autoguidance",
        place="T = s (D_c − D_bad), D_bad from a worse model",
        paper="2406.02507",
        use="quality at full variety, where a worse model of the family exists",
        passes="+ 1 of the worse model",
        node=NODE,
        formula="terms/add_term",
    ),
]

# ---- The node


def is_off(cfg):
    return [*term_is_off(cfg), {"weak_model": lambda model: model}]


SETTINGS = [Setting("autoguidance", NODE, {**TERM, "weak_model": Stand.WEAKER}, is_off)]

WORKFLOWS = [
    picture(
        "autoguidance",
        "Autoguidance",
        "A worse model of the same family answers the same prompt, and the picture moves away from what it gets wrong. "
        "Use an earlier or smaller model of yours as the weaker one, and lower cfg.",
        lambda load: azimuth("Autoguidance", load, weak_model=checkpoint("sd_xl_base_0.9.safetensors"), scale=0.8),
        "a cabinet of curiosities, shells and minerals, museum photograph",
        "blurry, low quality",
        cfg=3.0,
    ),
]

# ---- The benchmark

RUNS = [
    Run(
        "Autoguidance, with its passes",
        Way(Node(NODE, {**TERM, "scale": 3.0, "weak_model": Stand.WEAKER})),
        on="model",
    ),
]

# ---- The pictures

# Away from a smaller model that has learned for a shorter time.
SMALLER = (Node(NODE, {"weak_model": Node("AzimuthLabLoader", {"model": "ve_small"}), "scale": 1.0}),)
PICTURES = [
    Picture("Autoguidance", "cfg 1: scale 1, no negative pass", 1.0, SMALLER, ("ve",)),
    Picture("Autoguidance", f"cfg {LOW:g}: scale 1", LOW, SMALLER, ("ve",)),
]
