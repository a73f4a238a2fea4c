"""Negative Guidance: a further negative, composed, as a NOT, perpendicular (Perp-Neg), or as a part of the baseline."""

import numpy as np
import torch

import guidance as g

from .. import laws, oracle
from ..kinds import Formula, Function, Node, Picture, Recipe, Row, Run, Setting, Stand, Way
from ..pictures import LOW, away_from_pink
from ..predictions import first, plain, uncond, update, zeros
from ..workflows import FLAWS, azimuth, canvas, picture, prompts, sampled_by, saved, schedule, text

NODE = "AzimuthNegativeGuidance"
LINE = "a further negative with weight and window"
TABLE = [
    Row(
        "Partial negative",
        place="D_b with 0 < ν < 1",
        paper="",
        use="a negative that is too strong",
        passes="3",
        node=f"{NODE}: partial",
        formula="negatives/partial_negative",
    ),
    Row(
        "Delayed negative",
        place="ν = 1 for 0.17 ≤ p < 0.5, else 0",
        paper="2406.02965",
        use="a negative that must not change the layout",
        passes="2",
        node=f"{NODE}: partial with a window",
        formula="negatives/partial_negative",
    ),
    Row(
        "Composed negative",
        place="T = − w_n (D_n − D_b)",
        paper="2206.01714",
        use="a further negative with its own strength",
        passes="+ 1 each",
        node=f"{NODE}: compose",
        formula="negatives/compose",
    ),
    Row(
        "NOT",
        place="T = − w ν (D_n − D_b); ν = 1: D_b + w (D_c − D_n)",
        paper="2206.01714",
        use="a negative that follows the weight of the prompt, also along a schedule",
        passes="+ 1 each",
        node=f"{NODE}: not",
        formula="negatives/compose",
    ),
    Row(
        "Signed guidance",
        place="T = − w_n (D_n − D_b)",
        paper="2510.26052",
        use="the composed negative under another name",
        passes="+ 1 each",
        node=f"{NODE}: compose",
        formula="negatives/compose",
    ),
    Row(
        "Perp-Neg",
        place="T = − w b perp(D_n − D_b), perp: without its part along Δ",
        paper="2304.04968",
        use="a negative that overlaps with the prompt",
        passes="+ 1 each",
        node=f"{NODE}: perpendicular",
        formula="negatives/perp_neg",
    ),
]

# ---- The formulas, and once more literally


def literal_compose(c, u, negatives, w, weights):
    out = oracle.cfg(c, u, w)
    for n, b in zip(negatives, weights, strict=True):
        out = out - b * (n - u)
    return out


def literal_perp_neg(c, u, negatives, w, weights):
    p = c - u
    inner = p.copy()
    for n, b in zip(negatives, weights, strict=True):
        inner -= b * perpendicular(n - u, p)
    return u + w * inner


def perpendicular(a, p):
    square = np.vdot(p, p)
    return a if square == 0 else a - np.vdot(a, p) / square * p


def compose(p, w, negatives, weights):
    return g.compose(p.cond, p.uncond, negatives, scale=w, weights=weights)


def negative_terms(p, w, negatives, weights):
    return g.negative_terms(p.uncond, negatives, weights=weights)


def perp_neg(p, w, negatives, weights):
    return g.perp_neg(p.cond, p.uncond, negatives, scale=w, weights=weights)


def perp_terms(p, w, negatives, weights):
    return g.perp_terms(p.cond, p.uncond, negatives, weights=weights)


WEIGHTS = (0.7, -0.4)


def gone(f, rule):
    """What is left of a rule when its negatives are absent, weightless, or equal to the empty prompt."""

    def weightless(p):
        return torch.zeros(p.cond.shape[0])

    return (
        ("no negatives", lambda p, w: f(p, w, [], []), rule),
        ("weights 0", lambda p, w: f(p, w, p.negatives, [0.0, 0]), rule),
        ("tensors of weights 0", lambda p, w: f(p, w, p.negatives, [weightless(p)] * 2), rule),
        ("negatives equal to uncond", lambda p, w: f(p, w, [p.uncond, p.uncond], WEIGHTS), rule),
    )


