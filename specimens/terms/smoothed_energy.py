"""Smoothed Energy Guidance (SEG). Its formula is tested in tests/guidance/terms."""

import guidance as g

from ..kinds import Function, Helper, Node, Picture, Row, Run, Setting, Way
from ..pictures import LOW
from ..workflows import azimuth, picture
from .add_term import TERM, queries, term_is_off

NODE = "AzimuthSmoothedEnergy"
LINE = "clearer shapes, more gently"
TABLE = [
    Row(
        "Smoothed energy guidance",
        place="T = s (D_c − D_bad), queries of D_bad blurred",
        paper="2408.00760",
        use="the same, with fewer side effects",
        passes="+ 1",
        node=NODE,
    ),
]

# ---- The formula

HELPERS = [Helper("smooth_queries")]

# ---- The node

SETTINGS = [
    Setting("seg", NODE, {**TERM, "blur": 10000.0, "blocks": "auto"}, term_is_off),
    Setting(
        "seg_blur", NODE, {**TERM, "blur": 1.0, "blocks": "1, middle 0", "rescale": 0.7}, lambda cfg: [{"blur": 0.0}]
    ),
]

WORKFLOWS = [
    picture(
        "smoothed_energy_guidance",
        "Smoothed Energy Guidance (SEG)",
        "The attention of the middle block is blurred instead of switched off, which is gentler than PAG. Lower blur "
        "towards 1 for less, raise scale for more.",
        lambda load: azimuth("SmoothedEnergy", load, scale=3.0),
        "a violin maker at work, wood shavings, warm window light, photograph",
        cfg=4.0,
    ),
]

# ---- The benchmark


def smoothed(sigma):
    def call(p):
        tokens, size = queries(p, 2)
        return g.smooth_queries(tokens, size=size, sigma=sigma)

    return call


FUNCTIONS = [
    Function("smooth_queries", smoothed(10.0)),
    Function("smooth_queries, their mean", smoothed(10000.0)),
]


def way(blur):
    return Way(Node(NODE, {**TERM, "scale": 3.0, "blur": blur, "blocks": "auto"}))


RUNS = [Run("SEG, with its passes", way(10000.0), on="model"), Run("SEG at blur 0", way(0.0), off=True)]

# ---- The pictures

SHOWN = (Node(NODE, {"scale": 2.0}),)
PICTURES = [
    Picture("SEG", f"cfg {LOW:g}: scale 2", LOW, SHOWN),
    Picture("SEG", "cfg 1: scale 2, no negative pass", 1.0, SHOWN),
]
