"""A scene on the real host, and all that was seen of it."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

import comfy.model_management
import torch

from . import before_and_after
from .guiders import GUIDERS
from .samplers import repeating, sampler
from .scene import Scene


@dataclass
class Seen:
    """What one run showed.

    latent      (B, N): every sample as one vector; None if the run failed
    error       what it raised
    said        (level, sentence) for everything that the pack logged
    passes      for each call of the network: (sigma, how many rows for each text), by the texts' numbers
    scales      the weight that post-CFG functions were told, at each call
    pairs       whether each call's two predictions were finite
    ledgers     those of the nodes, by their place in the stack
    changed     what of guider, MODEL and inputs was not as before
    again       whether a second run with the same guider gave the same; None if there was none
    generator   the state of the host's random numbers at the end
    """

    latent: torch.Tensor | None = None
    error: Exception | None = None
    said: list = field(default_factory=list)
    passes: list = field(default_factory=list)
    scales: list = field(default_factory=list)
    pairs: list = field(default_factory=list)
    ledgers: dict = field(default_factory=dict)
    changed: list = field(default_factory=list)
    again: bool | None = None
    generator: torch.Tensor | None = None

    def sentences(self) -> list[str]:
        return [sentence for _, sentence in self.said]


class Trial:
    """The runs of a scene and of its variations, each made once."""

    def __init__(self, scene: Scene):
        self.scene = scene
        self.seen: dict[str, Seen] = {}

    def run(self, scene: Scene | None = None, again: bool = False) -> Seen:
        scene = self.scene if scene is None else scene
        key = repr(scene)
        if key not in self.seen or (again and self.seen[key].again is None):
            self.seen[key] = seen(scene, again)
        return self.seen[key]


def seen(scene: Scene, again: bool = False) -> Seen:
    found, model = Seen(), scene.made_of.build()
    with Listener(found.said), Passes(scene, model, found.passes), torch.compiler.set_stance("force_eager"):
        try:
            guider = GUIDERS[scene.guider](witnessed(wired(scene, model, found.ledgers), found), scene)
        except Exception as error:
            return failed(found, error)
        before = before_and_after.of(guider)
        try:
            found.latent = sampled(guider, scene, found)
        except Exception as error:
            return failed(found, error)
        finally:
            tidy_up(guider.model_patcher)
        found.changed += before_and_after.differences(before, before_and_after.of(guider))
        found.generator = torch.random.get_rng_state()
        found.ledgers = {i: dict(ledger) for i, ledger in found.ledgers.items()}
    if again:
        found.again = gives(guider, scene, found.latent)
    return found


def wired(scene: Scene, model, ledgers: dict):
    """The MODEL with the nodes of the scene."""
    for i, part in enumerate(scene.stack):
        model = part.on(model, scene.made_of, ledgers.setdefault(i, {}))
    return model


def failed(found: Seen, error: Exception) -> Seen:
    found.error = error.with_traceback(None)  # or its frames would keep this run's MODEL loaded
    return found


def gives(guider, scene: Scene, latent: torch.Tensor) -> bool:
    """Whether another run with this guider gives the same latent."""
    try:
        with Listener([]), torch.compiler.set_stance("force_eager"):
            return equal(sampled(guider, scene, Seen()), latent)
    except Exception:
        return False
    finally:
        tidy_up(guider.model_patcher)


def tidy_up(patched) -> None:
    """Undo what the host undoes when it loads another MODEL, so that no run finds what one before it has left.

    MODELs that are gone leave the host's list, for which it would collect garbage before every run.
    """
    if patched.object_patches:
        patched.detach()
    loaded = comfy.model_management.current_loaded_models
    loaded[:] = [model for model in loaded if not model.is_dead()]


def sampled(guider, scene: Scene, found: Seen) -> torch.Tensor:
    noise, latent, sigmas = scene.noise(), scene.latent(), scene.sigmas(guider.model_patcher)
    given = {"noise": noise, "latent": latent}
    copies = {name: [part.clone() for part in parts(value)] for name, value in given.items()}
    torch.manual_seed(scene.seed)
    used = repeating(sampler(scene.sampler), scene.repeats) if scene.repeats else sampler(scene.sampler)
    out = guider.sample(noise, latent, used, sigmas, disable_pbar=True, seed=3 + scene.seed)
    for name, value in given.items():
        if not all(map(torch.equal, parts(value), copies[name])):
            found.changed.append(f"the {name} was written into")
    return torch.cat([part.flatten(1) for part in parts(out)], dim=1)


def parts(latent) -> list[torch.Tensor]:
    return latent.unbind() if latent.is_nested else [latent]


def equal(a: torch.Tensor, b: torch.Tensor) -> bool:
    """Bit for bit; what is not finite is equal to itself."""
    return a.shape == b.shape and torch.equal(a.nan_to_num(), b.nan_to_num())


def witnessed(patched, found: Seen):
    """The MODEL with a last post-CFG function that notes what it is told."""

    def witness(args):
        found.scales.append(args.get("cond_scale"))
        found.pairs.append(all(torch.isfinite(args[f"{half}_denoised"]).all() for half in ("cond", "uncond")))
        return args["denoised"]

    patched = patched.clone()
    patched.set_model_sampler_post_cfg_function(witness)
    return patched


class Listener(logging.Handler):
    """Keeps what the pack says while it is open."""

    def __init__(self, said: list):
        super().__init__(logging.INFO)
        self.said = said

    def emit(self, record):
        self.said.append((record.levelno, record.getMessage()))

    def __enter__(self):
        self.logger = logging.getLogger("azimuth")
        self.before = self.logger.level, self.logger.propagate
        self.logger.addHandler(self)
        self.logger.setLevel(logging.INFO)
        self.logger.propagate = False

    def __exit__(self, *_):
        self.logger.removeHandler(self)
        self.logger.level, self.logger.propagate = self.before


class Passes:
    """Counts, while it is open, the rows that the network is called with, by the text that each was told."""

    def __init__(self, scene: Scene, model, passes: list):
        self.net = model.model.diffusion_model
        self.texts = {seed: scene.text(seed)[0][0][0, :4] for seed in (1, 2, 4, 7, *range(10, 16))}
        self.batch = scene.batch
        self.passes = passes

    def __enter__(self):
        self.hook = self.net.register_forward_pre_hook(self.note, with_kwargs=True)

    def __exit__(self, *_):
        self.hook.remove()

    def note(self, net, args, kwargs):
        options, context = kwargs.get("transformer_options") or {}, kwargs.get("context")
        sigma = options["sigmas"].flatten()[0].item() if "sigmas" in options else None
        told = [self.text_of(row) for row in context] if torch.is_tensor(context) else []
        self.passes.append((sigma, Counter(told)))

    def text_of(self, row: torch.Tensor) -> int | None:
        """The number of the text that a row of the batch was told; None if it is none of those known."""
        alike: Callable = torch.nn.functional.cosine_similarity
        fitting = {s: t for s, t in self.texts.items() if row.shape[0] >= 4 and t.shape == row[:4].shape}
        near = {s: alike(row[:4].flatten(), t.flatten(), dim=0).item() for s, t in fitting.items()}
        best = max(near, key=near.get, default=None)
        return best if best is not None and near[best] > 0.5 else None
