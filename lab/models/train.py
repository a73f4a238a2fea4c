"""Trains the lab's models: `python dev.py train`.

Writes into lab/models/weights: ve.safetensors, then flow.safetensors, which starts from the first one's weights, then
ve_small, which takes its text model, and flow_distilled, which learns from flow's plain CFG (see distil.py).
About once a minute a checkpoint is written beside them; after an interruption the same command goes on where it
stopped. Every step draws its data and its noise from a seed made of the step's number, so an interrupted training
ends with the same weights as an uninterrupted one. When all are done the checkpoints are deleted.
"""

import argparse
import json
import math
import os
import random
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from tqdm import tqdm

from . import data, distil, networks
from .learner import Learner, caption_rows, dropout_keep, text_context

FINE = {
    "start": "ve",
    "rate": 8e-4,
    "warm_up": 30,
    "cosine": 750,
    "turn": 150,
    "pairs": 0.1,
    "short": 0.05,
    "average": 0.99,
}
STAGES = (
    ("ve", {"steps": 2300, "line": 3000, "reading": 700, "blind": 500}),
    ("ve", {"steps": 750, "seed": 5, **FINE}),
    ("flow", {"steps": 800, "seed": 6, **FINE, "cosine": 800}),
    ("flow", {"steps": 700, "seed": 7, **FINE, "start": "flow", "cosine": 700}),
    ("ve_small", {"steps": 900, "seed": 8, "text": "ve", "cosine": 900, "turn": 600, "average": 0.99, "pairs": 0.1}),
    ("flow_distilled", {"steps": 700, "seed": 9, **FINE, "start": "flow", "cosine": 700}),
)


@dataclass(frozen=True)
class Settings:
    """Everything that decides the outcome of one training."""

    steps: int
    start: str = ""
    text: str = ""
    batch: int = 48
    rate: float = 1e-3
    last_rate: float = 1e-5
    warm_up: int = 200
    cosine: int = 2300
    turn: int = 1100
    line: int = 0
    decay: float = 0.01
    average: float = 0.998
    drop: float = 0.1
    short: float = 0.15
    unknown: float = 0.02
    pairs: float = 0.65
    reading: int = 0
    blind: int = 0
    seed: int = 1

    def high_share(self, step: int) -> float:
        """How much of a step's batch has so much noise that only the text tells what is in the picture."""
        return 1.0 if step < self.blind else 0.5


def draw_sigma(name: str, count: int, generator: torch.Generator, share: float) -> torch.Tensor:
    """Noise levels for training, (count,): two log-normals, and one in eight over the range.

    The lower one is where edges and colours are settled. The higher one, drawn with probability `share`, is where
    only the text can tell what will be in the picture; without it the model hardly learns to read.
    """
    normal = torch.randn(count, generator=generator)
    spread = torch.rand(count, generator=generator)
    wide = torch.rand(count, generator=generator) < 0.125
    high = torch.rand(count, generator=generator) < share
    sigma = torch.where(high, torch.exp(0.9 * normal + 1.6), torch.exp(1.3 * normal - 0.6))
    if networks.family(name) == "flow":
        return torch.where(wide, spread, sigma / (1.0 + sigma)).clamp(1e-3, 1.0)
    least, most = networks.SAMPLING["ve"]["sigma_min"], networks.SAMPLING["ve"]["sigma_max"]
    return torch.where(wide, least * (most / least) ** spread, sigma).clamp(least, most)


def batch_rows(learner: Learner, specs: list[data.Spec], settings: Settings, seed: int) -> torch.Tensor:
    """Embedding rows (B, T) of the captions: some short, some words made unknown, some dropped to the empty prompt."""
    rng = random.Random(seed)
    generator = torch.Generator().manual_seed(seed)
    texts = [data.caption(data.short(s) if rng.random() < settings.short else s) for s in specs]
    keep = dropout_keep(len(specs), settings.drop, generator)
    kept = [text if keep_it else "" for text, keep_it in zip(texts, keep.tolist(), strict=True)]
    return caption_rows(learner, kept, settings.unknown, generator)


def batch(learner: Learner, settings: Settings, step: int) -> tuple[torch.Tensor, ...]:
    """(clean, noise, sigma, rows) of one step and what the learner draws, decided by the seed and the step alone."""
    seed = settings.seed * 1_000_003 + step
    specs = data.random_specs(seed, settings.batch, held=False, pairs=settings.pairs)
    clean = torch.from_numpy(data.draw(specs, seed)).movedim(-1, 1) * 2.0 - 1.0
    clean = F.pixel_unshuffle(clean, networks.FOLD)
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(clean.shape, generator=generator)
    sigma = draw_sigma(learner.name, settings.batch, generator, settings.high_share(step))
    return clean, noise, sigma, batch_rows(learner, specs, settings, seed), *learner.drawn(settings.batch, generator)


CHOICES = [len(data.BACKGROUNDS), len(data.COLOURS), len(data.SHAPES)]
CHOICES += [len(data.SHAPES) + 1, len(data.COLOURS), len(data.RADII)] * len(data.POSITIONS)


