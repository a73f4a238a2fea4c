"""Guidance Schedule: a number that changes over the run."""

from ..kinds import Defaults, Row
from ..workflows import SD3, azimuth, picture, schedule

NODE = "AzimuthSchedule"
LINE = "a number that changes over the run, for any node's input"
TABLE = [
    Row(
        "Linear, cosine, power",
        place="w = first + (last − first) f(p)",
        paper="2404.13040",
        use="rising as the paper recommends, or falling as is common practice",
        passes="2",
        node=NODE,
    ),
    Row(
        "Stage-wise",
        place="w = low, high, low; mean kept",
        paper="2509.22007",
        use="flow models (SD3.5) at weights above their usual one",
        passes="2",
        node=f"{NODE}: triangle",
    ),
    Row(
        "Beta",
        place="w = max(floor, w₀ Beta(p; a, b))",
        paper="2502.10574",
        use="a smooth hump, highest after a third of the run at a = 2, b = 3",
        passes="2",
        node=f"{NODE}: beta",
    ),
    Row(
        "Exponential (C2FG)",
        place="w = w₀ exp(λ (1 − t)), t the noise level",
        paper="2603.08155",
        use="a weight that follows the noise level, also in image-to-image",
        passes="2",
        node=f"{NODE}: exponential",
    ),
    Row(
        "Compress Guidance",
        place="w = 1 + (w₀ − 1) N/n at n of N steps, else 1",
        paper="2408.11194",
        use="speed, with the guidance of a whole run",
        passes="2 at n steps, else 1",
        node=f"{NODE}: compressed",
    ),
    Row(
        "CFG truncation",
        place="w for p < r, then 1",
        paper="2405.15330",
        use="speed on flow models (Lumina 2: r 0.25)",
        passes="2, then 1",
        node=f"{NODE}: interval",
    ),
    Row(
        "Curve, list, constant",
        place="w = what you draw or write",
        paper="",
        use="full control",
        passes="2; 1 where w = 1",
        node=NODE,
    ),
]

DEFAULTS = [
    Defaults("Beta", {"a": 2.0, "b": 3.0, "floor": 1.0}),
    Defaults("Compressed", {"exponent": 1.0, "values": ()}),
    Defaults("Curve", {"low": 1.0, "high": 7.0, "smooth": True}),
    Defaults("Exponential", {"units": "edm"}),
    Defaults("Interval", {"outside": 1.0, "start": 0.0, "end": 1.0}),
    Defaults("SigmaInterval", {"outside": 1.0, "sigma_low": 0.28, "sigma_high": 5.42, "units": "edm"}),  # SDXL's
    Defaults("Triangle", {"low": 1.0, "values": (), "over": "steps"}),
]

WORKFLOWS = [
    picture(
        "compress_guidance",
        "Compress Guidance",
        "Four steps in ten are guided, at a weight raised so that the mean over the run stays 4; the others make no "
        "negative pass. If the picture burns, add APG, or raise share; a larger exponent puts most of them first.",
        lambda load: azimuth("ScheduledCFG", load, scale=schedule("compressed", scale=4.0, share=0.4, exponent=1.0)),
        "an otter floating on its back among kelp, overcast light, wildlife photograph",
        cfg=4.0,
        steps=30,
    ),
    picture(
        "flow_sd3_c2fg_schedule",
        "C2FG",
        "The weight grows exponentially as the noise falls: 3 at pure noise, 6.7 where none is left. Raise rate for "
        "more detail at the same layout; rate 0 is the constant 3.",
        lambda load: azimuth("ScheduledCFG", load, scale=schedule("exponential", scale=3.0, rate=0.8)),
        "an apothecary's cabinet with labelled drawers and dried herbs, window light, photograph",
        **SD3,
        sampler_name="euler",
        cfg=4.5,
        steps=28,
    ),
    picture(
        "flow_sd3_cfg_truncation",
        "CFG truncation",
        "Guidance decides the layout in the first 40 % of the steps and is off after them: six negative passes in ten "
        "are saved. Raise end if details drift from the prompt; the model card of Lumina 2 takes 0.25.",
        lambda load: azimuth(
            "ScheduledCFG", load, scale=schedule("interval", inside=4.5, outside=1.0, start=0.0, end=0.4)
        ),
        "a row of beach huts under a thundercloud, wet sand with reflections, photograph",
        **SD3,
        sampler_name="euler",
        cfg=4.5,
        steps=28,
    ),
]
