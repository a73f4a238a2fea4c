"""Methods, made of the specimens' settings: each puts its node on a MODEL."""

import copy
import functools
from dataclasses import dataclass

import comfy.model_management
import comfy.model_patcher
import torch
from azimuth import nodes
from tiny import run_node, text

from specimens.kinds import Setting, Stand


@dataclass(frozen=True)
class Method(Setting):
    """A setting with the node itself in place of its id, and with what the Stands stand for."""

    node: type

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
    return Method(
        **{
            **vars(setting),
            "node": NODES[setting.node],
            "acting": filled(setting.acting),
            "neutral": lambda cfg: [filled(changes) for changes in setting.neutral(cfg)],
        }
    )


def filled(inputs: dict) -> dict:
    stands = {Stand.NEGATIVE: text(3), Stand.WEAKER: weaker}
    return {name: stands[value] if isinstance(value, Stand) else value for name, value in inputs.items()}


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
