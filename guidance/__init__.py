"""The mathematics of guidance: torch in, torch out, no host. Every file's docstring is its method's card."""

from .angle_domain import angle, angle_domain, rotate
from .apg import apg
from .cfg import cfg
from .cfgpp import ancestral_sigma_down, cfgpp_scale
from .compose import compose, negative_terms
from .convert import (
    denoised_from_eps,
    denoised_from_v,
    eps_from_denoised,
    flow_sigma,
    half_log_snr,
    score_from_denoised,
    v_from_denoised,
    ve_sigma,
)
from .dynamic_threshold import dynamic_threshold
from .effective_scale import effective_scale
from .memory import Memory
from .mimic_threshold import mimic_threshold
from .partial_negative import partial_negative
from .perp_neg import perp_neg, perp_terms
from .quantile import abs_quantile
from .reduce import dims, dot, norm, per_sample
from .safe import finite_per_sample, select_per_sample
from .schedule import (
    Beta,
    Constant,
    Cosine,
    Curve,
    Interval,
    Linear,
    Power,
    Schedule,
    SigmaInterval,
    Steps,
    Triangle,
)

__all__ = [
    "Beta",
    "Constant",
    "Cosine",
    "Curve",
    "Interval",
    "Linear",
    "Memory",
    "Power",
    "Schedule",
    "SigmaInterval",
    "Steps",
    "Triangle",
    "abs_quantile",
    "ancestral_sigma_down",
    "angle",
    "angle_domain",
    "apg",
    "cfg",
    "cfgpp_scale",
    "compose",
    "denoised_from_eps",
    "denoised_from_v",
    "dims",
    "dot",
    "dynamic_threshold",
    "effective_scale",
    "eps_from_denoised",
    "finite_per_sample",
    "flow_sigma",
    "half_log_snr",
    "mimic_threshold",
    "negative_terms",
    "norm",
    "partial_negative",
    "per_sample",
    "perp_neg",
    "perp_terms",
    "rotate",
    "score_from_denoised",
    "select_per_sample",
    "v_from_denoised",
    "ve_sigma",
]
