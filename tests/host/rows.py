"""What methods.py makes of the specimens' settings: methods, which put their node on a MODEL."""

import copy
import functools
from collections.abc import Callable
from dataclasses import dataclass, field

import comfy.model_management
import comfy.model_patcher
import torch
from azimuth import guidance, nodes
from tiny import run_node, text

from specimens.kinds import Setting, Stand


@dataclass(frozen=True)
class Method:
    """`acting` and each of `neutral(cfg)` are the node's inputs; a neutral setting may depend on the sampler's cfg.

    `pictures`: it says of other latents than pictures that it leaves them alone.
    `by_index`: it draws noise for every sample by its place in the batch.
    `group`: the dynamic input that all of its inputs belong to.
    """

    name: str
    node: type
    acting: dict
    neutral: Callable[[float], list[dict]] = field(default=lambda cfg: [])
    pictures: bool = False
    by_index: bool = False
    group: str = ""

    def on(self, patched, **changes):
        values = {**self.acting, **changes}
        if "weak_model" in values and callable(values["weak_model"]):
            values["weak_model"] = values["weak_model"](patched)
        values = {self.group: values} if self.group else values
        return run_node(self.node, patched, **values)

    def off(self, patched, cfg):
        return [self.on(patched, **changes) for changes in self.neutral(cfg)]


NODES = {node.define_schema().node_id: node for node in nodes.NODES}


def made(setting: Setting) -> Method:
    """The method of a specimen's setting, with what its Stands stand for."""
    shared = {name: getattr(setting, name) for name in ("name", "group", "pictures", "by_index")}
    off = setting.neutral
    return Method(
        node=NODES[setting.node],
        acting=filled(setting.acting),
        neutral=lambda cfg: [filled(changes) for changes in off(cfg)],
        **shared,
    )


def filled(inputs: dict) -> dict:
    stands = {Stand.NEGATIVE: text(3), Stand.WEAKER: weaker}
    return {name: stands[value] if isinstance(value, Stand) else value for name, value in inputs.items()}


NEGATIVE = {"negative": text(3), "mode": "compose", "weight": 1.5, "start": 0.0, "end": 1.0}
MIMIC = {
    "mode": "mimic",
    "mimic_scale": 3.0,
    "percentile": 0.99,
    "per_channel": True,
    "startpoint": "mean",
    "measure": "ad",
    "strength": 1.0,
}
SLD = {
    "preset": "custom",
    "warmup": 0.1,
    "concept_scale": 5.0,  # more would magnify what the host rounds otherwise in a batch of another size
    "threshold": 0.0,
    "momentum_scale": 0.4,
    "momentum_beta": 0.6,
}
NAG = {"negative": text(3), "scale": 4.0, "start": 0.0, "end": 1.0} | {
    "preset": {"preset": "custom", "tau": 2.0, "alpha": 0.5, "norm": "L1"}
}
TERM = {"scale": 2.0, "start": 0.0, "end": 1.0, "rescale": 0.0}
DRAWN = {"preset": "S2: any model", "count": 2, "seed": 5}
DISTILLED = {
    "mode": "schedule",
    "guidance": guidance.Linear(5.0, 2.0),
    "start": 0.0,
    "end": 1.0,
    "low": 1.5,
    "high": 3.5,
    "passes": "all",
}


def negative_is_off(cfg):
    return [
        {"weight": 0.0},
        {"start": 0.4, "end": 0.4},
        {"weight": guidance.Steps((0.0,) * 6), "mode": "partial"},
        {"weight": 0.0, "mode": "perpendicular"},
    ]


def term_is_off(cfg):
    return [{"scale": 0.0}, {"start": 0.4, "end": 0.4}, {"scale": guidance.Steps((0.0,) * 6)}]


def sag_is_off(cfg):
    return [*term_is_off(cfg), {"blur": 0.0}]


def weaker(patched):
    """A worse MODEL of the same kind: the same network with other weights here and there."""
    return spoilt(patched.model)


@functools.cache
def spoilt(net):
    worse = copy.copy(net)
    worse._modules = {**net._modules, "diffusion_model": copy.deepcopy(net.diffusion_model)}
    generator = torch.Generator().manual_seed(5)
    for parameter in worse.diffusion_model.parameters():
        if parameter.ndim > 1:
            parameter.data += 0.3 * parameter.std() * torch.randn(parameter.shape, generator=generator)
    return comfy.model_patcher.ModelPatcher(worse, comfy.model_management.get_torch_device(), torch.device("cpu"))
