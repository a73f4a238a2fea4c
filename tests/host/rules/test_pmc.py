"""Norm-Capped Guidance on the real host: what a step ends with is as long as the cap allows."""

import pytest
import torch
from azimuth import guidance
from methods import BY_NAME
from tiny import distance, model, noise, sample, watch

EXACT = 1e-4


def steps(patched):
    seen = []
    sample(watch(patched, seen), steps=4, x=noise(2))
    assert len(seen) == 4
    return seen


def length(t):
    return t.double().flatten(1).norm(dim=1).view(-1, 1, 1, 1)


@pytest.mark.parametrize("kind", ["eps", "flow"])
@pytest.mark.parametrize("gamma", [1.05, 1.6])
def test_the_norm_in_x0_space_stays_below_the_cap(kind, gamma):
    for args in steps(BY_NAME["pmc"].on(model(kind), gamma=gamma)):
        c, u, w, result = (args[name] for name in ("cond_denoised", "uncond_denoised", "cond_scale", "denoised"))
        a, b, q = length(c - u) ** 2, (c * (c - u)).double().flatten(1).sum(1).view(-1, 1, 1, 1), length(c) ** 2
        largest = (-b + (b * b + (gamma**2 - 1) * a * q).sqrt()) / a
        beta = largest.clamp(max=w - 1).float()
        assert distance(result, c + beta * (c - u)) < EXACT
        binds = largest < w - 1
        norms = torch.where(binds, gamma * length(c), length(u + w * (c - u)))
        assert torch.allclose(length(result), norms, rtol=1e-5)


def test_gamma_may_be_a_schedule_and_the_floor_keeps_a_share():
    schedule = guidance.Linear(1.0, 2.5)
    for i, args in enumerate(steps(BY_NAME["pmc"].on(model(), gamma=schedule, floor=0.1))):
        c, u, w = (args[name] for name in ("cond_denoised", "uncond_denoised", "cond_scale"))
        expected = guidance.pmc(c, u, scale=w, gamma=1.0 + 0.5 * i, floor=0.1)
        assert distance(args["denoised"], expected) < EXACT
