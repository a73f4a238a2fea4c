"""Laws and limits of ratio-aware guidance that no single formula shows."""

import math

import pytest
import torch

import guidance as g

from ..drawing import drawn


def three(seed=0, shape=(3, 4, 5, 6)):
    return drawn(3, *shape, seed=seed)


def test_the_ratio_is_that_of_the_velocities():
    cond, uncond, x = three()
    for t in (0.03, 0.5, 0.98):
        v_c, v_u = (g.v_from_denoised(x, d, t, kind="flow") for d in (cond, uncond))
        rho = (g.norm(v_c - v_u) / g.norm(v_u)).flatten()
        got = g.ratio_aware_scale(cond, uncond, x=x, scale=18.0, alpha=12.0)
        torch.testing.assert_close(got.double(), 1 + 17.0 * torch.exp(-12.0 * rho), rtol=1e-6, atol=1e-6)


def test_a_larger_ratio_is_damped_more():
    cond, uncond, x = three()
    weights = [
        g.ratio_aware_scale(uncond + share * (cond - uncond), uncond, x=x, scale=10.0, alpha=8.0)
        for share in (0.0, 0.01, 0.1, 1.0)
    ]
    assert weights[0].tolist() == [10.0] * 3
    for larger, smaller in zip(weights[:-1], weights[1:], strict=True):
        assert (smaller < larger).all() and (smaller >= 1.0).all()


@pytest.mark.parametrize("alpha", [0.0, 8.0])
def test_limits(alpha):
    cond, uncond, x = three()
    assert g.ratio_aware_scale(cond, cond, x=x, scale=10.0, alpha=alpha).tolist() == [10.0] * 3
    assert g.ratio_aware_scale(cond, cond, x=cond, scale=10.0, alpha=alpha).tolist() == [10.0] * 3
    assert g.ratio_aware_scale(cond, uncond, x=x, scale=1.0, alpha=alpha).tolist() == [1.0] * 3
    no_length = g.ratio_aware_scale(cond, uncond, x=uncond, scale=10.0, alpha=alpha)
    assert no_length.tolist() == [10.0 if alpha == 0.0 else 1.0] * 3


def test_it_is_a_scale_per_sample():
    cond, uncond, x = three()
    x[1] = uncond[1] + 1e3 * (x[1] - uncond[1])
    w = g.ratio_aware_scale(cond, uncond, x=x, scale=torch.tensor([10.0, 10.0, 4.0]), alpha=8.0)
    assert w.shape == (3,) and w[1] > 9.0 > 2.0 > w[0] > 1.0
    guided = g.cfg(cond, uncond, scale=w)
    for i in range(3):
        torch.testing.assert_close(guided[i], uncond[i] + w[i].item() * (cond[i] - uncond[i]))


def test_a_ve_model_is_hardly_damped_at_the_start_of_a_run():
    # x is sigma eps there, and eps_c - eps_u is a small part of it.
    cond, uncond, noise = three()
    w = g.ratio_aware_scale(cond, uncond, x=80.0 * noise, scale=10.0, alpha=8.0)
    rho = g.norm(cond - uncond) / g.norm(80.0 * noise - uncond)
    assert (rho < 0.03).all() and (w > 1 + 9 * math.exp(-8 * 0.03)).all()
