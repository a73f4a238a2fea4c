"""The mathematics of guidance: torch in, torch out, no host. Every file's docstring is its method's card."""

from .adaptive_guidance import adaptive_similarity
from .add_term import add_term
from .angle_domain import angle, angle_domain, rotate
from .apg import apg
from .beta_cfg import beta_cfg
from .cads import cads, cads_gamma
from .cfg import cfg
from .cfg_zero_star import cfg_zero_star
from .cfgpp import ancestral_sigma_down, cfgpp_scale
from .cfgpp_dpmpp import cfgpp_2m, cfgpp_2s_end, cfgpp_2s_middle, cfgpp_step, middle_sigma, renoise
from .compose import compose, negative_terms
from .contrastive import contrastive, contrastive_terms
from .convert import (
    denoised_from_eps,
    denoised_from_v,
    eps_from_denoised,
    flow_sigma,
    half_log_snr,
    noise_level,
    score_from_denoised,
    v_from_denoised,
    ve_sigma,
)
from .distilled import distilled_pair
from .dynamic_negative import dynamic_negative, dynamic_negative_terms
from .dynamic_threshold import dynamic_threshold
from .effective_scale import effective_scale
from .energy_preserving import energy_preserving
from .epsilon_scaling import epsilon_scaling
from .fdg import fdg
from .fresca import fresca
from .higs import higs
from .memory import Memory
from .mimic_threshold import mimic_threshold
from .momentum import momentum_guidance
from .nag import nag
from .norm_limit import norm_limit
from .partial_negative import partial_negative
from .perp_neg import perp_neg, perp_terms
from .perturbed_attention import perturbed_attention
from .pmc import pmc
from .quantile import abs_quantile
from .ratio_aware import ratio_aware_scale
from .rectified_cfgpp import euler_step, predictor_sigma, rectified_alpha, rectified_cfgpp
from .reduce import dims, dot, norm, per_sample
from .rescale import rescale, rescale_denoised
from .safe import finite_per_sample, select_per_sample
from .safe_latent import safe_latent, safe_latent_terms
from .schedule import (
    Beta,
    Compressed,
    Constant,
    Cosine,
    Curve,
    Exponential,
    Interval,
    Linear,
    Power,
    Schedule,
    SigmaInterval,
    Steps,
    Triangle,
)
from .self_attention import attention_mass, blurred_where_attended, with_same_noise
from .skimmed import skimmed, skimmed_exact
from .smc import smc
from .smoothed_energy import smooth_queries
from .tangential import tangential_amplify
from .tcfg import tcfg
from .temporal_score_rescaling import temporal_score_rescaling
from .uncond_reuse import uncond_reuse

__all__ = [
    "Beta",
    "Compressed",
    "Constant",
    "Cosine",
    "Curve",
    "Exponential",
    "Interval",
    "Linear",
    "Memory",
    "Power",
    "Schedule",
    "SigmaInterval",
    "Steps",
    "Triangle",
    "abs_quantile",
    "adaptive_similarity",
    "add_term",
    "ancestral_sigma_down",
    "angle",
    "angle_domain",
    "apg",
    "attention_mass",
    "beta_cfg",
    "blurred_where_attended",
    "cads",
    "cads_gamma",
    "cfg",
    "cfg_zero_star",
    "cfgpp_2m",
    "cfgpp_2s_end",
    "cfgpp_2s_middle",
    "cfgpp_scale",
    "cfgpp_step",
    "compose",
    "contrastive",
    "contrastive_terms",
    "denoised_from_eps",
    "denoised_from_v",
    "dims",
    "distilled_pair",
    "dot",
    "dynamic_negative",
    "dynamic_negative_terms",
    "dynamic_threshold",
    "effective_scale",
    "energy_preserving",
    "eps_from_denoised",
    "epsilon_scaling",
    "euler_step",
    "fdg",
    "finite_per_sample",
    "flow_sigma",
    "fresca",
    "half_log_snr",
    "higs",
    "middle_sigma",
    "mimic_threshold",
    "momentum_guidance",
    "nag",
    "negative_terms",
    "noise_level",
    "norm",
    "norm_limit",
    "partial_negative",
    "per_sample",
    "perp_neg",
    "perp_terms",
    "perturbed_attention",
    "pmc",
    "predictor_sigma",
    "ratio_aware_scale",
    "rectified_alpha",
    "rectified_cfgpp",
    "renoise",
    "rescale",
    "rescale_denoised",
    "rotate",
    "safe_latent",
    "safe_latent_terms",
    "score_from_denoised",
    "select_per_sample",
    "skimmed",
    "skimmed_exact",
    "smc",
    "smooth_queries",
    "tangential_amplify",
    "tcfg",
    "temporal_score_rescaling",
    "uncond_reuse",
    "v_from_denoised",
    "ve_sigma",
    "with_same_noise",
]
