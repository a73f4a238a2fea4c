"""What the recipes are made of: nodes as they need them, the usual picture, and the workflows that are unlike it."""

from .graphs import Node, Recipe


def text(clip, words, title: str = "") -> Node:
    return Node("CLIPTextEncode", {"clip": clip, "text": words}, title, (400, 170))


def azimuth(kind: str, model, **inputs) -> Node:
    return Node("Azimuth" + kind, {"model": model, **inputs})


def schedule(shape: str, **values) -> Node:
    return Node("AzimuthSchedule", {"shape": shape, **{f"shape.{name}": value for name, value in values.items()}})


def ksampler(model, positive, negative, latent, *, cfg, row=None, title="", **settings) -> Node:
    values = {
        "seed": 2026,
        "control_after_generate": "fixed",
        "steps": 25,
        "cfg": cfg,
        "sampler_name": "dpmpp_2m",
        "scheduler": "karras",
        "denoise": 1.0,
        **settings,
    }
    links = {"model": model, "positive": positive, "negative": negative, "latent_image": latent}
    return Node("KSampler", {**links, **values}, title, row=row)


def sigmas(model, scheduler: str, steps: int) -> Node:
    return Node("BasicScheduler", {"model": model, "scheduler": scheduler, "steps": steps, "denoise": 1.0})


def sampled_by(kind: str, **values):
    """In place of `ksampler`: a custom sampler of this kind with the guider and the sigmas that it needs."""

    def sample(model, positive, negative, latent, *, cfg, scheduler, steps) -> Node:
        pair = {"model": model, "positive": positive, "negative": negative}
        parts = {
            "noise": Node("RandomNoise", {"noise_seed": 2026, "control_after_generate": "fixed"}),
            "guider": Node("CFGGuider", {**pair, "cfg": cfg}),
            "sampler": Node(kind, values),
            "sigmas": sigmas(model, scheduler, steps),
            "latent_image": latent,
        }
        return Node("SamplerCustomAdvanced", parts)

    return sample


def saved(samples, vae) -> Node:
    decoded = Node("VAEDecode", {"samples": samples, "vae": vae})
    return Node("SaveImage", {"images": decoded, "filename_prefix": "azimuth"}, size=(360, 400))


def checkpoint(name: str) -> Node:
    return Node("CheckpointLoaderSimple", {"ckpt_name": name}, size=(380, 0))


def prompts(clip, positive, negative) -> tuple[Node, Node]:
    return text(clip, positive, "Positive prompt"), text(clip, negative, "Negative prompt")


def canvas(kind: str = "EmptyLatentImage", side: int = 1024, batch: int = 1) -> Node:
    return Node(kind, {"width": side, "height": side, "batch_size": batch})


def unchanged(load: Node) -> Node:
    """The chain of no nodes."""
    return load


SDXL = "sd_xl_base_1.0.safetensors"
FLAWS = "blurry, low quality, watermark"
# Checkpoint, latent and settings of the sampler.
SD3 = {"ckpt": "sd3.5_large_fp8_scaled.safetensors", "latent": "EmptySD3LatentImage", "scheduler": "sgm_uniform"}
FLUX = {"ckpt": "flux1-dev-fp8.safetensors", "latent": "EmptySD3LatentImage", "scheduler": "simple"}


def picture(
    heading: str,
    advice: str,
    chain,
    positive: str,
    negative=FLAWS,
    *,
    ckpt=SDXL,
    latent="EmptyLatentImage",
    sample=ksampler,
    more=lambda model: (),
    **settings,
) -> Recipe:
    """A checkpoint, the chain's nodes on its MODEL, a sampler, a plain KSampler as a rule, and a saved picture."""
    load = checkpoint(ckpt)
    model = chain(load)
    sampler = sample(model, *prompts(load.out(1), positive, negative), canvas(latent), **settings)
    return Recipe(heading, advice, (saved(sampler, load.out(2)), *more(model)))


def described(cfg: float):
    """A Guidance Report at the end of a chain, with the sigmas of the run."""

    def report(model):
        inputs = {"model": model, "sigmas": sigmas(model, "karras", 25), "cfg": cfg}
        return (Node("AzimuthReport", inputs, size=(380, 340)),)

    return report


def two_passes() -> Recipe:
    load = checkpoint(SDXL)
    pair = prompts(load.out(1), "a lighthouse on a rocky coast at dusk, long exposure, soft waves", FLAWS)
    scheduled = azimuth("ScheduledCFG", load, scale=schedule("linear", first=4.0, last=12.0))
    first = ksampler(azimuth("AngleDomain", scheduled), *pair, canvas(), cfg=8.0, title="KSampler, first pass")
    larger = Node("LatentUpscaleBy", {"samples": first, "upscale_method": "bislerp", "scale_by": 1.5})
    thresholded = azimuth("DynamicThresholding", scheduled, mimic_scale=6.0)
    second = ksampler(thresholded, *pair, larger, cfg=8.0, steps=20, denoise=0.5, title="KSampler, second pass")
    return Recipe(
        "Schedule, ADG and thresholding",
        "Both passes take their weight from one schedule; Angle Domain Guidance shapes the first and Dynamic "
        "Thresholding the second, larger one. The two are rival rules for one step and refuse to share a "
        "MODEL, so give each its own pass.",
        (saved(second, load.out(2)),),
    )


