"""Every node that changes sampling: settings under which it acts, and all the settings that switch it off.

A new node is a new row here; the tests of the promises go through this list.
"""

from azimuth import guidance
from azimuth.nodes.conditions import cads, distilled_guidance
from azimuth.nodes.corrections import (
    energy_preserving,
    epsilon_scaling,
    higs,
    momentum_guidance,
    norm_limit,
    rescale,
    tangential,
    temporal_score_rescaling,
)
from azimuth.nodes.negatives import contrastive, dynamic_negative, nag, negative_guidance, safe_latent
from azimuth.nodes.rules import (
    angle_domain,
    apg,
    beta_cfg,
    cfg_zero_star,
    dynamic_thresholding,
    frequency,
    pmc,
    ratio_aware,
    skimmed,
    smc,
    tcfg,
)
from azimuth.nodes.strength import adaptive_guidance, cfgpp, scheduled_cfg, uncond_reuse
from azimuth.nodes.terms import (
    autoguidance,
    perturbed_attention,
    self_attention,
    skip_layer,
    smoothed_energy,
    token_perturbation,
)
from rows import (
    DISTILLED,
    DRAWN,
    MIMIC,
    NAG,
    NEGATIVE,
    SLD,
    TERM,
    Method,
    negative_is_off,
    sag_is_off,
    term_is_off,
    weaker,
)
from tiny import text

