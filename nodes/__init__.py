"""The V3 nodes of the pack. Adding a method adds one import and one list here."""

from comfy_api.latest import ComfyExtension
from typing_extensions import override

from . import (
    angle_domain,
    apg,
    cfgpp,
    dynamic_thresholding,
    negative_guidance,
    negative_prompt,
    report,
    schedule,
    scheduled_cfg,
)

MODULES = (
    schedule,
    scheduled_cfg,
    negative_guidance,
    negative_prompt,
    dynamic_thresholding,
    cfgpp,
    angle_domain,
    apg,
    report,
)


class AzimuthExtension(ComfyExtension):
    @override
    async def get_node_list(self):
        return [node for module in MODULES for node in module.NODES]


def comfy_entrypoint() -> ComfyExtension:
    return AzimuthExtension()
