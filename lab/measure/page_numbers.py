"""Measures what the help pages quote of the tiny models.

`python lab/run.py measure.page_numbers`, with COMFYUI_PATH naming a ComfyUI folder.

Two tables: how far Uncond Reuse ends from the run with all its passes, and the similarity that Adaptive Guidance
looks at, over a run of plain CFG.
"""

import argparse

import torch
from torch import Tensor

from ..models import data, networks
from ..pack import guidance, nodes
from .evaluate import sample

MODELS = ("ve", "flow")  # `guidance` calls their families so too
SCALE, SEED, PROMPTS = 3.0, 7, 6
FROZEN = ("eps", "velocity", "x0")
REUSED = ((2, 0.2), (3, 0.2), (2, 0.0))
SPACES = (("ve", "eps"), ("flow", "eps"), ("flow", "velocity"))
PLACES = (0.0, 0.25, 0.5, 0.75, 1.0)


def texts() -> list[str]:
    return [data.caption(spec) for spec in data.random_specs(5, PROMPTS, held=False)]


def latents(loaded, patched, steps: int, scale: float = SCALE) -> Tensor:
    return sample((patched, *loaded[1:]), texts(), scale, seed=SEED, steps=steps)


def apart(a: Tensor, b: Tensor) -> float:
    """The distance of a from b in lengths of b, the mean over samples."""
    lengths = [t.flatten(1).norm(dim=1) for t in (a - b, b)]
    return (lengths[0] / lengths[1]).mean().item()


def reused(loaded, steps: int) -> dict[tuple, float]:
    """The distances for every, start and what is held; and for plain sampling at weight 1 in their place."""
    model = loaded[0]
    full = latents(loaded, model, steps)
    found = {(): apart(latents(loaded, model, steps, scale=1.0), full)}
    for every, start in REUSED:
        for frozen in FROZEN:
            patched = nodes.strength.uncond_reuse.UncondReuse.execute(model, every, frozen, start, 1.0).args[0]
            found[every, start, frozen] = apart(latents(loaded, patched, steps), full)
    return found


def similarities(loaded, kind: str, space: str, steps: int) -> Tensor:
    """gamma of every step and sample (steps, prompts) of plain CFG."""
    seen = []

    def note(args):
        pair = args["cond_denoised"], args["uncond_denoised"]
        how = {"x": args["input"], "sigma": args["sigma"], "kind": kind, "space": space}
        seen.append(guidance.adaptive_similarity(*pair, **how))
        return args["denoised"]

    watched = loaded[0].clone()
    watched.set_model_sampler_post_cfg_function(note)
    latents(loaded, watched, steps)
    return torch.stack(seen)


def table(head: list[str], rows: list[list[str]]) -> str:
    return "\n".join("| " + " | ".join(line) + " |" for line in (head, ["---"] * len(head), *rows))


def main(arguments: list[str]) -> int:
    reader = argparse.ArgumentParser(description=__doc__.partition(":")[0])
    reader.add_argument("--steps", type=int, default=20, help="of every run (default: 20)")
    steps = reader.parse_args(arguments).steps
    made = {name: networks.load(name) for name in MODELS}
    with torch.inference_mode():
        distances = {name: reused(loaded, steps) for name, loaded in made.items()}
        cosines = {(m, space): similarities(made[m], m, space, steps) for m, space in SPACES}
    columns = [(name, frozen) for name in MODELS for frozen in FROZEN]
    rows = [
        [f"{every}, from {start:g}", *(f"{distances[name][every, start, frozen]:.3f}" for name, frozen in columns)]
        for every, start in REUSED
    ]
    print(f"Uncond Reuse, w = {SCALE:g}, {steps} steps of euler, {PROMPTS} prompts; at w = 1 in its place: ", end="")
    print(", ".join(f"{name} {found[()]:.3f}" for name, found in distances.items()))
    print(table(["every, start", *(f"{name}: {frozen}" for name, frozen in columns)], rows))
    print(f"\nAdaptive Guidance, gamma in plain CFG at w = {SCALE:g}, the smallest and the largest of the prompts")
    rows = [
        [f"{m}: {space}", *(spread(gamma[round(p * (steps - 1))]) for p in PLACES)]
        for (m, space), gamma in cosines.items()
    ]
    print(table(["progress", *(f"{p:g}" for p in PLACES)], rows))
    return 0


def spread(values: Tensor) -> str:
    return f"{values.min():.4f} to {values.max():.4f}"
