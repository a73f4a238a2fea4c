"""Several devices (MultiGPU CFG Split): every stage gives what one device gives.

The host hands the conditionings of a step to clones of the model on other devices, in threads. Here the second device
is the CPU by its other name, `cpu:0`; all else is the host's own code.
"""

import functools
from importlib import import_module

import comfy.model_management
import comfy.model_patcher
import pytest
import torch
from features import SPLIT, need
from methods import BY_NAME
from tiny import base_model, distance, model, run_node, sample

SECOND = torch.device("cpu", 0)


def loaded_again(kind="eps"):
    """What the host calls for a further copy of a model: its loader."""
    net = base_model.__wrapped__(kind)
    return comfy.model_patcher.ModelPatcher(net, SECOND, torch.device("cpu"))


@pytest.fixture(autouse=True)
def _split():
    need(SPLIT)


@functools.cache
def on_two_devices():
    patched = model().clone()
    patched.cached_patcher_init = (loaded_again, ())
    patched = patched.clone()
    with pytest.MonkeyPatch.context() as patch:
        devices = [patched.load_device, SECOND]
        patch.setattr(comfy.model_management, "get_all_torch_devices", lambda exclude_current=False: devices)
        return run_node(import_module("comfy_extras.nodes_multigpu").MultiGPUCFGSplitNode, patched, 2)


# All that ask for further passes, or change what is asked; what only combines their results never sees a device.
ASKING = (
    *("scheduled_cfg", "adaptive", "uncond_reuse", "cads", "compose", "contrastive", "dng", "sld", "nag"),
    *("pag", "seg", "slg", "sag", "tpg", "autoguidance"),
)


@pytest.mark.parametrize("name", ASKING)
def test_a_stage_gives_what_it_gives_on_one_device(name):
    expected = sample(BY_NAME[name].on(model()), steps=3)
    assert distance(sample(BY_NAME[name].on(on_two_devices()), steps=3), expected) < 1e-5


def test_both_devices_are_used():
    seen = []
    for patched in (on_two_devices(), *on_two_devices().get_additional_models_with_key("multigpu")):
        patched.model.diffusion_model.register_forward_pre_hook(lambda net, args: seen.append(id(net)))
    sample(on_two_devices(), steps=2)
    assert len(set(seen)) == 2
