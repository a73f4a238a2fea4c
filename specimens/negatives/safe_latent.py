"""Safe Latent Diffusion (SLD)."""

import functools

import numpy as np

import guidance as g

from .. import oracle
from ..kinds import Defaults, Formula, Function, Node, Picture, Row, Run, Setting, Stand, Way
from ..pictures import LOW, away_from_pink
from ..predictions import plain, remembering, uncond, wide, zero
from ..workflows import azimuth, picture, text

NODE = "AzimuthSafeLatent"
LINE = "keeps one concept out, leaves the rest alone"
TABLE = [
    Row(
        "Safe Latent Diffusion",
        place="T = w (− μ (D_n − D_b) + momentum), μ per value: 0 where D_c does not lean towards D_n",
        paper="2211.05105",
        use="a concept to keep out without touching the layout",
        passes="+ 1",
        node=NODE,
    ),
]

# ---- The formula, and once more literally


def literal(c, u, concept, w, sigma, kind, s, threshold, s_m, beta, warm=True, nu=0.0):
    """D, and the momentum to hand on, all of it in eps at x = 0, of which differences do not depend."""
    zero = np.zeros_like(c)
    e_c, e_u, e_s = (oracle.eps(zero, d, sigma, kind) for d in (c, u, concept))
    mu = np.where(e_c - e_s < threshold, np.minimum(1, s * np.abs(e_c - e_s)), 0)
    gamma = mu * (e_s - e_u) + s_m * nu
    guided = e_u + w * (e_c - e_u - (gamma if warm else 0))
    a, noise = oracle.signal_noise(sigma, kind)
    return -noise * guided / a, beta * nu + (1 - beta) * gamma


KNOBS = {"concept_scale": 0.8, "threshold": 0.3, "momentum_scale": 0.5, "momentum_beta": 0.7}


def second_step(f, sigma, kind, warm=True):
    """What a formula gives that finds the momentum that `second` stands for. `first` is the concept."""

    def call(p, w):
        state = remembering(wide(p.second))
        return f(p.cond, p.uncond, p.first, scale=w, state=state, sigma=sigma, kind=kind, warm=warm, **KNOBS)

    return call


def literally(sigma, kind, warm=True):
    return lambda s, w: literal(s.cond, s.uncond, s.first, w, sigma, kind, *KNOBS.values(), warm, s.second)[0]


def whole(name, sigma, kind, warm=True):
    def bare(p, w, concept, concept_scale):
        knobs = {"sigma": sigma, "kind": kind, "warm": warm, **KNOBS, "concept_scale": concept_scale}
        return g.safe_latent(p.cond, p.uncond, concept, scale=w, **knobs)

    reductions = (
        ("concept_scale 0", lambda p, w: bare(p, w, p.first, 0.0), plain),
        ("concept equal to uncond", lambda p, w: bare(p, w, p.uncond, 100.0), plain),
    )
    ours, theirs = second_step(g.safe_latent, sigma, kind, warm), literally(sigma, kind, warm)
    return Formula(name, ours, theirs, at=((0.0, uncond),), reductions=reductions)


def terms(name, sigma, kind):
    guided = literally(sigma, kind)
    return Formula(
        name,
        second_step(g.safe_latent_terms, sigma, kind),
        lambda s, w: guided(s, w) - oracle.cfg(s.cond, s.uncond, w),
        at=((0.0, zero),),
    )


FORMULAS = [
    whole("safe_latent ve", 2.0, "ve"),
    whole("safe_latent flow", 0.7, "flow"),
    whole("safe_latent, during the warm-up", 2.0, "ve", warm=False),
    terms("safe_latent_terms ve", 2.0, "ve"),
    terms("safe_latent_terms flow", 0.7, "flow"),
]

DEFAULTS = [
    Defaults(
        name,
        {"concept_scale": 1000.0, "threshold": 0.01, "momentum_scale": 0.3, "momentum_beta": 0.4, "warm": True},
    )
    for name in ("safe_latent", "safe_latent_terms")
]

# ---- The node


def preset(name, strength):
    return {"negative": Stand.NEGATIVE, "preset": {"preset": name}, "strength": strength}


CUSTOM = {
    "preset": "custom",
    "warmup": 0.1,
    "concept_scale": 5.0,  # more would magnify what the host rounds otherwise in a batch of another size
    "threshold": 0.0,
    "momentum_scale": 0.4,
    "momentum_beta": 0.6,
}
SETTINGS = [
    Setting(
        "sld",
        NODE,
        {"negative": Stand.NEGATIVE, "preset": CUSTOM, "strength": 1.0},
        lambda cfg: [
            {"strength": 0.0},
            {"strength": g.Steps((0.0,) * 6)},
            {"preset": {**CUSTOM, "concept_scale": 0.0}},
        ],
    ),
    Setting("sld_weak", NODE, preset("weak", 0.8)),
]

WORKFLOWS = [
    picture(
        "safe_latent_diffusion",
        "Safe Latent Diffusion (SLD)",
        "The concept is kept out only where the latent leans towards it, and only after the first fifth of the run, so "
        "the composition stays. Take weak for a hint of it, max where nothing of the concept may be left.",
        lambda load: azimuth(
            "SafeLatent",
            load,
            negative=text(load.out(1), "blood, violence, weapons, nudity", "Concept to keep away from"),
            preset="strong",
        ),
        "a knight resting in a sunlit clearing after the battle, oil painting",
        cfg=7.0,
    ),
]

# ---- The benchmark

seen = functools.cache(lambda p: remembering(p.second - p.first))


def timed(f, p, **more):
    return f(p.cond, p.uncond, p.first, scale=7.0, sigma=p.each, kind="ve", **more)


FUNCTIONS = [
    Function("safe_latent", lambda p: timed(g.safe_latent, p)),
    Function("safe_latent_terms, second step", lambda p: timed(g.safe_latent_terms, p, state=seen(p))),
]
RUNS = [
    Run("Safe Latent Diffusion, medium", Way(Node(NODE, preset("medium", 1.0)))),
    Run("Safe Latent Diffusion at strength 0", Way(Node(NODE, preset("medium", 0.0))), off=True),
]

# ---- The pictures

PICTURES = [
    Picture(
        "Safe Latent Diffusion",
        f"cfg {LOW:g}: away from 'pink', strong",
        LOW,
        (away_from_pink(NODE, preset="strong"),),
    ),
]
