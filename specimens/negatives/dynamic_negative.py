"""Dynamic Negative Guidance (DNG)."""

import functools
import math

import numpy as np
import torch

import guidance as g
from guidance.negatives.dynamic_negative import Seen

from .. import oracle
from ..kinds import Defaults, Formula, Function, Node, Picture, Row, Run, Setting, Stand, Way
from ..pictures import LOW, away_from_pink
from ..predictions import cond, remembering, wide, zero
from ..workflows import azimuth, picture, text

NODE = "AzimuthDynamicNegative"
LINE = "a negative that wakes once it shows"
TABLE = [
    Row(
        "Dynamic Negative Guidance",
        place="T = − λ (D_n − D_c), λ = λ₀ p/(1 − p), p the running posterior of the negative",
        paper="2410.14398",
        use="a negative that acts only where the picture turns into it; samplers that add noise",
        passes="+ 1",
        node=NODE,
    ),
]

# ---- The formula, and once more literally


def literal(b, n, lam0, p):
    return b - lam0 * p / (1 - p) * (n - b)


def literal_posterior(p, after, x, n, b, sigma, sigma_after, kind, tau, delta, p_min, p_max):
    """One DDPM step in the paper's VP coordinates: p after x (at sigma, with D_n and D_b) became `after`."""

    def in_vp(x, sigma):
        a, s = oracle.signal_noise(sigma, kind)
        return x / np.sqrt(a**2 + s**2), a**2 / (a**2 + s**2)

    (z, abar), (z_after, abar_after) = in_vp(x, sigma), in_vp(after, sigma_after)
    alpha = abar / abar_after
    variance = (1 - abar_after) / (1 - abar) * (1 - alpha)

    def distance(d):
        noise = (z - np.sqrt(abar) * d) / np.sqrt(1 - abar)
        mean = (z - (1 - alpha) / np.sqrt(1 - abar) * noise) / np.sqrt(alpha)
        return ((z_after - mean) ** 2).sum()

    exponent = (-tau * (distance(n) - distance(b)) + delta) / (2 * variance)
    return np.clip(p * np.exp(np.minimum(exponent, 700)), p_min, p_max)


BOUNDS = {"p_min": 1e-6, "p_max": 0.8}
KNOBS = {"tau": 0.02, "delta": 2e-4, **BOUNDS}


def first_step(p, w):
    """From t = 1."""
    return g.dynamic_negative(p.cond, p.first, x=p.second, sigma=1.0, kind="flow", scale=w, prior=0.3, state=g.Memory())


def second_step(f, whole, at):
    """At sigma 5 after sigma 8 and from `uncond` to `second`; D_b was zero at the first step."""

    def ours(p, w):
        d, x = wide(p.first), wide(p.uncond)
        lead = g.dot(d, d) - 2.0 * g.dot(d, x)
        each = torch.ones_like(lead, dtype=torch.float64)
        state = remembering(Seen(math.log(0.2) * each, 8.0 * each, x, d, lead.double()))
        return f(p.cond, p.first, x=p.second, sigma=5.0, kind="ve", scale=w, state=state, **KNOBS)

    def theirs(s, w):
        p = literal_posterior(0.2, s.second, s.uncond, s.first, 0.0, 8.0, 5.0, "ve", **KNOBS)
        return literal(s.cond, s.first, w, p) - (0.0 if whole else s.cond)

    # At p_max the weight is 4 times the scale, which float16 must hold.
    return Formula(f"{f.__name__}, second step", ours, theirs, at=((0.0, at),), scales=(0.0, 3.0))


FORMULAS = [
    Formula(
        "dynamic_negative, first step",
        first_step,
        lambda s, w: literal(s.cond, s.first, w, 0.3),
        at=((0.0, cond),),
    ),
    second_step(g.dynamic_negative, whole=True, at=cond),
    second_step(g.dynamic_negative_terms, whole=False, at=zero),
]

DEFAULTS = [
    Defaults(name, {"scale": 5.0, "prior": 0.01, "tau": 0.2, "delta": 2e-4, "p_min": 1e-6, "p_max": 0.8})
    for name in ("dynamic_negative", "dynamic_negative_terms")
]

# ---- The node


def acting(weight, prior):
    return {
        "negative": Stand.NEGATIVE,
        "weight": weight,
        "base": "positive",
        "prior": prior,
        "tau": 0.2,
        "delta": 2e-4,
        **BOUNDS,
    }


SETTINGS = [
    Setting("dng", NODE, acting(2.0, 0.2), lambda cfg: [{"weight": 0.0}, {"weight": g.Steps((0.0,) * 6)}]),
]

WORKFLOWS = [
    picture(
        "dynamic_negative_guidance",
        "Dynamic Negative Guidance (DNG)",
        "The further negative all but sleeps until the picture begins to look like it, and then pushes as hard as is "
        "needed. Keep a sampler that adds noise, such as euler_ancestral, and raise prior if it wakes too late.",
        lambda load: azimuth("DynamicNegative", load, negative=text(load.out(1), "sheep", "Further negative")),
        "a green pasture on a hillside with an old stone wall, drifting clouds, photograph",
        cfg=6.0,
        sampler_name="euler_ancestral",
        scheduler="normal",
        steps=30,
    ),
]

# ---- The benchmark


@functools.cache
def seen(p):
    """The memory of a step at twice the noise."""
    state = g.Memory()
    state.begin(0)
    g.dynamic_negative(p.cond, p.first, x=2.0 * p.x, sigma=2.0 * p.each, kind="ve", state=state)
    state.begin(1)
    return state


def timed(f):
    return Function(
        f"{f.__name__}, second step",
        lambda p: f(p.cond, p.first, x=p.x, sigma=p.each, kind="ve", state=seen(p)),
    )


FUNCTIONS = [timed(g.dynamic_negative), timed(g.dynamic_negative_terms)]
RUNS = [
    Run("Dynamic Negative Guidance", Way(Node(NODE, acting(5.0, 0.01)))),
    Run("Dynamic Negative Guidance at weight 0", Way(Node(NODE, acting(0.0, 0.01))), off=True),
]

# ---- The pictures

PICTURES = [
    Picture(
        "Dynamic Negative Guidance",
        f"cfg {LOW:g}: away from 'pink', weight 5, prior 0.2",
        LOW,
        (away_from_pink(NODE, weight=5.0, prior=0.2),),
    ),
]
