"""Parts of WORKFLOWS: the nodes that recipes use, and the usual workflow, which ends in one saved picture."""

from .kinds import Node, Recipe


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
    """A chain without a node."""
    return load


SDXL = "sd_xl_base_1.0.safetensors"
FLAWS = "blurry, low quality, watermark"
# Checkpoint, latent and settings of the sampler.
SD3 = {"ckpt": "sd3.5_large_fp8_scaled.safetensors", "latent": "EmptySD3LatentImage", "scheduler": "sgm_uniform"}
FLUX = {"ckpt": "flux1-dev-fp8.safetensors", "latent": "EmptySD3LatentImage", "scheduler": "simple"}


def picture(
    name: str,
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
    """The usual workflow: a checkpoint, the chain's nodes on its MODEL, a sampler, and a saved picture.

    The sampler is a KSampler unless `sample` makes another. `more(model)` makes further ends, such as a report.
    """
    load = checkpoint(ckpt)
    model = chain(load)
    sampler = sample(model, *prompts(load.out(1), positive, negative), canvas(latent), **settings)
    return Recipe(name, heading, advice, (saved(sampler, load.out(2)), *more(model)))


def described(cfg: float):
    """A Guidance Report at the end of a chain, with the sigmas of the run."""

    def report(model):
        inputs = {"model": model, "sigmas": sigmas(model, "karras", 25), "cfg": cfg}
        return (Node("AzimuthReport", inputs, size=(380, 340)),)

    return report
