"""Measures the lab's models on held-out captions: `python dev.py evaluate --json FILE`, with COMFYUI_PATH naming a
ComfyUI folder. Without --model, the two full ones.

Pictures are sampled by the host's own KSampler path. See lab/README.md for what the columns mean.
"""

import argparse
import json
import sys
from pathlib import Path

import comfy.sample
import comfy.utils
import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from tqdm import tqdm

from ..models import data, networks
from . import judge

SCALES = (1.0, 2.0, 4.0, 8.0, 16.0)
COLUMNS = {
    "colour_and_shape": "colour+shape",
    "everything": "everything",
    "error": "sq. error",
    "clipped": "clipped",
    "saturation": "saturation",
    "frechet": "Frechet",
}


def conditioning(clip, texts: list[str], **options) -> list:
    """One conditioning whose row i is the text of sample i: the host samples a batch of different prompts
    from it.
    """
    parts = [clip.encode_from_tokens(clip.tokenize(text), return_pooled=True) for text in texts]
    return [[torch.cat([p[0] for p in parts]), {"pooled_output": torch.cat([p[1] for p in parts]), **options}]]


def sample(
    loaded, texts: list[str], scale: float, seed: int, steps: int = 20, sampler="euler", scheduler="normal", **options
) -> torch.Tensor:
    """Latents (N, 12, 16, 16) for N prompts under plain CFG, from the host's KSampler. `options` go with the prompts:
    guidance, for a distilled model."""
    model, clip, _ = loaded
    empty = comfy.sample.fix_empty_latent_channels(model, torch.zeros(len(texts), 4, 4, 4), 8)
    noise = comfy.sample.prepare_noise(empty, seed)
    positive, negative = conditioning(clip, texts, **options), conditioning(clip, [""] * len(texts))
    return comfy.sample.sample(
        model,
        noise,
        steps,
        scale,
        sampler,
        scheduler,
        positive,
        negative,
        empty,
        disable_pbar=True,
        seed=seed,
    )


def pictures(loaded, latents: torch.Tensor) -> np.ndarray:
    """(N, 32, 32, 3) in 0..1, clipped by the host's VAE as any picture is."""
    return loaded[2].decode(latents).float().numpy()


def nearest_drawing_error(shown: np.ndarray, specs: list[data.Spec]) -> np.ndarray:
    """Mean squared error (N,) between pictures and the nearest drawing that their captions allow, over
    whole-pixel shifts.
    """
    wobble = np.zeros((len(specs), 2, 3))
    best = np.square(data.paint(specs, wobble) - shown).mean((1, 2, 3))
    for thing in range(2):
        for dx in (-1.0, 0.0, 1.0):
            for dy in (-1.0, 0.0, 1.0):
                trial = wobble.copy()
                trial[:, thing, :2] = dx, dy
                error = np.square(data.paint(specs, trial) - shown).mean((1, 2, 3))
                wobble[error < best] = trial[error < best]
                best = np.minimum(best, error)
    return best


def saturation(shown: np.ndarray) -> float:
    """Mean HSV saturation of pictures in 0..1."""
    top = shown.max(-1)
    return float(((top - shown.min(-1)) / np.maximum(top, 1e-6)).mean())


def features(shown: np.ndarray) -> np.ndarray:
    """(N, 64): means and spreads over the picture of a fixed random two-layer convolution."""
    generator = torch.Generator().manual_seed(0)
    first = torch.randn(24, 3, 5, 5, generator=generator) / 75**0.5
    second = torch.randn(32, 24, 3, 3, generator=generator) / 216**0.5
    x = torch.from_numpy(shown).movedim(-1, 1) * 2.0 - 1.0
    x = F.conv2d(F.leaky_relu(F.conv2d(x, first, stride=2), 0.1), second, stride=2)
    return torch.cat([x.mean((2, 3)), x.std((2, 3))], 1).double().numpy()


def frechet(a: np.ndarray, b: np.ndarray) -> float:
    """Frechet distance between Gaussians fitted to two sets of features (N, C)."""
    left, right = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    values, vectors = np.linalg.eigh(left)
    root = (vectors * np.sqrt(np.maximum(values, 0.0))) @ vectors.T
    cross = np.sqrt(np.maximum(np.linalg.eigvalsh(root @ right @ root), 0.0)).sum()
    return float(np.square(a.mean(0) - b.mean(0)).sum() + np.trace(left) + np.trace(right) - 2.0 * cross)


