"""Beta-CFG in the host: the norm is of eps, the density of the step, the floor of what comes out."""

import math

import pytest
from azimuth import guidance
from methods import BY_NAME
from tiny import distance, model, noise, sample, watch

EXACT = 1e-4


@pytest.mark.parametrize("kind", ["eps", "v", "flow"])
@pytest.mark.parametrize("name", ["beta_cfg", "beta_cfg_paper"])
def test_every_step_ends_with_the_formula_in_eps(kind, name):
    seen = []
    sample(watch(BY_NAME[name].on(model(kind), strength=1.0), seen), x=noise(2), steps=5)
    paper = name.endswith("paper")
    gamma, r = (1.0, 1.0) if paper else (0.5, 0.1 * math.sqrt(4 * 8 * 8))
    family = "flow" if kind == "flow" else "ve"
    weights = []
    for i, args in enumerate(seen):
        c, u, x = args["cond_denoised"], args["uncond_denoised"], args["input"]
        sigma = args["sigma"][0].item()
        w = args["cond_scale"] if paper else args["cond_scale"] * guidance.Beta(1.0, floor=0.0).weight(i / 4, sigma)
        eps_c, eps_u = (guidance.eps_from_denoised(x, d, sigma, kind=family) for d in (c, u))
        for k in range(2):
            length = (eps_c[k] - eps_u[k]).norm().item()
            weight = w * (r / length) ** gamma if length > 0 else w
            weight = max(weight, 0.0 if paper else 1.0)
            weights.append(weight)
            assert distance(args["denoised"][k], u[k] + weight * (c[k] - u[k])) < EXACT
    assert len(seen) == 5 and len({round(weight, 3) for weight in weights}) > 3
    if not paper:
        assert weights[0] == weights[-1] == 1.0


def test_the_density_counts_the_steps_of_the_run():
    seen = []
    patched = BY_NAME["beta_cfg"].on(model(), gamma=0.0, floor=0.0)
    sample(watch(patched, seen), steps=5)
    for density, args in zip((0.0, 1.6875, 1.5, 0.5625, 0.0), seen, strict=True):  # 12 p (1 - p)^2
        c, u = args["cond_denoised"], args["uncond_denoised"]
        assert distance(args["denoised"], u + 5.0 * density * (c - u)) < EXACT
