"""Skip Layer Guidance (SLG), Spatiotemporal Skip Guidance (STG) and S2-Guidance, all of which leave blocks out."""

from ..kinds import Node, Picture, Row, Run, Setting, Way
from ..pictures import LOW, option
from ..workflows import SD3, azimuth, picture
from .add_term import TERM, term_is_off

NODE = "AzimuthSkipLayer"
LINE = "better hands on SD3.5, steadier video"
TABLE = [
    Row(
        "Skip layer guidance, STG",
        place="T = s (D_c − D_bad), D_bad without some blocks",
        paper="SLG: none; STG: 2411.18664",
        use="anatomy in SD3.5; motion in video",
        passes="+ 1",
        node=f"{NODE}: SLG, STG",
        formula="terms/add_term",
    ),
    Row(
        "S2-Guidance",
        place="the same, blocks drawn for every call",
        paper="2508.12880",
        use="the same, without a choice of blocks",
        passes="+ 1",
        node=f"{NODE}: S2",
        formula="terms/add_term",
    ),
]

# ---- The node


def custom(skip, blocks, **more):
    return {**TERM, "preset": "custom", "skip": skip, "blocks": blocks, **more}


DRAWN = {**TERM, "preset": "S2: any model", "count": 2, "seed": 5, "skip": "block"}

UNET_BLOCKS = "patch for the blocks of a UNet"
SETTINGS = [
    Setting("slg", NODE, custom("block", "1, middle 0"), term_is_off, group="preset", needs=(UNET_BLOCKS,)),
    Setting("stg_a", NODE, custom("attention", "1, input 1", rescale=0.7), group="preset"),
    Setting("s2", NODE, DRAWN, group="preset", by_call=True, needs=(UNET_BLOCKS,)),
]

WORKFLOWS = [
    picture(
        "flow_sd3_skip_layer_guidance",
        "Skip Layer Guidance on SD3.5",
        "Blocks 7 to 9 are left out in one more pass during the first fifth of the run, which is meant for hands "
        "and bodies. The presets begin with the numbers for other models: STG for video, S2 for any.",
        lambda load: azimuth("SkipLayer", load, preset="SLG: SD3.5 medium"),
        "a dancer leaping on an empty stage, side light, photograph",
        **SD3,
        sampler_name="euler",
        cfg=4.5,
        steps=28,
    ),
]

# ---- The benchmark


def way(scale):
    return Way(Node(NODE, {"preset": custom("block", "middle 0", scale=scale)}))


RUNS = [
    Run("Skip Layer Guidance, with its passes", way(1.0), on="model"),
    Run("Skip Layer Guidance at scale 0", way(0.0), off=True),
]

# ---- The pictures


def skipped(note, preset, **values):
    return Picture(
        "Skip Layer Guidance", f"cfg {LOW:g}: {note}", LOW, (Node(NODE, option("preset", preset, **values)),)
    )


PICTURES = [
    skipped(
        "scale 1 without the middle block",
        "custom",
        blocks="middle 0",
        scale=1.0,
        skip="block",
        start=0.0,
        end=1.0,
        rescale=0.0,
    ),
    skipped(
        "S2, scale 0.5, one random block",
        "S2: any model",
        count=1,
        seed=0,
        scale=0.5,
        skip="block",
        start=0.1,
        end=0.9,
        rescale=0.0,
    ),
]