METHODS = [
    Method(
        "scheduled_cfg",
        scheduled_cfg.ScheduledCFG,
        {"scale": guidance.Linear(9.0, 2.0), "start": 0.0, "end": 1.0, "outside": "weight 1"},
        lambda cfg: [
            {"scale": cfg},
            {"scale": guidance.Linear(cfg, cfg)},
            {"scale": 8.0, "start": 0.4, "end": 0.4, "outside": "sampler cfg"},
        ],
    ),
    Method("compose", negative_guidance.NegativeGuidance, NEGATIVE, negative_is_off),
    Method("perpendicular", negative_guidance.NegativeGuidance, {**NEGATIVE, "mode": "perpendicular"}),
    Method("partial", negative_guidance.NegativeGuidance, {**NEGATIVE, "mode": "partial", "weight": 0.5}),
    Method(
        "mimic",
        dynamic_thresholding.DynamicThresholding,
        MIMIC,
        lambda cfg: [
            {"mimic_scale": cfg},
            {"strength": 0.0},
            {"mimic_scale": guidance.Linear(cfg, cfg)},
            {"mode": "imagen", "strength": 0.0},
        ],
    ),
    Method(
        "mimic_std",
        dynamic_thresholding.DynamicThresholding,
        {**MIMIC, "measure": "std", "startpoint": "zero", "per_channel": False, "strength": 0.7},
    ),
    Method("imagen", dynamic_thresholding.DynamicThresholding, {**MIMIC, "mode": "imagen"}),
    Method("cfgpp", cfgpp.CFGPlusPlus, {"lam": 0.6, "limit": 30.0}),
    Method(
        "adg",
        angle_domain.AngleDomain,
        {"max_angle": 60.0, "mode": "paper", "strength": 1.0},
        lambda cfg: [{"strength": 0.0}],
    ),
    Method("rotation", angle_domain.AngleDomain, {"max_angle": 30.0, "mode": "exact rotation", "strength": 0.8}),
    Method(
        "apg",
        apg.AdaptiveProjected,
        {"preset": {"preset": "SDXL"}, "strength": 1.0},
        lambda cfg: [
            {"strength": 0.0},
        ],
    ),
    Method(
        "apg_custom",
        apg.AdaptiveProjected,
        {"preset": {"preset": "custom", "eta": 0.2, "norm_threshold": 0.0, "momentum": -0.75}, "strength": 0.8},
    ),
    Method(
        "beta_cfg",
        beta_cfg.BetaCFG,
        {
            "form": {"form": "normalised (ours)", "reference": 0.1},
            "gamma": 0.5,
            "a": 2.0,
            "b": 3.0,
            "floor": 1.0,
            "strength": 1.0,
        },
        lambda cfg: [
            {"strength": 0.0},
            {"gamma": 0.0, "a": 1.0, "b": 1.0, "floor": min(cfg, 1.0)},
        ],
    ),
    Method(
        "beta_cfg_paper",
        beta_cfg.BetaCFG,
        {"form": {"form": "paper"}, "gamma": 1.0, "a": 1.0, "b": 1.0, "floor": 0.0, "strength": 0.7},
    ),
    Method(
        "raag",
        ratio_aware.RatioAware,
        {"preset": {"preset": "RAAG"}, "weight": "w_max", "strength": 1.0},
        lambda cfg: [
            {"strength": 0.0},
            {"preset": {"preset": "custom", "w_max": 3.0, "alpha": 0.0}, "weight": "sampler cfg"},
        ],
    ),
    Method(
        "mambo_g",
        ratio_aware.RatioAware,
        {"preset": {"preset": "MAMBO-G"}, "weight": "sampler cfg", "strength": 0.8},
    ),
    Method(
        "zero_star",
        cfg_zero_star.CFGZeroStar,
        {"zero_init_steps": 1, "strength": 1.0},
        lambda cfg: [{"strength": 0.0}, {"strength": 0.0, "zero_init_steps": 3}],
    ),
    Method("zero_star_alone", cfg_zero_star.CFGZeroStar, {"zero_init_steps": 0, "strength": 0.8}),
    Method("tcfg", tcfg.TangentialDamping, {"strength": 1.0}, lambda cfg: [{"strength": 0.0}]),
    Method(
        "rescale",
        rescale.Rescale,
        {"phi": 0.7, "space": "v"},
        lambda cfg: [{"phi": 0.0}, {"phi": guidance.Linear(0.0, 0.0)}, {"phi": 0.0, "space": "x0"}],
    ),
    Method("rescale_eps", rescale.Rescale, {"phi": 1.0, "space": "eps"}),
    Method(
        "energy",
        energy_preserving.EnergyPreserving,
        {"mode": "plain", "scope": "sample", "strength": 1.0},
        lambda cfg: [{"strength": 0.0}, {"strength": 0.0, "mode": "robust"}],
    ),
    Method(
        "energy_robust",
        energy_preserving.EnergyPreserving,
        {"mode": "robust", "scope": "frame", "strength": 0.8},
    ),
    Method(
        "fdg",
        frequency.FrequencyDecoupled,
        {"mode": {"mode": "FDG", "low": 0.5, "high": 1.5}, "strength": 1.0},
        lambda cfg: [
            {"mode": {"mode": "FDG", "low": 1.0, "high": 1.0}},
            {"mode": {"mode": "FDG 3 bands", "low": 1.0, "middle": 1.0, "high": 1.0}},
            {"mode": {"mode": "FreSca", "low": 1.0, "high": 1.0, "cutoff": 0.3}},
            {"strength": 0.0},
        ],
    ),
    Method(
        "fdg_3_bands",
        frequency.FrequencyDecoupled,
        {"mode": {"mode": "FDG 3 bands", "low": 0.4, "middle": 0.8, "high": 2.0}, "strength": 0.8},
    ),
    Method(
        "fresca",
        frequency.FrequencyDecoupled,
        {"mode": {"mode": "FreSca", "low": 0.8, "high": 1.5, "cutoff": 0.3}, "strength": 1.0},
    ),
    Method(
        "skimmed",
        skimmed.SkimmedCFG,
        {"skim_scale": 2.0, "mode": "exact", "flip_filter": True, "full_negative": False, "strength": 1.0},
        lambda cfg: [
            {"skim_scale": cfg},
            {"skim_scale": guidance.Linear(cfg, cfg + 3.0)},
            {"strength": 0.0},
            {"mode": "as published", "strength": 0.0},
        ],
    ),
    Method(
        "skimmed_as_published",
        skimmed.SkimmedCFG,
        {"skim_scale": 2.0, "mode": "as published", "flip_filter": False, "full_negative": True, "strength": 0.8},
    ),
    Method(
        "pmc",
        pmc.NormCapped,
        {"gamma": 1.0, "floor": 0.0, "strength": 1.0},
        lambda cfg: [{"floor": 1.0}, {"strength": 0.0}],
    ),
    Method(
        "momentum",
        momentum_guidance.MomentumGuidance,
        {"alpha": 0.8, "beta": 0.6, "t_min": 0.3, "t_max": 0.95},
        lambda cfg: [{"alpha": 0.0}, {"alpha": guidance.Steps((0.0,) * 6)}],
    ),
    Method(
        "higs",
        higs.HistoryGuidance,
        {"weight": 1.75, "average": 0.75, "eta": 0.5, "t_min": 0.4, "t_max": 1.0, "bias_correction": False},
        lambda cfg: [{"weight": 0.0}, {"weight": guidance.Steps((0.0,) * 6)}],
    ),
    Method(
        "smc",
        smc.SlidingMode,
        {"gain": 0.2, "lam": 5.0, "gain_unit": "relative", "chatter_free": False, "strength": 1.0},
        lambda cfg: [{"gain": 0.0}, {"strength": 0.0}, {"gain": guidance.Steps((0.0,) * 6)}],
    ),
    Method(
        "norm_limit",
        norm_limit.NormLimit,
        {"limit": 1.0, "scope": "sample", "strength": 1.0},
        lambda cfg: [{"strength": 0.0}, {"limit": 10.0}],
    ),
    Method(
        "norm_limit_pixel",
        norm_limit.NormLimit,
        {"limit": 1.1, "scope": "pixel", "strength": 0.8},
        lambda cfg: [{"strength": 0.0}],
    ),
    Method(
        "tangential",
        tangential.TangentialAmplifying,
        {"eta": 1.3, "start": 0.0, "end": 1.0},
        lambda cfg: [{"eta": 1.0}, {"eta": guidance.Linear(1.0, 1.0)}, {"start": 0.4, "end": 0.4}],
    ),
    Method(
        "epsilon_scaling",
        epsilon_scaling.EpsilonScaling,
        {"scale": 1.05},
        lambda cfg: [{"scale": 1.0}, {"scale": guidance.Linear(1.0, 1.0)}],
    ),
    Method(
        "tsr",
        temporal_score_rescaling.TemporalScoreRescaling,
        {"k": 0.8, "data_sigma": 1.0},
        lambda cfg: [{"k": 1.0}, {"k": 1.0, "data_sigma": 3.0}, {"k": guidance.Linear(1.0, 1.0)}],
    ),
    Method(
        "negated",
        negative_guidance.NegativeGuidance,
        {**NEGATIVE, "mode": "not", "weight": 0.5},
        lambda cfg: [{"weight": 0.0}, {"start": 0.4, "end": 0.4}],
    ),
    Method(
        "contrastive",
        contrastive.ContrastiveCFG,
        {"negative": text(3), "tau": 0.2, "norm": "sum (paper)", "strength": 1.0, "start": 0.0, "end": 1.0},
        lambda cfg: [{"strength": 0.0}, {"start": 0.4, "end": 0.4}, {"strength": guidance.Steps((0.0,) * 6)}],
    ),
    Method(
        "dng",
        dynamic_negative.DynamicNegative,
        {"negative": text(3), "weight": 2.0, "base": "positive", "prior": 0.2, "tau": 0.2, "delta": 2e-4}
        | {"p_min": 1e-6, "p_max": 0.8},
        lambda cfg: [{"weight": 0.0}, {"weight": guidance.Steps((0.0,) * 6)}],
    ),
    Method(
        "sld",
        safe_latent.SafeLatent,
        {"negative": text(3), "preset": SLD, "strength": 1.0},
        lambda cfg: [
            {"strength": 0.0},
            {"strength": guidance.Steps((0.0,) * 6)},
            {"preset": {**SLD, "concept_scale": 0.0}},
        ],
    ),
    Method("sld_weak", safe_latent.SafeLatent, {"negative": text(3), "preset": {"preset": "weak"}, "strength": 0.8}),
    Method("pag", perturbed_attention.PerturbedAttention, {**TERM, "strength": 1.0, "blocks": "auto"}, term_is_off),
    Method(
        "pag_soft",
        perturbed_attention.PerturbedAttention,
        {**TERM, "strength": 0.6, "blocks": "auto", "rescale": 0.7},
        lambda cfg: [{"strength": 0.0}],
    ),
    Method("seg", smoothed_energy.SmoothedEnergy, {**TERM, "blur": 10000.0, "blocks": "auto"}, term_is_off),
    Method(
        "seg_blur",
        smoothed_energy.SmoothedEnergy,
        {**TERM, "blur": 1.0, "blocks": "1, middle 0", "rescale": 0.7},
        lambda cfg: [{"blur": 0.0}],
    ),
    Method("tpg", token_perturbation.TokenPerturbation, {**TERM, "blocks": "auto"}, term_is_off),
    Method(
        "tpg_rescaled",
        token_perturbation.TokenPerturbation,
        {**TERM, "blocks": "1, middle 0", "rescale": 0.7},
    ),
    Method(
        "slg",
        skip_layer.SkipLayer,
        {**TERM, "preset": "custom", "skip": "block", "blocks": "1, middle 0"},
        term_is_off,
        group="preset",
    ),
    Method(
        "stg_a",
        skip_layer.SkipLayer,
        {**TERM, "preset": "custom", "skip": "attention", "blocks": "1, input 1", "rescale": 0.7},
        group="preset",
    ),
    Method("s2", skip_layer.SkipLayer, {**TERM, **DRAWN, "skip": "block"}, group="preset"),
    Method(
        "sag", self_attention.SelfAttention, {"scale": 0.7, "blur": 2.0, "start": 0.0, "end": 1.0}, sag_is_off, True
    ),
    Method(
        "autoguidance",
        autoguidance.Autoguidance,
        {**TERM, "weak_model": weaker},
        lambda cfg: [*term_is_off(cfg), {"weak_model": lambda patched: patched}],
    ),
    Method(
        "cads",
        cads.ConditionAnnealing,
        {"scale": 0.25, "tau1": 0.6, "tau2": 0.9, "psi": 1.0},
        lambda cfg: [{"scale": 0.0}, {"tau1": 1.0, "tau2": 1.0}, {"scale": guidance.Steps((0.0,) * 6)}],
        by_index=True,
    ),
    Method(
        "nag",
        nag.NormalizedAttention,
        NAG,
        lambda cfg: [
            {"scale": 1.0},
            {"scale": 0.5},
            {"preset": {**NAG["preset"], "alpha": 0.0}},
            {"start": 0.4, "end": 0.4},
            {"scale": guidance.Steps((1.0,) * 6)},
        ],
    ),
    Method(
        "adaptive",
        adaptive_guidance.AdaptiveGuidance,
        {"threshold": 0.0, "start": 0.0, "space": "eps"},
        lambda cfg: [{"threshold": 1.0}],
    ),
    Method(
        "uncond_reuse",
        uncond_reuse.UncondReuse,
        {"every": 2, "frozen": "auto", "start": 0.0, "end": 1.0},
        lambda cfg: [{"every": 1}, {"start": 0.4, "end": 0.4}],
    ),
]
# They act on other models than the one of those tests, and have tests of their own.
ELSEWHERE = [
    Method(
        "distilled",
        distilled_guidance.DistilledGuidance,
        DISTILLED,
        lambda cfg: [{"guidance": 3.5}, {"guidance": guidance.Linear(3.5, 3.5)}, {"start": 0.4, "end": 0.4}],
    ),
    Method(
        "distilled_pair",
        distilled_guidance.DistilledGuidance,
        {**DISTILLED, "mode": "two passes", "guidance": 4.0},
        lambda cfg: [{"start": 0.4, "end": 0.4}],
    ),
]
BY_NAME = {method.name: method for method in METHODS + ELSEWHERE}


def stack(patched, *names):
    """The MODEL with several methods, wired in this order."""
    for name in names:
        patched = BY_NAME[name].on(patched)
    return patched
