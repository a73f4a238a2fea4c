"""A limit to the norm of the guided prediction, of a whole picture or of each place."""

import numpy as np

import guidance as g

from .. import laws
from ..kinds import Defaults, Formula, Function, Node, Picture, Row, Run, Setting, Way
from ..pictures import HIGH
from ..predictions import at_seven, cond, cond_at_any, first
from ..workflows import azimuth, picture

NODE = "AzimuthNormLimit"
LINE = "no longer than the positive prediction"
TABLE = [
    Row(
        "Norm limit",
        place="correct = D min(1, k ‖D_c‖/‖D‖), of a whole picture or of each place of the latent",
        paper="2503.21758 (whole)",
        use="high weights without burnt colours, beside any combine rule",
        passes="2",
        node=NODE,
    ),
]

# ---- The formula, and once more literally


def literal(g, c, k, scope):
    if scope == "pixel":
        out = np.empty_like(g)
        for place in np.ndindex(g.shape[1:]):
            pixel = (slice(None), *place)
            out[pixel] = literal(g[pixel], c[pixel], k, "sample")
        return out
    most = k * np.linalg.norm(c)
    return g if np.linalg.norm(g) <= most else g * (most / np.linalg.norm(g))


# `first` is the guided prediction.
def limited(scope, measure):
    return Formula(
        f"norm_limit, {scope}",
        lambda p, w: g.norm_limit(p.first, p.cond, limit=w, scope=scope),
        lambda s, w: literal(s.first, s.cond, w, scope),
        laws=((f"each {scope} is at most w times as long as that of cond", laws.at_most(lambda w: w, cond, measure)),),
        at=((1e9, first),),
        reductions=(
            ("guided = cond", lambda p, w: g.norm_limit(p.cond, p.cond, limit=w + 0.7, scope=scope), cond_at_any),
        ),
        scales=(0.3, 3.0),
    )


FORMULAS = [limited("sample", laws.length), limited("pixel", laws.of_pixels)]

DEFAULTS = [Defaults("norm_limit", {"limit": 1.0, "scope": "sample"})]

# ---- The node

SETTINGS = [
    Setting(
        "norm_limit",
        NODE,
        {"limit": 1.0, "scope": "sample", "strength": 1.0},
        lambda cfg: [{"strength": 0.0}, {"limit": 10.0}],
    ),
    Setting(
        "norm_limit_pixel",
        NODE,
        {"limit": 1.1, "scope": "pixel", "strength": 0.8},
        lambda cfg: [{"strength": 0.0}],
    ),
]

WORKFLOWS = [
    picture(
        "guidance_norm_limit",
        "Guidance Norm Limit",
        "At cfg 12 the guided prediction is scaled back to the length of the positive one, so the prompt is followed "
        "closely and the colours stay. Raise the limit to 1.2 for more contrast, or limit every pixel by itself.",
        lambda load: azimuth("NormLimit", load, limit=1.0, scope="sample"),
        "a parrot on a wet branch in the rainforest, shallow depth of field, photograph",
        cfg=12.0,
    ),
]

# ---- The benchmark

cfg = at_seven(g.cfg)


def by_pixel(p):
    return g.norm_limit(p.first, p.cond, scope="pixel")


FUNCTIONS = [
    Function("norm_limit", lambda p: g.norm_limit(p.first, p.cond), limit=5.0),
    Function("norm_limit, pixel", by_pixel, limit=5.0),
    Function("cfg and norm_limit / host's RenormCFG", lambda p: g.norm_limit(cfg(p), p.cond), "host.renorm", limit=1.0),
    Function("norm_limit, pixel / host's CFGNorm", by_pixel, "host.norm_per_pixel", limit=1.0),
]


def way(scope, strength=1.0):
    return Way(Node(NODE, {"limit": 1.0, "scope": scope, "strength": strength}))


RUNS = [
    Run(
        "Norm Limit",
        way("sample"),
        Way(Node("comfy_extras.nodes_lumina2.RenormCFG", {"cfg_trunc": 100.0, "renorm_cfg": 1.0})),
    ),
    Run("Norm Limit, pixel", way("pixel"), Way(Node("comfy_extras.nodes_cfg.CFGNorm", {"strength": 1.0}))),
    Run("Norm Limit at strength 0", way("sample", strength=0.0), off=True),
]

# ---- The pictures

PICTURES = [
    Picture("Norm Limit", f"cfg {HIGH:g}: per {scope}", HIGH, (Node(NODE, {"scope": scope}),))
    for scope in ("sample", "pixel")
]
