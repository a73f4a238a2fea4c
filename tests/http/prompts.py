"""Small prompts in API format: the lab's model, one or more Azimuth nodes, a plain KSampler."""

import itertools

fresh = itertools.count(1)


def node(kind: str, **inputs) -> dict:
    """A node; a double underscore in an input's name stands for the dot of a dynamic input."""
    return {"class_type": kind, "inputs": {name.replace("__", "."): value for name, value in inputs.items()}}


def cfg(**changed) -> dict:
    """A Scheduled CFG with its defaults but for what is changed; None leaves an input out."""
    return without_none(
        "AzimuthScheduledCFG", changed, model=["lab", 0], scale=7.0, start=0.0, end=1.0, outside="weight 1"
    )


def negative(**changed) -> dict:
    values = {
        "model": ["lab", 0],
        "negative": ["nothing", 0],
        "mode": "compose",
        "weight": 1.0,
        "start": 0.0,
        "end": 1.0,
    }
    return without_none("AzimuthNegativeGuidance", changed, **values)


def thresholding(**changed) -> dict:
    values = {
        "model": ["lab", 0],
        "mode": "mimic",
        "mimic_scale": 6.0,
        "percentile": 0.995,
        "per_channel": True,
    }
    return without_none("AzimuthDynamicThresholding", changed, **values, startpoint="mean", measure="ad", strength=1.0)


def angle(**changed) -> dict:
    return without_none("AzimuthAngleDomain", changed, model=["lab", 0], max_angle=60.0, mode="paper", strength=1.0)


def cfgpp(**changed) -> dict:
    return without_none("AzimuthCFGPlusPlus", changed, model=["lab", 0], lam=0.6, limit=30.0)


def schedule(shape: str, **values) -> dict:
    return node("AzimuthSchedule", shape=shape, **{f"shape__{name}": value for name, value in values.items()})


def without_none(kind: str, changed: dict, **values) -> dict:
    return node(kind, **{name: value for name, value in {**values, **changed}.items() if value is not None})


def sampled(last: str, steps: int = 2, **nodes: dict) -> dict:
    """A prompt that samples with the MODEL of the node named `last`, never the same twice."""
    return {
        "lab": node("AzimuthLabLoader", model="ve"),
        "prompt": node("CLIPTextEncode", clip=["lab", 1], text="a red circle on a white background"),
        "nothing": node("CLIPTextEncode", clip=["lab", 1], text=""),
        "canvas": node("EmptyLatentImage", width=32, height=32, batch_size=1),
        **nodes,
        "sampler": node(
            "KSampler",
            model=[last, 0],
            positive=["prompt", 0],
            negative=["nothing", 0],
            latent_image=["canvas", 0],
            seed=next(fresh),
            steps=steps,
            cfg=5.0,
            sampler_name="euler",
            scheduler="karras",
            denoise=1.0,
        ),
        "picture": node("VAEDecode", samples=["sampler", 0], vae=["lab", 2]),
        "out": node("PreviewImage", images=["picture", 0]),
    }


def words() -> dict:
    """A prompt that costs nothing and is executed anew each time."""
    return {
        "words": node("AzimuthNegativePrompt", text=f"mark {next(fresh)}", preset="none", preset__terms=""),
        "out": node("PreviewAny", source=["words", 0]),
    }
