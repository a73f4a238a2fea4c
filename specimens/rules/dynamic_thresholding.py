"""Dynamic Thresholding: mimic thresholding, and Imagen's for pixels."""

import functools

import numpy as np
import torch

import guidance as g

from .. import oracle
from ..kinds import Defaults, Formula, Function, Node, Picture, Row, Run, Setting, Way
from ..pictures import HIGH, LOW
from ..predictions import plain
from ..workflows import azimuth, picture

NODE = "AzimuthDynamicThresholding"
LINE = "a high weight's detail at a lower one's contrast"
TABLE = [
    Row(
        "Mimic thresholding",
        place="combine = D_b + w Δ with the range of D_b + m Δ",
        paper="none ([sd-dynamic-thresholding](https://github.com/mcmonkeyprojects/sd-dynamic-thresholding))",
        use="cfg 10 to 20 at the contrast of 5 to 8",
        passes="2",
        node=f"{NODE}: mimic",
        formula="rules/mimic_threshold",
    ),
    Row(
        "Imagen thresholding",
        place="correct = clip(D, −s, s)/s, s = max(1, quantile of abs D)",
        paper="2205.11487",
        use="pixel-space models only",
        passes="2",
        node=f"{NODE}: imagen",
        formula="corrections/dynamic_threshold",
    ),
]

# ---- The formulas, and once more literally


def literal_imagen(d, p):
    s = max(1.0, np.quantile(np.abs(d), p))
    return np.clip(d, -s, s) / s


def literal_mimic(c, u, w, m, p, separate, startpoint, measure, phi):
    """As the source does it: in both modes around the mean of each channel; jointly only what the range is."""
    M, G = (oracle.cfg(c, u, weight).reshape(len(c), -1) for weight in (m, w))
    mu_M, mu_G = M.mean(1, keepdims=True), G.mean(1, keepdims=True)
    Mc, Gc = M - mu_M, G - mu_G
    of = {"axis": 1, "keepdims": True} if separate else {}
    if measure == "ad":
        a_M, a_G = np.abs(Mc).max(**of), np.quantile(np.abs(Gc), p, **of)
    else:
        n = max((G.shape[1] if separate else G.size) - 1, 1)
        a_M, a_G = np.sqrt((Mc**2).sum(**of) / n), np.sqrt((Gc**2).sum(**of) / n)
    with np.errstate(invalid="ignore", divide="ignore"):
        if startpoint == "zero":
            whole = a_G
            R = G * (a_M / a_G)
        elif measure == "std":
            whole = a_G
            R = Gc / a_G * a_M + mu_G
        else:
            whole = np.maximum(a_M, a_G)
            R = np.clip(Gc, -whole, whole) / whole * a_M + mu_G
    R = np.where(whole > 0, R, G)  # ours: the source divides by 0
    return (phi * R + (1 - phi) * G).reshape(c.shape)


def drift(p, w, result):
    """How far the mean of each channel is from that of plain CFG."""
    apart = (result - plain(p, w)).flatten(2).mean(2)
    return apart / (1.0 + plain(p, w).flatten(2).abs().amax(2))


def within_one(t):
    return t.clamp(-1, 1)


def mimicking(percentile, per_channel, startpoint, measure, phi):
    knobs = {"percentile": percentile, "per_channel": per_channel, "startpoint": startpoint, "measure": measure}

    def ours(p, w, mimic_scale=2.5, phi=phi):
        return g.mimic_threshold(p.cond, p.uncond, scale=w, mimic_scale=mimic_scale, phi=phi, **knobs)

    reductions = [("phi 0", lambda p, w: ours(p, w, phi=0.0), plain)]
    if percentile == 1.0 and measure == "ad":
        reductions.append(("mimic_scale = scale", lambda p, w: ours(p, w, mimic_scale=w), plain))
    return Formula(
        f"mimic_threshold {startpoint} {measure} {percentile} {'channels' if per_channel else 'whole'}",
        ours,
        lambda s, w: literal_mimic(s.cond, s.uncond, w, 2.5, *knobs.values(), phi),
        reductions=tuple(reductions),
        laws=(("each channel keeps its mean", drift),) if startpoint == "mean" and percentile == 1.0 else (),
        # The quantile is float32 for every input.
        exact=1e-11 if percentile == 1.0 or measure == "std" else 1e-6,
    )


FORMULAS = [
    Formula(
        "dynamic_threshold",
        lambda p, w: g.dynamic_threshold(p.cond, percentile=0.9),
        lambda s, w: literal_imagen(s.cond, 0.9),
        reductions=(
            ("within 1", lambda p, w: g.dynamic_threshold(within_one(p.cond)), lambda p, w: within_one(p.cond)),
        ),
        exact=1e-6,
    ),
    mimicking(1.0, True, "mean", "ad", 1.0),
    mimicking(1.0, False, "mean", "ad", 0.7),
    mimicking(0.9, True, "mean", "ad", 1.0),
    mimicking(0.9, False, "mean", "ad", 0.7),
    mimicking(1.0, True, "zero", "ad", 1.0),
    mimicking(0.9, False, "zero", "ad", 0.7),
    mimicking(1.0, True, "mean", "std", 0.7),
    mimicking(1.0, False, "zero", "std", 1.0),
    mimicking(1.0, False, "mean", "std", 1.0),
]

