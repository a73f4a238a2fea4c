"""What a conditioning can carry besides its text: a mask, a LoRA hook, a ControlNet."""

import comfy.cldm.cldm
import comfy.controlnet
import comfy.hooks
import comfy.model_management
import comfy.ops
import torch
from architectures import UNET
from tiny import base_model, initialise, tensor

HALF = torch.zeros(1, 8, 8)  # a mask of the left half
HALF[:, :, :4] = 1.0
TO_V = "diffusion_model.middle_block.1.transformer_blocks.0.attn2.to_v.weight"


def lora(strength=0.05, net=None, key=TO_V):
    """A hook that changes one weight, as a LoRA loaded by a hook node does."""
    weight = (net or base_model()).state_dict()[key]
    group = comfy.hooks.HookGroup()
    hook = comfy.hooks.WeightHook()
    hook.need_weight_init = False
    hook.weights = {key: ("diff", (tensor(77, *weight.shape) * strength * 10,))}
    group.add(hook)
    return group


def control_net():
    config = {key: value for key, value in UNET.items() if key not in ("out_channels", "transformer_depth_output")}
    net = comfy.cldm.cldm.ControlNet(
        **config, hint_channels=3, operations=comfy.ops.disable_weight_init, dtype=torch.float32
    )
    device = comfy.model_management.get_torch_device()
    return comfy.controlnet.ControlNet(initialise(net, seed=9).eval(), load_device=device)
