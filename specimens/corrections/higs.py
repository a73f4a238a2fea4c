"""History Guidance (HiGS)."""

import numpy as np

import guidance as g

from ..kinds import Defaults, Formula, Function, Node, Picture, Row, Run, Setting, Way
from ..pictures import LOW
from ..predictions import cond, cond_at_any, remembering
from ..workflows import azimuth, picture

NODE = "AzimuthHiGS"
LINE = "amplifies the detail that is new"
TABLE = [
    Row(
        "History Guidance",
        place="correct = D + w(σ) high-pass(D − g), g the average of D so far",
        paper="2509.22300",
        use="soft pictures of few steps or low weights, no negative",
        passes="as before",
        node=NODE,
    ),
]

# ---- The formula, and once more literally


def literal(d, sigma, kind, weight, a, eta, low, high, bias_correction, g=None, n=0):
    """Equations 5 to 9: the corrected prediction, and the average to hand on, which n predictions have gone into."""
    if n == 0:
        return d, a * d
    seen = g / (1 - (1 - a) ** n) if bias_correction else g
    r = d - seen
    along = np.zeros_like(d) if not d.any() else np.vdot(r, d) / np.vdot(d, d) * d
    t = sigma if kind == "flow" else sigma / (1 + sigma)
    now = weight * np.sqrt((t - low) / (high - low)) if low < t <= high else 0.0
    return d + now * high_pass(r - along + eta * along), a * d + (1 - a) * g


def high_pass(r):
    """Every frame through the sigmoid high-pass of HiGS; a signal without rows has height 1."""
    height, width = r.shape[-2:] if r.ndim > 2 else (1, r.shape[-1])
    frames = r.reshape(-1, height, width)
    a, b = dct_matrix(height), dct_matrix(width)
    i, j = np.arange(height)[:, None] / height, np.arange(width)[None] / width
    mask = 1 / (1 + np.exp(-50 * (np.sqrt(i**2 + j**2) - 0.05)))
    return np.stack([a.T @ (mask * (a @ f @ b.T)) @ b for f in frames]).reshape(r.shape)


def dct_matrix(n):
    """Orthonormal DCT-II, row by frequency."""
    k, j = np.arange(n)[:, None], np.arange(n)[None]
    rows = np.sqrt(2 / n) * np.cos(np.pi * (j + 0.5) * k / n)
    rows[0] /= np.sqrt(2)
    return rows


def two_steps(p, weight, sigma, kind="flow", **knobs):
    """The second of two steps, the first of which predicted `first`."""
    state = g.Memory()
    g.higs(p.first, sigma=sigma, kind=kind, weight=weight, state=state, **knobs)
    state.begin(1)
    return g.higs(p.cond, sigma=sigma, kind=kind, weight=weight, state=state, **knobs)


def history(kind, sigma, eta=1.0, bias_correction=False):
    knobs = {"eta": eta, "bias_correction": bias_correction}

    def theirs(s, w):
        own = (sigma, kind, w, 0.75, eta, 0.4, 1.0, bias_correction)
        _, average = literal(s.first, *own)
        return literal(s.cond, *own, average, 1)[0]

    def first_step(p, w):
        return g.higs(p.cond, sigma=0.8, kind="flow", weight=w, state=g.Memory())

    return Formula(
        f"higs, {kind} {sigma:g}, eta {eta:g}{', bias corrected' if bias_correction else ''}",
        lambda p, w: two_steps(p, w, sigma, kind, **knobs),
        theirs,
        at=((0.0, cond),),
        reductions=(
            ("outside the window", lambda p, w: two_steps(p, w, 0.4, **knobs), cond_at_any),
            ("the first step", first_step, cond_at_any),
        ),
        scales=(0.0, 3.0),
        pictures=True,
    )


FORMULAS = [
    history("flow", 0.8),
    history("flow", 0.95, eta=0.3),
    history("ve", 3.0, eta=0.0, bias_correction=True),
]

DEFAULTS = [
    Defaults(
        "higs", {"weight": 1.75, "average": 0.75, "eta": 1.0, "t_min": 0.4, "t_max": 1.0, "bias_correction": False}
    ),
]

# ---- The node


def inputs(weight, eta):
    return {"weight": weight, "average": 0.75, "eta": eta, "t_min": 0.4, "t_max": 1.0, "bias_correction": False}


SETTINGS = [
    Setting("higs", NODE, inputs(1.75, eta=0.5), lambda cfg: [{"weight": 0.0}, {"weight": g.Steps((0.0,) * 6)}]),
]

WORKFLOWS = [
    picture(
        "history_guidance",
        "History Guidance (HiGS)",
        "The detail that is new against the steps before is amplified, so a low cfg and few steps come out crisp. Keep "
        "to samplers such as euler; with dpmpp_2m and its kin use a weight of 0.5 at most.",
        lambda load: azimuth("HiGS", load, weight=1.75),
        "a fern forest after rain, a wooden footbridge, soft green light, photograph",
        cfg=4.0,
        sampler_name="euler",
        scheduler="normal",
        steps=20,
    ),
]

# ---- The benchmark


def third_step(p, **knobs):
    return g.higs(p.cond, sigma=p.half, kind="flow", state=remembering(p.history), **knobs)


FUNCTIONS = [
    Function("higs", third_step),
    Function("higs, eta 0", lambda p: third_step(p, eta=0.0)),
]

RUNS = [
    Run("HiGS", Way(Node(NODE, inputs(1.75, eta=1.0)))),
    Run("HiGS at weight 0", Way(Node(NODE, inputs(0.0, eta=1.0))), off=True),
]

# ---- The pictures

PICTURES = [Picture("History Guidance", f"cfg {scale:g}: weight 1.75", scale, (Node(NODE),)) for scale in (LOW, 1.0)]