def weighted(f):
    """The weight of the first negative as the number per sample."""
    return lambda p, w: f(p, 3.0, p.negatives, [w, WEIGHTS[1]])


FORMULAS = [
    Formula(
        "compose",
        lambda p, w: compose(p, w, p.negatives, WEIGHTS),
        lambda s, w: literal_compose(s.cond, s.uncond, s.negatives, w, WEIGHTS),
        reductions=gone(compose, plain),
    ),
    Formula(
        "compose, weight per sample",
        weighted(compose),
        lambda s, w: literal_compose(s.cond, s.uncond, s.negatives, 3.0, (w, WEIGHTS[1])),
    ),
    Formula(
        "negative_terms",
        weighted(negative_terms),
        lambda s, w: literal_compose(s.uncond, s.uncond, s.negatives, 0.0, (w, WEIGHTS[1])) - s.uncond,
        reductions=gone(negative_terms, zeros),
    ),
    Formula(
        "perp_neg",
        lambda p, w: perp_neg(p, w, p.negatives, WEIGHTS),
        lambda s, w: literal_perp_neg(s.cond, s.uncond, s.negatives, w, WEIGHTS),
        reductions=gone(perp_neg, plain),
        laws=(("what negatives add is orthogonal to the update", laws.across(update, plain)),),
    ),
    Formula(
        "perp_terms",
        weighted(perp_terms),
        lambda s, w: literal_perp_neg(s.cond, s.uncond, s.negatives, 1.0, (w, WEIGHTS[1])) - s.cond,
        reductions=gone(perp_terms, zeros),
        laws=(("orthogonal to the update", laws.across(update, zeros)),),
    ),
    Formula(
        "partial_negative",
        lambda p, w: g.partial_negative(p.uncond, p.first, strength=w),
        lambda s, w: (1 - w) * s.uncond + w * s.first,
        at=((1.0, first), (0.0, uncond)),
        scales=(0.0, 1.0),
    ),
]

# ---- The node


def acting(mode, weight):
    return {"negative": Stand.NEGATIVE, "mode": mode, "weight": weight, "start": 0.0, "end": 1.0}


SETTINGS = [
    Setting(
        "compose",
        NODE,
        acting("compose", 1.5),
        lambda cfg: [
            {"weight": 0.0},
            {"start": 0.4, "end": 0.4},
            {"weight": g.Steps((0.0,) * 6), "mode": "partial"},
            {"weight": 0.0, "mode": "perpendicular"},
        ],
    ),
    Setting("perpendicular", NODE, acting("perpendicular", 1.5)),
    Setting("partial", NODE, acting("partial", 0.5), ranges={"weight": (0.0, 1.0)}),
    Setting("negated", NODE, acting("not", 0.5), lambda cfg: [{"weight": 0.0}, {"start": 0.4, "end": 0.4}]),
]


def against(model, clip, words, title="Further negative", **inputs):
    return azimuth("NegativeGuidance", model, negative=text(clip, words, title), **inputs)


def two_chained(load):
    one = against(load, load.out(1), "bananas, citrus", "First further negative")
    return against(one, load.out(1), "plastic, glossy, studio flash", "Second further negative", weight=0.7, start=0.2)


def negated(load):
    scheduled = azimuth("ScheduledCFG", load, scale=schedule("linear", first=9.0, last=4.0))
    return against(scheduled, load.out(1), "people, crowd", mode="not", weight=0.5)


