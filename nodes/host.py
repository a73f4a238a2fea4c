"""What differs between the versions of the host that the pack runs on. README.md says which these are."""

from __future__ import annotations

import contextlib

from comfy.ldm.modules.attention import SpatialTransformer
from comfy.ldm.modules.diffusionmodules.openaimodel import forward_timestep_embed

try:
    from comfy_api.input import CurveInput, LinearCurve
except ImportError:  # before 0.20 a curve is no more than its points
    CurveInput = LinearCurve = None

try:
    from comfy.model_prefetch import pause_malloc_graph as unplanned
except ImportError:  # before about 0.36 the host plans no memory
    unplanned = contextlib.nullcontext


def points_of(curve) -> tuple[tuple, bool]:
    """The points of a curve, and whether straight lines join them.

    A drawn curve comes as the widget's plain value, a linked one as the host's object, where the host has one.
    """
    if CurveInput is None:
        drawn = curve if isinstance(curve, dict) else {"points": curve}  # a dict from a workflow of a newer host
        return tuple(drawn["points"]), drawn.get("interpolation") == "linear"
    drawn = CurveInput.from_raw(curve)
    return tuple(drawn.points), isinstance(drawn, LinearCurve)


def skips_unet_blocks() -> bool:
    """Whether the host lets a patch replace a UNet's spatial transformer; before 0.20 it did for other layers only.

    Tried out on a layer that fails when it is called.
    """
    layer = SpatialTransformer.__new__(SpatialTransformer)
    asked = {"patches": {"forward_timestep_embed_patch": [(SpatialTransformer, lambda *args: args[1])]}}
    try:
        return forward_timestep_embed([layer], True, None, transformer_options=asked)
    except AttributeError:
        return False


def kept(t):
    """A copy of a tensor that may outlive the block of the network in which it was made.

    A newer host plans the memory of a block beforehand: what is made in it ends with it, unless the plan is paused.
    """
    with unplanned():
        return t.clone()