def questions(spec: data.Spec) -> list[int]:
    """What a caption says, as one answer per entry of CHOICES; -100 where it does not say.

    The background, the first thing's colour and shape; then the shape (or that nothing is there), colour and size of
    what is at each position.
    """
    shapes, colours, sizes = list(data.SHAPES), list(data.COLOURS), list(data.RADII)
    first = spec.things[0]
    ground = list(data.BACKGROUNDS).index(spec.background) if spec.background else -100
    answers = [ground, colours.index(first.colour), shapes.index(first.shape)]
    if spec.place is None:
        return answers + [-100] * (len(CHOICES) - 3)
    there = dict(zip(data.positions(spec), spec.things, strict=True))
    for position in data.POSITIONS:
        thing = there.get(position)
        if thing is None:
            answers += [len(shapes), -100, -100]
        else:
            size = sizes.index(thing.size) if thing.size else -100
            answers += [shapes.index(thing.shape), colours.index(thing.colour), size]
    return answers


def teach_reading(learner: Learner, settings: Settings, device: torch.device, captions: int = 192) -> float:
    """Train the text transformer alone until one linear layer on the mean of its output answers all questions
    about a caption; returns the share of right answers over the last steps.

    The text model stays as it is after this. When it learns along with the UNet instead, colour and background
    soon fill the whole of its normalised output and place and shape are never learned.
    """
    text = torch.nn.ModuleList([learner.text]).to(device)
    learner.requires_grad_(True)
    rows, probe = learner.rows, torch.nn.Linear(networks.CONTEXT, sum(CHOICES)).to(device)
    optimiser = torch.optim.AdamW([rows, *text.parameters(), *probe.parameters()], 2e-3, weight_decay=0.01)
    right = 0.0
    with tqdm(range(settings.reading), desc=f"{learner.name}: reading", unit="step", mininterval=5.0) as bar:
        for step in bar:
            seed = settings.seed * 1_000_003 - 1 - step
            rng = random.Random(seed)
            specs = data.random_specs(seed, captions, held=False, pairs=settings.pairs)
            specs = [data.short(s) if rng.random() < settings.short else s for s in specs]
            generator = torch.Generator().manual_seed(seed)
            ids = caption_rows(learner, [data.caption(s) for s in specs], settings.unknown, generator)
            answers = torch.tensor([questions(s) for s in specs], device=device)
            context = text_context(text[0], rows[ids.to(device)])
            guesses = probe(context.mean(1)).split(CHOICES, dim=1)
            loss = sum(F.cross_entropy(g, a) for g, a in zip(guesses, answers.T, strict=True))
            for group in optimiser.param_groups:
                group["lr"] = 2e-3 * min(1.0, (step + 1) / 100) * (1.0 - step / settings.reading)
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            optimiser.step()
            hits = torch.stack([g.argmax(1) for g in guesses], 1) == answers
            right += 0.05 * (float(hits.sum() / (answers >= 0).sum()) - right)
            bar.set_postfix(right=f"{right:.3f}", refresh=False)
    learner.freeze_text()
    return right


def learning_rate(settings: Settings, step: int) -> float:
    """A linear warm-up, a cosine, and from `turn` on a straight line that is down at step `line`, or at the end."""
    if step < settings.warm_up:
        return settings.rate * (step + 1) / settings.warm_up
    progress = (min(step, settings.turn) - settings.warm_up) / (settings.cosine - settings.warm_up)
    wave = settings.last_rate + 0.5 * (settings.rate - settings.last_rate) * (1.0 + math.cos(math.pi * progress))
    end = settings.line or settings.steps
    rest = (end - step) / max(1, end - settings.turn)
    return settings.last_rate + (wave - settings.last_rate) * min(1.0, rest)


