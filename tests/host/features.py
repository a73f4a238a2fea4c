"""What only the younger of the supported hosts have. A test calls `need` where it uses such a thing.

The version decides, not what is found: a host that should have it and has not fails, and the newest skips nothing.
test_features.py holds the table against the host.
"""

import inspect
import re

import comfy.model_patcher
import comfy_extras.nodes_custom_sampler as custom
import comfyui_version
import pytest
from azimuth.nodes import host
from comfy.ldm.lightricks.model import CrossAttention
from comfy_extras.nodes_cfg import CFGNorm
from comfy_extras.nodes_fresca import Fourier_filter

VERSION = comfyui_version.__version__

UNET_BLOCKS = "patch for the blocks of a UNet"
PRE_CFG = "CFGNorm before the combination"
FRESCA = "FreSca for other latents than pictures"
LTX_ATTENTION = "one function for every attention of LTX"
SPLIT = "MultiGPU CFG Split"
FEATURES = {  # the first host of dev.py's that has it, and whether this one does
    UNET_BLOCKS: ("0.20.1", host.skips_unet_blocks),
    "Dual Model CFG Guider": ("0.24.0", lambda: hasattr(custom, "DualModelGuider")),
    "CFG Override": ("0.24.0", lambda: hasattr(custom, "CFGOverride")),
    PRE_CFG: ("0.24.0", lambda: "pre_cfg" in inspect.signature(CFGNorm.execute).parameters),
    LTX_ATTENTION: ("0.24.0", lambda: "optimized_attention_masked" not in inspect.getsource(CrossAttention)),
    SPLIT: ("0.24.0", lambda: hasattr(comfy.model_patcher.ModelPatcher, "deepclone_multigpu")),
    FRESCA: ("0.30.0", lambda: "range(2)" in inspect.getsource(Fourier_filter)),
}


def number(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version)[:3])


def due(feature: str, version: str = VERSION) -> bool:
    """Whether a host of this version should have it."""
    return number(version) >= number(FEATURES[feature][0])


def need(*features: str) -> None:
    for feature in features:
        if not due(feature):
            pytest.skip(f"ComfyUI {VERSION} has no {feature}; {FEATURES[feature][0]} has")
