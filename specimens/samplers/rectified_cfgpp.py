"""Rectified-CFG++: a sampler that follows the positive, corrected by guidance that is measured further along."""

import guidance as g

from .. import oracle
from ..kinds import Defaults, Formula, Function, Helper, Node, Picture, Row, Run, Sampler, Way
from ..pictures import HIGH, LOW
from ..predictions import first, plain
from ..workflows import SD3, picture, sampled_by, unchanged

NODE = "AzimuthRectifiedCFGPP"
LINE = "a SAMPLER: measures guidance half a step ahead"
TABLE = [
    Row(
        "Rectified-CFG++",
        place="D = D_c(x) + (t/t̃) (D_w(x̃) − D_c(x̃)), x̃ half a step along D_c, w = 1 + λ_max (1 − t)^γ",
        paper="2510.07631",
        use="flow models; text in pictures",
        passes="3",
        node=NODE,
    ),
]

# ---- The formulas, and once more literally


def literal(cond, cond_middle, uncond_middle, alpha, t, t_middle):
    """The D whose velocity, seen from any x, is v_c(x) + alpha [v_c(x~) - v_u(x~)]; here from x = 0."""
    velocity = -cond / t + alpha * (-cond_middle + uncond_middle) / t_middle
    return -t * velocity


def literal_euler(x, d, sigma, sigma_next):
    return x + (sigma_next - sigma) * (x - d) / sigma


def rectified(p, w):
    """`first` is the positive's prediction at the beginning of the step; the pair is that of the predictor."""
    return g.rectified_cfgpp(p.first, plain(p, w), p.cond, sigma=0.7, sigma_middle=0.5)


def euler_step(p, w, sigma_next=1.2):
    """`first` is the noisy latent."""
    return g.euler_step(p.first, plain(p, w), sigma=2.0, sigma_next=sigma_next)


FORMULAS = [
    Formula(
        "rectified_cfgpp",
        rectified,
        lambda s, w: literal(s.first, s.cond, s.uncond, w - 1, 0.7, 0.5),
        at=((1.0, first),),
    ),
    Formula(
        "euler_step",
        euler_step,
        lambda s, w: literal_euler(s.first, oracle.cfg(s.cond, s.uncond, w), 2.0, 1.2),
        reductions=(
            ("to 0", lambda p, w: euler_step(p, w, 0.0), plain),
            ("nowhere", lambda p, w: euler_step(p, w, 2.0), lambda p, w: p.first),
        ),
        scales=(0.0, 1.0),
    ),
]

DEFAULTS = [Defaults("predictor_sigma", {"fraction": 0.5})]
HELPERS = [Helper("predictor_sigma"), Helper("rectified_alpha")]

# ---- The node

SAMPLERS = [Sampler("Rectified-CFG++ Sampler", NODE, {"lam_max": 4.0, "gamma": 0.0, "fraction": 0.5})]

WORKFLOWS = [
    picture(
        "flow_sd3_rectified_cfgpp",
        "Rectified-CFG++",
        "Each step follows the positive alone and is corrected by guidance that is measured half a step ahead: three "
        "passes. lam_max takes the place of the guider's cfg, which is not used; 3 is about cfg 4.",
        unchanged,
        "a hand-painted sign that says OPEN above the door of a small bakery, morning light, photograph",
        sample=sampled_by(NODE, lam_max=3.0, gamma=0.0, fraction=0.5),
        **SD3,
        cfg=4.0,
        steps=20,
    ),
]

# ---- The benchmark

FUNCTIONS = [
    Function(
        "rectified_cfgpp",
        lambda p: g.rectified_cfgpp(p.first, p.uncond, p.cond, sigma=0.7, sigma_middle=0.5),
        limit=5.0,
    ),
    Function("euler_step", lambda p: g.euler_step(p.x, p.cond, sigma=2.0, sigma_next=1.2), limit=5.0),
]

RUNS = [
    Run("Rectified-CFG++ Sampler", Way(sampler=Node(NODE, {"lam_max": 3.5, "gamma": 0.0, "fraction": 0.5}))),
]

# ---- The pictures

PICTURES = [
    Picture(
        "Rectified-CFG++",
        f"lam_max {scale - 1:g}: as cfg {scale:g}",
        HIGH,
        sampler=Node(NODE, {"lam_max": scale - 1}),
    )
    for scale in (LOW, HIGH)
]
