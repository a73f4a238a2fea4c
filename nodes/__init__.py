"""The V3 nodes of the pack. Adding a method adds one import and one list here."""

from comfy_api.latest import ComfyExtension
from typing_extensions import override

from . import (
    adaptive_guidance,
    angle_domain,
    apg,
    autoguidance,
    beta_cfg,
    cads,
    cfg_zero_star,
    cfgpp,
    cfgpp_sampler,
    contrastive,
    distilled_guidance,
    dynamic_negative,
    dynamic_thresholding,
    energy_preserving,
    epsilon_scaling,
    frequency,
    higs,
    momentum_guidance,
    nag,
    negative_guidance,
    negative_prompt,
    norm_limit,
    perturbed_attention,
    pmc,
    ratio_aware,
    rectified_cfgpp,
    report,
    rescale,
    safe_latent,
    schedule,
    scheduled_cfg,
    self_attention,
    skimmed,
    skip_layer,
    sliding_mode,
    smoothed_energy,
    tangential,
    tcfg,
    temporal_score_rescaling,
    uncond_reuse,
)

MODULES = (
    schedule,
    scheduled_cfg,
    negative_guidance,
    negative_prompt,
    dynamic_thresholding,
    cfgpp,
    cfgpp_sampler,
    rectified_cfgpp,
    angle_domain,
    apg,
    beta_cfg,
    ratio_aware,
    cfg_zero_star,
    tcfg,
    rescale,
    energy_preserving,
    frequency,
    skimmed,
    pmc,
    momentum_guidance,
    higs,
    sliding_mode,
    norm_limit,
    tangential,
    epsilon_scaling,
    temporal_score_rescaling,
    contrastive,
    dynamic_negative,
    safe_latent,
    perturbed_attention,
    smoothed_energy,
    skip_layer,
    autoguidance,
    self_attention,
    nag,
    distilled_guidance,
    cads,
    adaptive_guidance,
    uncond_reuse,
    report,
)


class AzimuthExtension(ComfyExtension):
    @override
    async def get_node_list(self):
        return [node for module in MODULES for node in module.NODES]


def comfy_entrypoint() -> ComfyExtension:
    return AzimuthExtension()