DEFAULTS = [
    Defaults("dynamic_threshold", {"percentile": 0.995}),
    Defaults(
        "mimic_threshold",
        {"percentile": 1.0, "per_channel": True, "startpoint": "mean", "measure": "ad", "phi": 1.0},
    ),
]

# ---- The node

MIMIC = {
    "mode": "mimic",
    "mimic_scale": 3.0,
    "percentile": 0.99,
    "per_channel": True,
    "startpoint": "mean",
    "measure": "ad",
    "strength": 1.0,
}


def mimic_is_off(cfg):
    return [
        {"mimic_scale": cfg},
        {"strength": 0.0},
        {"mimic_scale": g.Linear(cfg, cfg)},
        {"mode": "imagen", "strength": 0.0},
    ]


SETTINGS = [
    Setting("mimic", NODE, MIMIC, mimic_is_off),
    Setting(
        "mimic_std", NODE, {**MIMIC, "measure": "std", "startpoint": "zero", "per_channel": False, "strength": 0.7}
    ),
    Setting("imagen", NODE, {**MIMIC, "mode": "imagen"}),
]

WORKFLOWS = [
    picture(
        "dynamic_thresholding",
        "Dynamic Thresholding",
        "The prompt is followed at cfg 15 while the contrast stays that of cfg 6. If the picture still looks "
        "burnt, lower mimic_scale; if it looks flat, raise the percentile to 1.",
        lambda load: azimuth("DynamicThresholding", load, mimic_scale=6.0),
        "a stained glass window with a blue heron among reeds, sunlight falling through",
        cfg=15.0,
    ),
]

# ---- The benchmark


def mimic(p, percentile=0.995, **knobs):
    return g.mimic_threshold(p.cond, p.uncond, scale=12.0, mimic_scale=6.0, percentile=percentile, **knobs)


def quantile_mimic(p, keep):
    """Mimic thresholding around the mean, by largest deviation, as it is written with torch.quantile.

    keep: 2 for the range of each channel, 1 for that of each sample.
    """
    guided = (p.uncond + (p.cond - p.uncond) * 12.0).flatten(2)
    lower = (p.uncond + (p.cond - p.uncond) * 6.0).flatten(2)
    mean = guided.mean(-1, keepdim=True)
    centred = guided - mean
    lower = lower - lower.mean(-1, keepdim=True)
    wanted = lower.abs().flatten(keep).amax(-1).view(*p.cond.shape[:keep], *[1] * (3 - keep))
    actual = torch.quantile(centred.abs().flatten(keep), 0.995, dim=-1).view_as(wanted)
    limit = torch.maximum(wanted, actual)
    return (centred.clamp(-limit, limit) / limit * wanted + mean).view_as(p.cond)


by_channel, by_sample = (functools.partial(quantile_mimic, keep=keep) for keep in (2, 1))
whole = functools.partial(mimic, per_channel=False)
FUNCTIONS = [
    Function("dynamic_threshold", lambda p: g.dynamic_threshold(p.cond)),
    Function("mimic_threshold", mimic),
    Function("mimic_threshold / torch.quantile", mimic, by_channel, limit=1 / 8),
    Function("mimic_threshold, whole sample", whole),
    Function("mimic_threshold, whole sample / torch.quantile", whole, by_sample, limit=1 / 8),
    Function("mimic_threshold, whole sample, 0.5", functools.partial(whole, percentile=0.5)),
    Function("mimic_threshold, percentile 1", functools.partial(mimic, percentile=1.0)),
    Function("mimic_threshold, std", functools.partial(mimic, measure="std")),
]


def run(name, mode, mimic_scale, off=False):
    inputs = {**MIMIC, "mode": mode, "mimic_scale": mimic_scale, "percentile": 0.995}
    return Run(name, Way(Node(NODE, inputs)), off=off)


RUNS = [
    run("Dynamic Thresholding, mimic", "mimic", 4.0),
    run("Dynamic Thresholding, imagen", "imagen", 4.0),
    run("Dynamic Thresholding at mimic = cfg", "mimic", 7.0, off=True),
]

# ---- The pictures

PICTURES = [
    Picture(
        "Dynamic Thresholding",
        f"cfg {HIGH:g} with the contrast of cfg {LOW:g}",
        HIGH,
        (Node(NODE, {"mode": "mimic", "mimic_scale": LOW}),),
        sheet=6,
    ),
]