def chroma():
    unet = Node(
        "UNETLoader",
        {"unet_name": "Chroma1-HD-fp8mixed.safetensors", "weight_dtype": "default"},
        size=(380, 0),
    )
    clip = Node("CLIPLoader", {"clip_name": "t5xxl_fp8_e4m3fn_scaled.safetensors", "type": "chroma"}, size=(380, 0))
    vae = Node("VAELoader", {"vae_name": "ae.safetensors"}, size=(380, 0))
    scheduled = azimuth("ScheduledCFG", unet, scale=schedule("cosine", first=5.0, last=2.5))
    sampler = sampled_by("KSamplerSelect", sampler_name="euler")(
        against(scheduled, clip, "plastic skin, 3d render", weight=0.8),
        *prompts(clip, "a gardener among tall sunflowers, film photograph, late light", FLAWS),
        canvas("EmptySD3LatentImage"),
        cfg=4.0,
        scheduler="beta",
        steps=26,
    )
    return Recipe(
        "flow_chroma_negative_guidance",
        "Negative Guidance on Chroma",
        "Chroma is a flow model of the Flux family with a real negative prompt, so every Azimuth node works "
        "on it; here the weight falls from 5 to 2.5 while a second negative keeps its own strength. For "
        "Flux-dev itself, which is distilled and has no negative pass, leave cfg at 1.",
        (saved(sampler, vae),),
    )


WORKFLOWS = [
    picture(
        "negative_guidance",
        "Negative Guidance, two chained",
        "Each further negative has its own weight and window, so one strong word does not weaken the others. "
        "Perpendicular mode removes only what the prompt itself does not ask for; the second begins after a "
        "fifth of the run.",
        two_chained,
        "a bowl of fruit on a wooden table, soft window light, still life photograph",
        cfg=7.0,
    ),
    picture(
        "negative_guidance_not",
        "Negative Guidance, NOT",
        "The prompt AND NOT the further negative: weight 0.5 is half as strong as the prompt at every step, so it "
        "follows the falling cfg. Raise it towards 1 where the word still shows.",
        negated,
        "a seaside promenade with striped deck chairs on a summer afternoon, photograph",
        cfg=7.0,
    ),
    chroma(),
]

# ---- The benchmark


def timed(f, number):
    """A rule with so many negatives."""
    return lambda p: f(p, 7.0, [p.first, p.second][:number], [1.0, 2.0][:number])


FUNCTIONS = [
    Function("compose, 1 negative", timed(compose, 1)),
    Function("compose, 2 negatives", timed(compose, 2)),
    Function("negative_terms", timed(negative_terms, 1)),
    Function("partial_negative", lambda p: g.partial_negative(p.uncond, p.first, strength=0.5)),
    Function("perp_neg, 1 negative", timed(perp_neg, 1)),
    Function("perp_neg, 2 negatives", timed(perp_neg, 2)),
    Function("perp_neg / host's Perp-Neg", timed(perp_neg, 1), "host.perp_neg", limit=1.0),
    Function("perp_terms", timed(perp_terms, 1)),
]


def run(name, mode, weight, **more):
    return Run(name, Way(Node(NODE, acting(mode, weight))), **more)


RUNS = [
    run("Negative Guidance, perpendicular", "perpendicular", 1.0, host=Way(guider="Perp-Neg")),
    run("Negative Guidance, compose", "compose", 1.0),
    run("Negative Guidance, partial 0.5", "partial", 0.5),
    run("Negative Guidance, partial 1", "partial", 1.0),
    run("Negative Guidance at weight 0", "perpendicular", 0.0, off=True),
    run("Negative Guidance, not", "not", 0.5),
]

# ---- The pictures

PICTURES = [
    Picture(
        "Negative Guidance",
        f"cfg {LOW:g}: perpendicular to 'pink', weight 0.5",
        LOW,
        (away_from_pink(NODE, weight=0.5),),
        sheet=5,
    ),
    Picture(
        "Negative Guidance",
        f"cfg {LOW:g}: not 'pink', weight 0.5",
        LOW,
        (away_from_pink(NODE, mode="not", weight=0.5),),
    ),
]
