"""Ways to sample on a lab model with the host, with its nodes and with ours, for bench.py."""

import functools
import importlib
from collections.abc import Callable
from dataclasses import dataclass, replace

import comfy.samplers
import comfy_extras.nodes_perpneg
import torch
from torch import Tensor

from specimens import kinds

from ..models import networks
from ..pack import nodes


class Idle(torch.nn.Module):
    """In place of the network: what is left of a run is what the host and the nodes do around it."""

    dtype = torch.float32
    in_channels = networks.CHANNELS  # the host's RenormCFG asks for it

    def forward(self, x, timesteps, context=None, **kwargs):
        return x


class Lab:
    """Lab models with conditionings: `model` as it is, `idle` without its network, `other` a second one, and
    `distilled`, one with a guidance embedding, without its network."""

    def __init__(self):
        self.model, clip, _ = networks.load("ve")
        self.idle, _, _ = networks.load("ve")
        self.other, _, _ = networks.load("ve")
        self.distilled, _, _ = networks.load("flow_distilled")
        self.idle.model.diffusion_model = self.distilled.model.diffusion_model = Idle()

        def text(words):
            return clip.encode_from_tokens_scheduled(clip.tokenize(words))

        self.positive = text("a large red circle left of a small blue square on a grey background")
        self.empty = text("")
        self.negative = text("a small green ring on a white background")
        self.stands = {kinds.Stand.NEGATIVE: self.negative, kinds.Stand.WEAKER: self.other}


@dataclass(frozen=True)
class Way:
    """A way to sample: what is done to the MODEL, the sampler or its name, its cfg, and the guider if not CFGGuider."""

    patch: Callable = lambda model, lab: model
    sampler: str | comfy.samplers.KSAMPLER = "euler"
    cfg: float = 7.0
    guider: Callable | None = None

    def on(self, lab: Lab, model, *, steps: int, batch: int = 1, side: int = 16) -> Callable[[], Tensor]:
        """A call that samples with the host."""
        make = self.guider or cfg_guider
        guider = make(self.patch(model, lab), lab, self.cfg)
        named = isinstance(self.sampler, str)
        sampler = comfy.samplers.sampler_object(self.sampler) if named else self.sampler
        sigmas = comfy.samplers.calculate_sigmas(model.get_model_object("model_sampling"), "normal", steps)
        noise = torch.randn(batch, networks.CHANNELS, side, side, generator=torch.Generator().manual_seed(0))
        empty = torch.zeros_like(noise)
        return lambda: guider.sample(noise, empty, sampler, sigmas, disable_pbar=True, seed=0)


def cfg_guider(model, lab: Lab, cfg: float):
    guider = comfy.samplers.CFGGuider(model)
    guider.set_conds(lab.positive, lab.empty)
    guider.set_cfg(cfg)
    return guider


def host_perp_neg_guider(model, lab: Lab, cfg: float):
    guider = comfy_extras.nodes_perpneg.Guider_PerpNeg(model)
    guider.set_conds(lab.positive, lab.negative, lab.empty)
    guider.set_cfg(cfg, 1.0)
    return guider


# ---- From what a specimen describes

GUIDERS = {"": None, "Perp-Neg": host_perp_neg_guider}


@functools.cache
def own_nodes() -> dict[str, type]:
    return {node.define_schema().node_id: node for node in nodes.NODES}


def class_of(node: kinds.Node) -> type:
    """One of ours by its id, one of the host's by the path of its class."""
    if "." not in node.kind:
        return own_nodes()[node.kind]
    module, _, name = node.kind.rpartition(".")
    return getattr(importlib.import_module(module), name)


def executed(node: kinds.Node, lab: Lab | None = None, **links):
    """The first output of a node; one with a Stand among its inputs needs the lab."""
    given = {k: lab.stands[v] if isinstance(v, kinds.Stand) else v for k, v in node.inputs.items()}
    return class_of(node).execute(**links, **given).args[0]


def made(way: kinds.Way) -> Way:
    through = way.through if isinstance(way.through, tuple) else (way.through,)

    def patch(model, lab: Lab):
        return functools.reduce(lambda patched, node: executed(node, lab, model=patched), through, model)

    sampler = way.sampler if isinstance(way.sampler, str) else executed(way.sampler)
    return Way(patch, sampler, way.cfg, GUIDERS[way.guider])


def measurable(run: kinds.Run) -> kinds.Run:
    """A run whose ways can be sampled."""
    return replace(run, way=made(run.way), host=run.host and made(run.host))
