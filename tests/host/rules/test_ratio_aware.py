"""Ratio-Aware Guidance in the host: the ratio of the velocities, per sample, and a word where it does little."""

import math

import pytest
from methods import BY_NAME
from tiny import distance, model, noise, sample, watch

EXACT = 1e-4
RAAG, MAMBO_G = (18.0, 12.0), (10.0, 8.0)


def formula(args, w_max, alpha):
    """v = (x - D)/t, sample by sample."""
    c, u, x, t = (args[name] for name in ("cond_denoised", "uncond_denoised", "input", "sigma"))
    rows = []
    for k in range(len(x)):
        v_c, v_u = (x[k] - c[k]) / t[k], (x[k] - u[k]) / t[k]
        rho = ((v_c - v_u).norm() / v_u.norm()).item()
        w = 1 + (w_max - 1) * math.exp(-alpha * rho)
        rows.append((u[k] + w * (c[k] - u[k]), w))
    return rows


@pytest.mark.parametrize("kind", ["flow", "eps"])
@pytest.mark.parametrize(
    ("changes", "w_max", "alpha"),
    [
        ({"preset": {"preset": "RAAG"}, "weight": "w_max"}, *RAAG),
        ({"preset": {"preset": "MAMBO-G"}, "weight": "w_max"}, *MAMBO_G),
        ({"preset": {"preset": "MAMBO-G"}, "weight": "sampler cfg"}, 5.0, MAMBO_G[1]),
        ({"preset": {"preset": "custom", "w_max": 7.0, "alpha": 0.5}, "weight": "w_max"}, 7.0, 0.5),
    ],
)
def test_every_step_ends_with_the_formula(kind, changes, w_max, alpha):
    seen, weights = [], []
    sample(watch(BY_NAME["raag"].on(model(kind), **changes), seen), x=noise(2), steps=4)
    for args in seen:
        for k, (expected, w) in enumerate(formula(args, w_max, alpha)):
            weights.append(w)
            assert distance(args["denoised"][k], expected) < EXACT
    assert len(weights) == 8 and len(set(weights)) == 8


def test_it_damps_the_weight_of_a_schedule():
    seen = []
    patched = BY_NAME["raag"].on(BY_NAME["scheduled_cfg"].on(model("flow")), weight="sampler cfg")
    sample(watch(patched, seen), steps=4)
    for args, scheduled in zip(seen, (9.0, 20 / 3, 13 / 3, 2.0), strict=True):
        assert distance(args["denoised"], formula(args, scheduled, RAAG[1])[0][0][None]) < EXACT


def test_on_a_model_that_is_no_flow_model_it_says_once_that_it_does_little(said):
    def about():
        return [sentence for sentence in said() if "does little" in sentence]

    sample(BY_NAME["raag"].on(model("flow")), steps=3)
    sample(BY_NAME["raag"].on(model(), strength=0.0), steps=3)
    assert about() == []
    sample(BY_NAME["raag"].on(model()), steps=3)
    assert len(about()) == 1 and "Ratio-Aware Guidance" in about()[0]