def chroma() -> Recipe:
    unet = Node(
        "UNETLoader",
        {"unet_name": "Chroma1-HD-fp8mixed.safetensors", "weight_dtype": "default"},
        size=(380, 0),
    )
    clip = Node("CLIPLoader", {"clip_name": "t5xxl_fp8_e4m3fn_scaled.safetensors", "type": "chroma"}, size=(380, 0))
    vae = Node("VAELoader", {"vae_name": "ae.safetensors"}, size=(380, 0))
    scheduled = azimuth("ScheduledCFG", unet, scale=schedule("cosine", first=5.0, last=2.5))
    model = azimuth(
        "NegativeGuidance",
        scheduled,
        negative=text(clip, "plastic skin, 3d render", "Further negative"),
        weight=0.8,
    )
    sampler = sampled_by("KSamplerSelect", sampler_name="euler")(
        model,
        *prompts(clip, "a gardener among tall sunflowers, film photograph, late light", FLAWS),
        canvas("EmptySD3LatentImage"),
        cfg=4.0,
        scheduler="beta",
        steps=26,
    )
    return Recipe(
        "Flow model with a custom sampler",
        "Chroma is a flow model of the Flux family with a real negative prompt, so every Azimuth node works "
        "on it; here the weight falls from 5 to 2.5 while a second negative keeps its own strength. For "
        "Flux-dev itself, which is distilled and has no negative pass, leave cfg at 1.",
        (saved(sampler, vae),),
    )


LAB_PROMPT = "a large red circle left of a small blue square on a grey background"
LOW, HIGH = 3.0, 16.0
METHODS = {  # title under which it is shown: the sampler's cfg, and the MODEL
    f"plain CFG, w = {LOW:g}": (LOW, lambda load: load),
    f"plain CFG, w = {HIGH:g}": (HIGH, lambda load: load),
    f"interval, w = {HIGH:g}": (
        HIGH,
        lambda load: azimuth("ScheduledCFG", load, scale=HIGH, start=0.25, end=0.75),
    ),
    f"triangle, mean {HIGH:g}": (
        HIGH,
        lambda load: azimuth("ScheduledCFG", load, scale=schedule("triangle", mean=HIGH, low=1.0)),
    ),
    f"not pink, w = {LOW:g}": (
        LOW,
        lambda load: azimuth("NegativeGuidance", load, negative=text(load.out(1), "on a pink background")),
    ),
    f"thresholded, w = {HIGH:g}": (HIGH, lambda load: azimuth("DynamicThresholding", load, mimic_scale=LOW)),
    "CFG++, lambda = 0.6": (HIGH, lambda load: azimuth("CFGPlusPlus", load, lam=0.6)),
    f"ADG, w = {HIGH:g}": (HIGH, lambda load: azimuth("AngleDomain", load)),
    f"exact rotation, w = {HIGH:g}": (HIGH, lambda load: azimuth("AngleDomain", load, mode="exact rotation")),
}


def side_by_side(model: str, scheduler: str, what: str) -> Recipe:
    """Every method on one lab model, each in a row of its own."""
    load = Node("AzimuthLabLoader", {"model": model})
    positive, nothing = text(load.out(1), LAB_PROMPT, "Prompt"), text(load.out(1), "", "Nothing")
    latent = canvas(side=32, batch=4)
    ends = []
    for row, (title, (cfg, chain)) in enumerate(METHODS.items()):
        sampler = ksampler(
            in_row(chain(load), row, load),
            positive,
            nothing,
            latent,
            cfg=cfg,
            row=row,
            steps=20,
            sampler_name="euler",
            scheduler=scheduler,
        )
        decoded = Node("VAEDecode", {"samples": sampler, "vae": load.out(2)}, row=row)
        larger = {"image": decoded, "upscale_method": "nearest-exact", "scale_by": 8.0}
        scaled = Node("ImageScaleBy", larger, row=row)
        ends.append(Node("PreviewImage", {"images": scaled}, title, (300, 300), row))
    return Recipe(
        f"Every method on the lab's {what}",
        "The same prompt and seed under plain CFG and under each method, on a model that samples in seconds "
        "without a GPU. It needs the development pack in lab/, which `python dev.py serve` brings along.",
        tuple(ends),
    )


def in_row(node: Node, row: int, load: Node) -> Node:
    """A copy of a chain's nodes, down to the loader, that stands in a row."""
    if node is load:
        return node
    inputs = {
        name: in_row(value, row, load) if isinstance(value, Node) else value for name, value in node.inputs.items()
    }
    return Node(node.kind, inputs, node.title, node.size, row)