class Training:
    """One training: the learner, the averaged weights, the optimiser and the number of steps done."""

    def __init__(self, name: str, settings: Settings, device: torch.device, weights: Path = networks.WEIGHTS):
        torch.manual_seed(settings.seed)
        self.name, self.settings, self.device, self.step = name, settings, device, 0
        self.learner = new_learner(name)
        if settings.start:
            self.learner.adopt(learner_state(weights / f"{settings.start}.safetensors"))
        if settings.text:
            self.learner.adopt_text(learner_state(weights / f"{settings.text}.safetensors"))
        self.learner.to(device, memory_format=torch.channels_last)
        self.learner.base[0].model_sampling.to(device)
        self.named = dict(self.learner.named_parameters())
        self.learned = {k: self.named[k] for k in self.learner.learned()}
        self.mean = {k: v.detach().clone() for k, v in self.named.items()}
        betas, decay = (0.9, 0.99), settings.decay
        self.optimiser = torch.optim.AdamW(self.learned.values(), settings.rate, betas, weight_decay=decay)
        self.short_float = device.type == "cuda" or torch.cpu._is_avx512_bf16_supported()

    def advance(self) -> float:
        """One step; returns the loss."""
        drawn = [t.to(self.device) for t in batch(self.learner, self.settings, self.step)]
        for group in self.optimiser.param_groups:
            group["lr"] = learning_rate(self.settings, self.step)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.short_float):
            loss = self.learner(*drawn)
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.learned.values(), 1.0)
        self.optimiser.step()
        self.step += 1
        pace = min(self.settings.average, (1.0 + self.step) / (10.0 + self.step))
        mean = list(self.mean.values())
        torch._foreach_lerp_(mean, [v.detach() for v in self.named.values()], 1.0 - pace)
        return float(loss.detach())

    def save(self, path: Path) -> None:
        """A checkpoint from which `restore` goes on exactly."""
        tensors = {f"mean.{k}": v for k, v in self.mean.items()}
        for key, value in self.named.items():
            tensors[f"now.{key}"] = value.detach()
        for key, value in self.learned.items():
            state = self.optimiser.state[value]
            tensors |= {f"m.{key}": state["exp_avg"], f"v.{key}": state["exp_avg_sq"]}
        write(path, tensors, {"step": self.step} | asdict(self.settings))

    def restore(self, path: Path) -> None:
        """Go on from a checkpoint. Raises ValueError when it was made with other settings."""
        tensors, settings = networks.read(path)
        if {k: v for k, v in settings.items() if k != "step"} != asdict(self.settings):
            raise ValueError(f"{path.name} was made with other settings: delete it or train with those.")
        self.step = settings["step"]
        with torch.no_grad():
            for key, value in self.named.items():
                value.copy_(tensors[f"now.{key}"])
                self.mean[key].copy_(tensors[f"mean.{key}"])
            for key, value in self.learned.items():
                self.optimiser.state[value] = {
                    "step": torch.tensor(float(self.step)),
                    "exp_avg": torch.empty_like(value).copy_(tensors[f"m.{key}"]),
                    "exp_avg_sq": torch.empty_like(value).copy_(tensors[f"v.{key}"]),
                }

    def export(self, path: Path) -> None:
        """The averaged weights as the loader wants them, in float16."""
        tensors = {k: self.mean[k].half() for k in self.learner.stored()}
        tensors["tokens"] = torch.tensor(networks.used_tokens(), dtype=torch.int32)
        write(path, tensors, {"model": self.name, "step": self.step} | asdict(self.settings))


def new_learner(name: str) -> Learner:
    """What trains the model `name`."""
    return distil.Student(name) if name == "flow_distilled" else Learner(name)


def learner_state(path: Path) -> dict[str, torch.Tensor]:
    """Exported weights as a learner's state."""
    tensors, _ = networks.read(path)
    del tensors["tokens"]
    return tensors


def write(path: Path, tensors: dict[str, torch.Tensor], settings: dict) -> None:
    """Write a safetensors file in one go, so that an interruption leaves the old file or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(path.name + ".partial")
    save_file({k: v.cpu().contiguous() for k, v in tensors.items()}, draft, {"settings": json.dumps(settings)})
    draft.chmod(0o644)  # the library makes files that only their owner can read
    os.replace(draft, path)


def resume_file(work: Path, stage: int) -> Path:
    """Where a stage's checkpoint lies until the whole training is done."""
    return work / f"stage{stage}.resume.safetensors"


def train(
    name: str, settings: Settings, checkpoint: Path, out: Path, device: torch.device, every: float = 60.0
) -> None:
    """Bring one stage to its end, going on from its checkpoint when there is one."""
    training = Training(name, settings, device, out)
    if checkpoint.is_file():
        training.restore(checkpoint)
    elif settings.reading:
        teach_reading(training.learner, settings, device)
        training.mean = {k: v.detach().clone() for k, v in training.named.items()}
    saved, smooth = time.monotonic(), None
    with tqdm(total=settings.steps, initial=training.step, desc=name, unit="step", mininterval=5.0) as bar:
        while training.step < settings.steps:
            loss = training.advance()
            smooth = loss if smooth is None else 0.98 * smooth + 0.02 * loss
            bar.set_postfix(loss=f"{smooth:.4f}", refresh=False)
            bar.update()
            if time.monotonic() - saved > every or training.step == settings.steps:
                training.save(checkpoint)
                training.export(out / f"{name}.safetensors")
                saved = time.monotonic()


def main(arguments: list[str]) -> int:
    reader = argparse.ArgumentParser(prog="train.py", description="Train the lab's models.")
    reader.add_argument(
        "--out", type=Path, default=networks.WEIGHTS, help="folder for the weights (lab/models/weights)"
    )
    reader.add_argument("--work", type=Path, help="folder for checkpoints (the folder for the weights)")
    reader.add_argument("--model", choices=networks.NAMES, action="append", help="only this model")
    reader.add_argument("--steps", type=int, help="another number of steps (for a trial)")
    chosen = reader.parse_args(arguments)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    work = chosen.work or chosen.out
    for stage, (name, changes) in enumerate(STAGES):
        if name in (chosen.model or networks.NAMES):
            steps = {"steps": chosen.steps} if chosen.steps else {}
            train(name, Settings(**changes | steps), resume_file(work, stage), chosen.out, device)
    for stage in range(len(STAGES)):
        resume_file(work, stage).unlink(missing_ok=True)
    return 0
