"""What a function takes where it is told nothing: the paper's number, or what is neutral."""

import inspect
import math

import pytest

import guidance as g

CONTRASTIVE = {"tau": 0.2, "per_element": False}
DYNAMIC_NEGATIVE = {"scale": 5.0, "prior": 0.01, "tau": 0.2, "delta": 2e-4, "p_min": 1e-6, "p_max": 0.8}
SAFE_LATENT = {"concept_scale": 1000.0, "threshold": 0.01, "momentum_scale": 0.3, "momentum_beta": 0.4, "warm": True}
SKIMMED = {"skim": 7.0, "full_negative": False}
ANGLE = {"max_angle": math.pi / 3}
DEFAULTS = {
    "Beta": {"a": 2.0, "b": 3.0, "floor": 1.0},
    "Compressed": {"exponent": 1.0, "values": ()},
    "Curve": {"low": 1.0, "high": 7.0, "smooth": True},
    "Exponential": {"units": "edm"},
    "Interval": {"outside": 1.0, "start": 0.0, "end": 1.0},
    "SigmaInterval": {"outside": 1.0, "sigma_low": 0.28, "sigma_high": 5.42, "units": "edm"},  # SDXL's
    "Triangle": {"low": 1.0, "values": ()},
    "abs_quantile": {"per_channel": False},
    "adaptive_similarity": {"space": "eps"},
    "add_term": {"rescale": 0.0},
    "angle_domain": ANGLE,
    "apg": {"eta": 0.0, "norm_threshold": 0.0, "momentum": 0.0},
    "attention_mass": {"tokens": slice(None)},
    "beta_cfg": {"floor": 0.0},
    "cads": {"psi": 1.0},
    "cads_gamma": {"tau1": 0.6, "tau2": 0.9},
    "contrastive": CONTRASTIVE,
    "contrastive_terms": CONTRASTIVE,
    "dynamic_negative": DYNAMIC_NEGATIVE,
    "dynamic_negative_terms": DYNAMIC_NEGATIVE,
    "dynamic_threshold": {"percentile": 0.995},
    "energy_preserving": {"robust": False, "scope": "sample"},
    "epsilon_scaling": {"scale": 1.005},
    "fdg": {"gains": (1.0, 0.5)},
    "fresca": {"low": 1.0, "high": 1.25, "cutoff": 0.3},
    "higs": {"weight": 1.75, "average": 0.75, "eta": 1.0, "t_min": 0.4, "t_max": 1.0, "bias_correction": False},
    "mimic_threshold": {"percentile": 1.0, "per_channel": True, "startpoint": "mean", "measure": "ad", "phi": 1.0},
    "momentum_guidance": {"alpha": 0.5, "beta": 0.6, "t_min": 0.3, "t_max": 0.95},
    "norm_limit": {"limit": 1.0, "scope": "sample"},
    "pmc": {"gamma": 1.05, "floor": 0.0},
    "rescale": {"phi": 0.7},
    "rescale_denoised": {"space": "v", "phi": 0.7},
    "rotate": ANGLE,
    "safe_latent": SAFE_LATENT,
    "safe_latent_terms": SAFE_LATENT,
    "skimmed": SKIMMED,
    "skimmed_exact": SKIMMED,
    "smc": {"lam": 5.0, "gain": 0.2, "relative": True, "chatter_free": False},
    "temporal_score_rescaling": {"k": 0.95, "data_sigma": 1.0},
}


def defaults(f) -> dict:
    parameters = inspect.signature(f).parameters.items()
    return {name: p.default for name, p in parameters if p.default not in (p.empty, None)}


@pytest.mark.parametrize("name", DEFAULTS)
def test_defaults(name):
    assert defaults(getattr(g, name)) == DEFAULTS[name]
