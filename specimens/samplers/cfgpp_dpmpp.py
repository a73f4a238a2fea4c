"""CFG++ for DPM-Solver++: the samplers 2M and 2S."""

import numpy as np

import guidance as g

from .. import oracle
from ..kinds import Defaults, Formula, Function, Helper, Node, Picture, Row, Run, Sampler, Way
from ..pictures import option
from ..predictions import plain
from ..workflows import picture, sampled_by, unchanged

NODE = "AzimuthCFGPPSampler"
LINE = "a SAMPLER: CFG++ with DPM++ 2M and 2S"
TABLE = [
    Row(
        "CFG++, DPM++ 2M",
        place="x' = a' (D_λ + (1 − e^−h)/(2r) (D_u − D_u before)) + (s'/s)(x − a D_u), λ the cfg",
        paper="2406.08070",
        use="CFG++ with a sampler of second order",
        passes="2",
        node=f"{NODE}: DPM++ 2M",
    ),
    Row(
        "CFG++, DPM++ 2S",
        place="middle by D_u alone; x' = a' D_λ + (s'/s)(x − a D_u) with both of the middle",
        paper="2406.08070",
        use="the same, with fresh noise",
        passes="4",
        node=f"{NODE}: DPM++ 2S ancestral",
    ),
]

# ---- The steps literally; 2M and 2S as the samplers write them, in VE coordinates


def in_ve(x, sigma, kind):
    """x = a x0 + s eps as the VE state x/a at the level s/a."""
    a, s = oracle.signal_noise(sigma, kind)
    return x / a, s / a


def from_ve(z, sigma, kind):
    return oracle.signal_noise(sigma, kind)[0] * z


def literal_step(x, clean, noisy, sigma, sigma_next, kind):
    a, s = oracle.signal_noise(sigma, kind)
    a_next, s_next = oracle.signal_noise(sigma_next, kind)
    return a_next * clean + s_next * (x - a * noisy) / s


def literal_2m(x, guided, uncond, before, sigmas, kind, mixed):
    z, here = in_ve(x, sigmas[1], kind)
    h_last = np.log(in_ve(x, sigmas[0], kind)[1] / here)
    h = np.log(here / in_ve(x, sigmas[2], kind)[1])
    r = h_last / h
    current = guided if mixed else uncond
    z = guided - np.exp(-h) * uncond - np.expm1(-h) / (2 * r) * (current - before) + np.exp(-h) * z
    return from_ve(z, sigmas[2], kind)


def literal_2s_middle(x, guided, uncond, sigma, sigma_middle, kind, mixed):
    z, here = in_ve(x, sigma, kind)
    half = np.log(here / in_ve(x, sigma_middle, kind)[1])
    if mixed:
        z = np.exp(-half) * (z + guided - uncond) - np.expm1(-half) * guided
    else:
        z = np.exp(-half) * z - np.expm1(-half) * uncond
    return from_ve(z, sigma_middle, kind)


def literal_2s_end(x, guided, guided_middle, uncond_middle, sigma, sigma_next, kind, mixed):
    z, here = in_ve(x, sigma, kind)
    h = np.log(here / in_ve(x, sigma_next, kind)[1])
    if mixed:
        z = np.exp(-h) * (z + guided - uncond_middle) - np.expm1(-h) * guided_middle
    else:
        z = guided_middle - np.exp(-h) * uncond_middle + np.exp(-h) * z
    return from_ve(z, sigma_next, kind)


def literal_renoise(x, noise, down, sigma_next, kind):
    z, low = in_ve(x, down, kind)
    high = in_ve(x, sigma_next, kind)[1]
    return from_ve(z + np.sqrt(high**2 - low**2) * noise, sigma_next, kind)


# ---- The formulas: `first` is the noisy latent, and the number per sample is lambda

LEVELS = {"ve": (3.1, 2.0, 1.2), "flow": (0.9, 0.7, 0.45)}  # of the step before, of this one, of the next


def stepping(name, ours, theirs, reductions):
    return Formula(name, ours, theirs, reductions=reductions, scales=(0.0, 1.0))


def guided(s, w):
    return oracle.cfg(s.cond, s.uncond, w)


def first_order(kind):
    _, sigma, after = LEVELS[kind]

    def ours(p, w, sigma_next=after):
        return g.cfgpp_step(p.first, plain(p, w), p.uncond, sigma=sigma, sigma_next=sigma_next, kind=kind)

    return stepping(
        f"cfgpp_step {kind}",
        ours,
        lambda s, w: literal_step(s.first, guided(s, w), s.uncond, sigma, after, kind),
        (("to 0", lambda p, w: ours(p, w, 0.0), plain),),
    )


def two_m(kind, mixed):
    before, sigma, after = LEVELS[kind]

    def ours(p, w, sigma_before=before, sigma_next=after):
        step = {"sigma_before": sigma_before, "sigma": sigma, "sigma_next": sigma_next}
        return g.cfgpp_2m(p.first, plain(p, w), p.uncond, p.second, kind=kind, mixed=mixed, **step)

    uncorrected = first_order(kind).call
    reductions = [
        ("to 0", lambda p, w: ours(p, w, sigma_next=0.0), plain),
        ("first step", lambda p, w: ours(p, w, sigma_before=sigma), uncorrected),
    ]
    if kind == "flow":
        reductions.append(("second step", lambda p, w: ours(p, w, sigma_before=1.0), uncorrected))
    return stepping(
        f"cfgpp_2m {kind}{', mixed' if mixed else ''}",
        ours,
        lambda s, w: literal_2m(s.first, guided(s, w), s.uncond, s.second, LEVELS[kind], kind, mixed),
        tuple(reductions),
    )


