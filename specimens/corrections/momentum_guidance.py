"""Momentum Guidance (MG)."""

import guidance as g

from ..kinds import Defaults, Formula, Function, Node, Picture, Row, Run, Setting, Way
from ..pictures import LOW
from ..predictions import cond, cond_at_any, remembering, wide
from ..workflows import SD3, azimuth, picture

NODE = "AzimuthMomentumGuidance"
LINE = "moves on the way it has been changing"
TABLE = [
    Row(
        "Momentum Guidance",
        place="correct = D − α σ (v − m), v = (x − D)/σ, m the average of v so far",
        paper="2602.20360",
        use="few steps, low weights, no negative",
        passes="as before",
        node=NODE,
    ),
]

# ---- The formula, and once more literally


def literal(d, x, sigma, kind, alpha, beta, low, high, m=None):
    """The corrected prediction, and the average to hand on."""
    v = (x - d) / sigma
    m = v if m is None else m
    t = sigma if kind == "flow" else sigma / (1 + sigma)
    moved = v + alpha * (v - m) if low <= t <= high else v
    return x - sigma * moved, (1 - beta) * v + beta * m


def second_step(p, alpha, sigma, kind):
    """`first` is the noisy latent, and `second` the average that the first step kept."""
    state = remembering(wide(p.second))
    return g.momentum_guidance(p.cond, x=p.first, sigma=sigma, kind=kind, alpha=alpha, state=state)


def momentum(kind, sigma):
    return Formula(
        f"momentum_guidance, {kind} {sigma:g}",
        lambda p, w: second_step(p, w, sigma, kind),
        lambda s, w: literal(s.cond, s.first, sigma, kind, w, 0.6, 0.3, 0.95, s.second)[0],
        at=((0.0, cond),),
        reductions=(
            ("above the window", lambda p, w: second_step(p, w, 0.96, "flow"), cond_at_any),
            ("below the window", lambda p, w: second_step(p, w, 0.4, "ve"), cond_at_any),
        ),
        scales=(0.0, 2.0),
    )


FORMULAS = [momentum("flow", 0.6), momentum("ve", 1.5)]

DEFAULTS = [Defaults("momentum_guidance", {"alpha": 0.5, "beta": 0.6, "t_min": 0.3, "t_max": 0.95})]

# ---- The node


def inputs(alpha):
    return {"alpha": alpha, "beta": 0.6, "t_min": 0.3, "t_max": 0.95}


SETTINGS = [
    Setting("momentum", NODE, inputs(0.8), lambda cfg: [{"alpha": 0.0}, {"alpha": g.Steps((0.0,) * 6)}]),
]

WORKFLOWS = [
    picture(
        "momentum_guidance",
        "Momentum Guidance (MG)",
        "Each prediction is moved on in the direction in which it has been changing, which sharpens a short run of "
        "euler and costs nothing. If edges harden, lower alpha; it also works at cfg 1 without a negative.",
        lambda load: azimuth("MomentumGuidance", load, alpha=0.5),
        "a clockmaker's workbench, brass gears and loupes, warm lamp light, macro photograph",
        **SD3,
        sampler_name="euler",
        cfg=3.5,
        steps=18,
    ),
]

# ---- The benchmark

FUNCTIONS = [
    Function(
        "momentum_guidance",
        lambda p: g.momentum_guidance(p.cond, x=p.x, sigma=p.half, kind="flow", state=remembering(p.second)),
        limit=5.0,
    ),
]

RUNS = [
    Run("Momentum Guidance", Way(Node(NODE, inputs(0.5)))),
    Run("Momentum Guidance at alpha 0", Way(Node(NODE, inputs(0.0))), off=True),
]

# ---- The pictures

PICTURES = [
    Picture("Momentum Guidance", f"cfg {LOW:g}: alpha 0.5", LOW, (Node(NODE),)),
    Picture("Momentum Guidance", "cfg 1: alpha 1", 1.0, (Node(NODE, {"alpha": 1.0}),)),
]
