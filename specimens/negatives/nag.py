"""Normalized Attention Guidance (NAG)."""

import numpy as np

import guidance as g

from ..kinds import Defaults, Formula, Function, Node, Picture, Row, Run, Setting, Stand, Way
from ..pictures import LOW, away_from_pink
from ..predictions import cond, cond_at_any
from ..workflows import FLUX, azimuth, picture, text

NODE = "AzimuthNAG"
LINE = "a negative prompt for models at cfg 1"
TABLE = [
    Row(
        "Normalized attention guidance",
        place="in the attention of D_c, per token: z = α ẑ + (1 − α) z⁺, ẑ = s z⁺ − (s − 1) z⁻ at most τ ‖z⁺‖ long, "
        "z⁻ from a negative text",
        paper="2505.21179",
        use="a negative prompt at cfg 1: Flux, schnell, distilled Wan, LCM, Turbo",
        passes="1; of two rows where text and picture attend together",
        node=NODE,
    ),
]

# ---- The formula, and once more literally


def literal(positive, negative, s, tau, alpha, q):
    """Algorithm 1 of the paper, token by token."""
    result = np.empty_like(positive)
    for token in np.ndindex(positive.shape[:-1]):
        z, zt = positive[token], s * positive[token] - (s - 1) * negative[token]
        lengths = [np.sum(np.abs(t) ** q) ** (1 / q) for t in (zt, z)]
        # R is infinite where z is zero and zt is not; its zh has no length then.
        ratio = np.inf if lengths[1] == 0 else lengths[0] / lengths[1]
        zh = zt if ratio <= tau else zt * (tau / ratio)
        result[token] = alpha * zh + (1 - alpha) * z
    return result


def formula(name, tau, alpha, norm):
    """Channels come last there: a latent is taken as the tokens of its places."""

    def ours(p, w, negative=None, alpha=alpha):
        z, other = (t.movedim(1, -1) for t in (p.cond, p.uncond if negative is None else negative))
        return g.nag(z, other, scale=w, tau=tau, alpha=alpha, norm=norm).movedim(-1, 1)

    def theirs(s, w):
        z, other = (np.moveaxis(t, 0, -1) for t in (s.cond, s.uncond))
        return np.moveaxis(literal(z, other, w, tau, alpha, norm), -1, 0)

    reductions = (
        ("alpha 0", lambda p, w: ours(p, w, alpha=0.0), cond_at_any),
        ("negative = positive", lambda p, w: ours(p, w, negative=p.cond), cond_at_any),
    )
    return Formula(name, ours, theirs, at=((1.0, cond),), reductions=reductions)


FORMULAS = [
    formula("nag", tau=2.5, alpha=0.25, norm=1),
    formula("nag L2, at once", tau=1.2, alpha=1.0, norm=2),
]

DEFAULTS = [Defaults("nag", {"tau": 2.5, "alpha": 0.25, "norm": 1})]

# ---- The node


def acting(scale, **preset):
    return {"negative": Stand.NEGATIVE, "scale": scale, "start": 0.0, "end": 1.0, "preset": preset}


CUSTOM = {"preset": "custom", "tau": 2.0, "alpha": 0.5, "norm": "L1"}
SETTINGS = [
    Setting(
        "nag",
        NODE,
        acting(4.0, **CUSTOM),
        lambda cfg: [
            {"scale": 1.0},
            {"scale": 0.5},
            {"preset": {**CUSTOM, "alpha": 0.0}},
            {"start": 0.4, "end": 0.4},
            {"scale": g.Steps((1.0,) * 6)},
        ],
    ),
]

WORKFLOWS = [
    picture(
        "flow_flux_normalized_attention_guidance",
        "Normalized Attention Guidance (NAG) on Flux-dev",
        "A negative prompt at cfg 1: what the picture reads in the prompt is pushed away from what it would read in "
        "the negative. Raise scale for more of it; a step takes about twice as long while it acts.",
        lambda load: azimuth(
            "NAG", load, negative=text(load.out(1), "glasses, hat", "What to keep away from"), scale=5.0, end=0.8
        ),
        "a watchmaker at his bench, portrait, window light, documentary photograph",
        "",
        **FLUX,
        sampler_name="euler",
        cfg=1.0,
        steps=20,
    ),
]

# ---- The benchmark

FUNCTIONS = [Function("nag", lambda p: g.nag(p.cond, p.uncond, scale=5.0), limit=5.0)]
RUNS = [
    Run("NAG, with its attentions", Way(Node(NODE, acting(3.0, preset="SD1.5, SDXL"))), on="model"),
    Run("NAG at scale 1", Way(Node(NODE, acting(1.0, preset="SD1.5, SDXL"))), off=True),
]

# ---- The pictures

STRONG = {"scale": 11.0, "preset": "SD1.5, SDXL"}
PICTURES = [
    Picture("NAG", "cfg 1: away from 'pink', scale 11, no negative pass", 1.0, (away_from_pink(NODE, **STRONG),)),
    Picture("NAG", f"cfg {LOW:g}: away from 'pink', scale 11", LOW, (away_from_pink(NODE, **STRONG),)),
]
