"""Every node that changes sampling: settings under which it acts, and all the settings that switch it off.

A new node is a new row here; the tests of the promises go through this list.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from azimuth import guidance
from azimuth.nodes import angle_domain, apg, cfgpp, dynamic_thresholding, negative_guidance, scheduled_cfg
from tiny import run_node, text


@dataclass(frozen=True)
class Method:
    """`acting` and each of `neutral(cfg)` are the node's inputs; a neutral setting may depend on the sampler's cfg."""

    name: str
    node: type
    acting: dict
    neutral: Callable[[float], list[dict]] = field(default=lambda cfg: [])

    def on(self, patched, **changes):
        return run_node(self.node, patched, **{**self.acting, **changes})

    def off(self, patched, cfg):
        return [self.on(patched, **changes) for changes in self.neutral(cfg)]


NEGATIVE = {"negative": text(3), "mode": "compose", "weight": 1.5, "start": 0.0, "end": 1.0}
MIMIC = {
    "mode": "mimic",
    "mimic_scale": 3.0,
    "percentile": 0.99,
    "per_channel": True,
    "startpoint": "mean",
    "measure": "ad",
    "strength": 1.0,
}


def negative_is_off(cfg):
    return [
        {"weight": 0.0},
        {"start": 0.4, "end": 0.4},
        {"weight": guidance.Steps((0.0,) * 6), "mode": "partial"},
        {"weight": 0.0, "mode": "perpendicular"},
    ]


METHODS = [
    Method(
        "scheduled_cfg",
        scheduled_cfg.ScheduledCFG,
        {"scale": guidance.Linear(9.0, 2.0), "start": 0.0, "end": 1.0, "outside": "weight 1"},
        lambda cfg: [
            {"scale": cfg},
            {"scale": guidance.Linear(cfg, cfg)},
            {"scale": 8.0, "start": 0.4, "end": 0.4, "outside": "sampler cfg"},
        ],
    ),
    Method("compose", negative_guidance.NegativeGuidance, NEGATIVE, negative_is_off),
    Method("perpendicular", negative_guidance.NegativeGuidance, {**NEGATIVE, "mode": "perpendicular"}),
    Method("partial", negative_guidance.NegativeGuidance, {**NEGATIVE, "mode": "partial", "weight": 0.5}),
    Method(
        "mimic",
        dynamic_thresholding.DynamicThresholding,
        MIMIC,
        lambda cfg: [
            {"mimic_scale": cfg},
            {"strength": 0.0},
            {"mimic_scale": guidance.Linear(cfg, cfg)},
            {"mode": "imagen", "strength": 0.0},
        ],
    ),
    Method(
        "mimic_std",
        dynamic_thresholding.DynamicThresholding,
        {**MIMIC, "measure": "std", "startpoint": "zero", "per_channel": False, "strength": 0.7},
    ),
    Method("imagen", dynamic_thresholding.DynamicThresholding, {**MIMIC, "mode": "imagen"}),
    Method("cfgpp", cfgpp.CFGPlusPlus, {"lam": 0.6, "limit": 30.0}),
    Method(
        "adg",
        angle_domain.AngleDomain,
        {"max_angle": 60.0, "mode": "paper", "strength": 1.0},
        lambda cfg: [{"strength": 0.0}],
    ),
    Method("rotation", angle_domain.AngleDomain, {"max_angle": 30.0, "mode": "exact rotation", "strength": 0.8}),
    Method(
        "apg",
        apg.AdaptiveProjected,
        {"preset": {"preset": "SDXL"}, "strength": 1.0},
        lambda cfg: [
            {"strength": 0.0},
        ],
    ),
    Method(
        "apg_custom",
        apg.AdaptiveProjected,
        {"preset": {"preset": "custom", "eta": 0.2, "norm_threshold": 0.0, "momentum": -0.75}, "strength": 0.8},
    ),
]
BY_NAME = {method.name: method for method in METHODS}


def stack(patched, *names):
    """The MODEL with several methods, wired in this order."""
    for name in names:
        patched = BY_NAME[name].on(patched)
    return patched