def two_s_middle(kind, mixed):
    _, sigma, middle = LEVELS[kind]
    to = {"sigma": sigma, "kind": kind}

    def clean(p, w):
        return g.cfgpp_step(p.first, plain(p, w) if mixed else p.uncond, p.uncond, sigma_next=middle, **to)

    def ours(p, w):
        return g.cfgpp_2s_middle(p.first, plain(p, w), p.uncond, sigma_middle=middle, mixed=mixed, **to)

    return stepping(
        f"cfgpp_2s_middle {kind}{', mixed' if mixed else ''}",
        ours,
        lambda s, w: literal_2s_middle(s.first, guided(s, w), s.uncond, sigma, middle, kind, mixed),
        (("one step", ours, clean),),
    )


def two_s_end(kind, mixed):
    """`second` is what was guided at the beginning."""
    _, sigma, after = LEVELS[kind]

    def ours(p, w, sigma_next=after):
        to = {"sigma": sigma, "sigma_next": sigma_next, "kind": kind, "mixed": mixed}
        return g.cfgpp_2s_end(p.first, p.second, plain(p, w), p.uncond, **to)

    return stepping(
        f"cfgpp_2s_end {kind}{', mixed' if mixed else ''}",
        ours,
        lambda s, w: literal_2s_end(s.first, s.second, guided(s, w), s.uncond, sigma, after, kind, mixed),
        (("to 0", lambda p, w: ours(p, w, 0.0), plain),),
    )


def renoise(kind):
    """`first` is the noise, what was guided the state at the lower level."""
    _, sigma, down = LEVELS[kind]

    def ours(p, w, sigma_down=down):
        return g.renoise(plain(p, w), p.first, sigma_down=sigma_down, sigma_next=sigma, kind=kind)

    return stepping(
        f"renoise {kind}",
        ours,
        lambda s, w: literal_renoise(guided(s, w), s.first, down, sigma, kind),
        (("from the level itself", lambda p, w: ours(p, w, sigma), plain),),
    )


FORMULAS = [
    *(first_order(kind) for kind in LEVELS),
    *(row(kind, mixed) for row in (two_m, two_s_middle, two_s_end) for kind in LEVELS for mixed in (False, True)),
    *(renoise(kind) for kind in LEVELS),
]

DEFAULTS = [
    *(Defaults(name, {"mixed": False}) for name in ("cfgpp_2m", "cfgpp_2s_middle", "cfgpp_2s_end")),
    Defaults("renoise", {"s_noise": 1.0}),
]
HELPERS = [Helper("middle_sigma")]

# ---- The node

TWO_S_ANCESTRAL = {"method": "DPM++ 2S ancestral", "eta": 1.0, "s_noise": 1.0}
SAMPLERS = [
    Sampler("CFG++ Sampler: DPM++ 2M", NODE, {"form": "official", "method": {"method": "DPM++ 2M"}}),
    Sampler("CFG++ Sampler: DPM++ 2S", NODE, {"form": "official", "method": TWO_S_ANCESTRAL}),
]

WORKFLOWS = [
    picture(
        "cfg_plus_plus_sampler",
        "CFG++ with DPM++ 2M",
        "The guider's cfg is lambda here, 0.4 to 0.8: 0.6 is about cfg 7.5. For pictures that stay as they are from "
        "one number of steps to another use a plain cfg instead: with CFG++ more steps mean more guidance.",
        unchanged,
        "a fox asleep among fallen leaves, macro photograph, soft light",
        sample=sampled_by(NODE, method="DPM++ 2M", form="official"),
        cfg=0.6,
        scheduler="karras",
        steps=25,
    ),
]

# ---- The benchmark

FUNCTIONS = [
    Function(
        "cfgpp_step",
        lambda p: g.cfgpp_step(p.x, p.cond, p.uncond, sigma=2.0, sigma_next=1.2, kind="ve"),
        limit=5.0,
    ),
    Function(
        "cfgpp_2m",
        lambda p: g.cfgpp_2m(p.x, p.cond, p.uncond, p.first, sigma_before=3.0, sigma=2.0, sigma_next=1.2, kind="ve"),
    ),
    Function(
        "cfgpp_2s_middle",
        lambda p: g.cfgpp_2s_middle(p.x, p.cond, p.uncond, sigma=2.0, sigma_middle=1.5, kind="ve"),
        limit=5.0,
    ),
    Function(
        "cfgpp_2s_end",
        lambda p: g.cfgpp_2s_end(p.x, p.first, p.cond, p.uncond, sigma=2.0, sigma_next=1.2, kind="ve"),
        limit=5.0,
    ),
    Function(
        "renoise", lambda p: g.renoise(p.x, p.second, sigma_down=1.0, sigma_next=1.2, kind="ve", s_noise=1.0), limit=5.0
    ),
]


def run(method, host, **options):
    sampler = Node(NODE, {"form": "official", "method": {"method": method, **options}})
    return Run(f"CFG++ Sampler, {method}", Way(sampler=sampler, cfg=0.6), Way(sampler=host, cfg=0.6))


RUNS = [
    run("DPM++ 2M", "dpmpp_2m_cfg_pp"),
    run("DPM++ 2S ancestral", "dpmpp_2s_ancestral_cfg_pp", eta=1.0, s_noise=1.0),
]

# ---- The pictures

TWO_M = Node(NODE, {"method": "DPM++ 2M"})
TWO_S = Node(NODE, option("method", "DPM++ 2S ancestral", eta=1.0, s_noise=1.0))
PICTURES = [
    Picture("CFG++ Sampler", "DPM++ 2M, lambda 0.6", 0.6, sampler=TWO_M),
    Picture("CFG++ Sampler", "DPM++ 2S ancestral, lambda 0.6", 0.6, sampler=TWO_S),
]