def numbers(shown: np.ndarray, specs: list[data.Spec], clipped: float, real: np.ndarray) -> dict[str, float]:
    """The columns of the table for pictures (N, 32, 32, 3) that should show `specs`."""
    right, everything = judge.adherence(shown, specs)
    return {
        "colour_and_shape": right,
        "everything": everything,
        "error": float(nearest_drawing_error(shown, specs).mean()),
        "clipped": clipped,
        "saturation": saturation(shown),
        "frechet": frechet(features(shown), real),
    }


def draw_all(loaded, specs: list[data.Spec], scale: float, chunk: int = 64) -> torch.Tensor:
    """One latent per spec (N, 12, 16, 16), sampled at one scale."""
    texts = [data.caption(s) for s in specs]
    parts = [sample(loaded, texts[i : i + chunk], scale, seed=1000 + i) for i in range(0, len(texts), chunk)]
    return torch.cat(parts)


def table(results: dict) -> str:
    """The results as a Markdown table."""
    lines = ["| model | w | " + " | ".join(COLUMNS.values()) + " |", "|---" * (len(COLUMNS) + 2) + "|"]
    for name, rows in results.items():
        for scale, row in rows.items():
            cells = [
                f"{row[k]:.1%}" if k in ("colour_and_shape", "everything", "clipped") else f"{row[k]:.4f}"
                for k in COLUMNS
            ]
            lines.append(f"| {name} | {scale} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def sheet(rows: list[np.ndarray], path: Path, zoom: int = 3) -> None:
    """Save rows of pictures, each (N, 32, 32, 3), as one image."""
    strip = np.concatenate([np.concatenate(list(row), axis=1) for row in rows], axis=0)
    image = Image.fromarray((strip * 255.0).round().astype(np.uint8))
    image.resize((image.width * zoom, image.height * zoom), Image.Resampling.NEAREST).save(path)


def main(arguments: list[str]) -> int:
    reader = argparse.ArgumentParser(prog="evaluate.py", description="Measure the lab's models on held-out captions.")
    reader.add_argument("--count", type=int, default=256, help="captions (default: 256)")
    reader.add_argument("--model", choices=networks.NAMES, action="append", help="only this model")
    reader.add_argument(
        "--weights", type=Path, default=networks.WEIGHTS, help="folder of the weights (default: lab/models/weights)"
    )
    reader.add_argument("--pairs", type=float, default=0.0, help="share of captions with two things (default: 0)")
    reader.add_argument("--json", type=Path, help="write the numbers here")
    reader.add_argument(
        "--sheet", type=Path, help="write pictures here: a row per scale, NAME-sheet.png in this folder"
    )
    chosen = reader.parse_args(arguments)
    specs = data.random_specs(77, chosen.count, held=True, pairs=chosen.pairs)
    drawn = data.draw(specs, 80)
    real = features(data.draw(data.random_specs(78, 4096, held=True, pairs=chosen.pairs), 79))
    results = {"real drawings": {"": numbers(drawn, specs, 0.0, real)}}
    names = chosen.model or networks.FULL
    with torch.inference_mode(), tqdm(total=len(names) * len(SCALES), unit="scale") as bar:
        for name in names:
            loaded = networks.load(name, chosen.weights / f"{name}.safetensors")
            rows, results[name] = [drawn[:12]], {}
            for scale in SCALES:
                latents = draw_all(loaded, specs, scale)
                shown = pictures(loaded, latents)
                clipped = float((latents.abs() > 1.0).float().mean())
                results[name][f"{scale:g}"] = numbers(shown, specs, clipped, real)
                rows.append(shown[:12])
                bar.update()
            if chosen.sheet:
                sheet(rows, chosen.sheet / f"{name}-sheet.png")
    if chosen.json:
        chosen.json.write_text(json.dumps(results, indent=1) + "\n")
    sys.stdout.write(table(results) + "\n")
    return 0
