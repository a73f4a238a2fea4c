"""Scheduled CFG: the weight of the prompt, step by step, and what is stacked on it."""

import guidance as g

from ..kinds import Node, Picture, Recipe, Row, Run, Setting, Stand, Way
from ..pictures import HIGH, LOW
from ..workflows import FLAWS, SD3, SDXL, azimuth, canvas, checkpoint, ksampler, picture, prompts, saved, schedule

NODE = "AzimuthScheduledCFG"
LINE = "the guidance weight, step by step"
TABLE = [
    Row(
        "Weight per run or window",
        place="w = w(p)",
        paper="",
        use="another weight than the sampler's, or for part of the run",
        passes="2; 1 where w = 1",
        node=NODE,
        formula="strength/schedule",
    ),
    Row(
        "Limited interval",
        place="w inside start ≤ p < end or σ_lo < σ ≤ σ_hi, else 1",
        paper="2404.07724",
        use="speed; quality and variety at a higher weight",
        passes="2 inside, 1 outside",
        node=f"{NODE}, or AzimuthSchedule: interval, sigma interval",
        formula="strength/schedule",
    ),
]

# ---- The node


def weight(scale, start=0.0, end=1.0):
    return {"scale": scale, "start": start, "end": end, "outside": "weight 1"}


SETTINGS = [
    Setting(
        "scheduled_cfg",
        NODE,
        weight(g.Linear(9.0, 2.0)),
        lambda cfg: [
            {"scale": cfg},
            {"scale": g.Linear(cfg, cfg)},
            {"scale": 8.0, "start": 0.4, "end": 0.4, "outside": "sampler cfg"},
        ],
    ),
]

# ---- The workflows


def two_passes() -> Recipe:
    load = checkpoint(SDXL)
    pair = prompts(load.out(1), "a lighthouse on a rocky coast at dusk, long exposure, soft waves", FLAWS)
    scheduled = azimuth("ScheduledCFG", load, scale=schedule("linear", first=4.0, last=12.0))
    first = ksampler(azimuth("AngleDomain", scheduled), *pair, canvas(), cfg=8.0, title="KSampler, first pass")
    larger = Node("LatentUpscaleBy", {"samples": first, "upscale_method": "bislerp", "scale_by": 1.5})
    thresholded = azimuth("DynamicThresholding", scheduled, mimic_scale=6.0)
    second = ksampler(thresholded, *pair, larger, cfg=8.0, steps=20, denoise=0.5, title="KSampler, second pass")
    return Recipe(
        "stack_schedule_adg_thresholding",
        "Schedule, ADG and thresholding",
        "Both passes take their weight from one schedule; Angle Domain Guidance shapes the first and Dynamic "
        "Thresholding the second, larger one. The two are rival rules for one step and refuse to share a "
        "MODEL, so give each its own pass.",
        (saved(second, load.out(2)),),
    )


WORKFLOWS = [
    picture(
        "scheduled_cfg",
        "Scheduled CFG",
        "The weight rises from 2 to 12 over the run: loose composition first, firm detail last. Choose "
        "another shape in Guidance Schedule, or unlink it and type one number.",
        lambda load: azimuth("ScheduledCFG", load, scale=schedule("linear", first=2.0, last=12.0)),
        "a quiet harbour at sunrise, fishing boats, mist over the water, oil painting",
        cfg=7.0,
    ),
    picture(
        "guidance_interval",
        "Guidance interval",
        "Guidance acts from 15 % to 75 % of the run and is off elsewhere, which keeps variety and skips four "
        "in ten negative passes. Inside the interval the weight can be higher than usual: try 8 to 12.",
        lambda load: azimuth("ScheduledCFG", load, scale=9.0, start=0.15, end=0.75),
        "a red fox resting in fresh snow, morning light, wildlife photograph",
        cfg=7.0,
    ),
    two_passes(),
    picture(
        "flow_sd3_scheduled_cfg",
        "Scheduled CFG on SD3.5",
        "Flow models want lower weights, 3.5 to 5, and gain most from leaving out the very first and the "
        "last steps. Inside that interval Angle Domain Guidance keeps the colours calm.",
        lambda load: azimuth(
            "AngleDomain",
            azimuth("ScheduledCFG", load, scale=schedule("interval", inside=5.0, outside=1.0, start=0.05, end=0.85)),
        ),
        "a glass teapot with blooming tea on a linen cloth, bright kitchen, photograph",
        **SD3,
        sampler_name="euler",
        cfg=4.5,
        steps=28,
    ),
]

# ---- The benchmark


def run(name, *values, off=False):
    return Run(name, Way(Node(NODE, weight(*values))), off=off)


INTERVAL = (7.0, 0.2, 0.8)
THRESHOLD = {"mode": "imagen", "mimic_scale": 4.0, "percentile": 0.995, "per_channel": True, "startpoint": "mean"}
STACK = (
    Node(NODE, weight(*INTERVAL)),
    Node(
        "AzimuthNegativeGuidance",
        {"negative": Stand.NEGATIVE, "mode": "perpendicular", "weight": 1.0, "start": 0.0, "end": 1.0},
    ),
    Node("AzimuthAngleDomain", {"max_angle": 60.0, "mode": "paper", "strength": 1.0}),
    Node("AzimuthDynamicThresholding", {**THRESHOLD, "measure": "ad", "strength": 1.0}),
)
RUNS = [
    run("Scheduled CFG at the sampler's cfg", 7.0, off=True),
    run("Scheduled CFG at the sampler's cfg, from a schedule", g.Linear(7.0, 7.0), off=True),
    run("Scheduled CFG at weight 1", 1.0),
    run("Scheduled CFG, interval 0.2 to 0.8", *INTERVAL),
    Run("interval + negative + ADG + imagen", Way(STACK)),
]

# ---- The pictures


def scheduled(shape, **values):
    return (Node(NODE, {"scale": schedule(shape, **values)}),)


PICTURES = [
    Picture(
        "Scheduled CFG",
        f"cfg {HIGH:g} in the middle half, else 1",
        HIGH,
        (Node(NODE, {"scale": HIGH, "start": 0.25, "end": 0.75}),),
        sheet=3,
    ),
    Picture(
        "Scheduled CFG",
        f"triangle, cfg {HIGH:g} on average",
        HIGH,
        scheduled("triangle", mean=HIGH, low=1.0),
        sheet=4,
    ),
    Picture(
        "Compress Guidance",
        f"cfg {LOW:g} on average, in half of the steps",
        HIGH,
        scheduled("compressed", scale=LOW, share=0.5, exponent=1.0),
    ),
    Picture("C2FG", f"exponential from cfg {LOW:g}, rate 0.8", HIGH, scheduled("exponential", scale=LOW, rate=0.8)),
    Picture(
        "CFG truncation",
        f"cfg {HIGH:g} in the first 0.3 of the steps, then 1",
        HIGH,
        scheduled("interval", inside=HIGH, outside=1.0, start=0.0, end=0.3),
    ),
]
