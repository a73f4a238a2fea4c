"""Rectified-CFG++ against its algorithm in velocities, written out, and against the equation that it solves."""

import math

import pytest
import torch

import guidance as g

from ..toys import Mixture

COND, UNCOND = Mixture([1.0], [0.8], 0.5), Mixture([0.4, 0.6], [-0.6, 0.9], 0.4)
START = torch.linspace(-2, 2, 41, dtype=torch.float64).reshape(1, 1, 41)


def levels(n):
    return [1 - i / n for i in range(n + 1)]


def velocity(model, x, t):
    return (x - model.denoised(x, 1 - t, t)) / t


def literal(ts, lam_max, gamma, fraction):
    """Algorithm 1."""
    x = START
    for t, after in zip(ts[:-1], ts[1:], strict=True):
        dt = after - t
        v_c = velocity(COND, x, t)
        ahead, t_ahead = x + fraction * dt * v_c, t + fraction * dt
        alpha = lam_max * (1 - t) ** gamma
        x = x + dt * (v_c + alpha * (velocity(COND, ahead, t_ahead) - velocity(UNCOND, ahead, t_ahead)))
    return x


def ours(ts, lam_max, gamma, fraction):
    x = START
    for t, after in zip(ts[:-1], ts[1:], strict=True):
        alpha = g.rectified_alpha(t, lam_max=lam_max, gamma=gamma, kind="flow")
        cond = COND.denoised(x, 1 - t, t)
        middle = g.predictor_sigma(t, after, fraction=fraction)
        ahead = g.euler_step(x, cond, sigma=t, sigma_next=middle)
        pair = (m.denoised(ahead, 1 - middle, middle) for m in (COND, UNCOND))
        cond_ahead, uncond_ahead = pair
        guided = g.cfg(cond_ahead, uncond_ahead, scale=1 + alpha)
        denoised = g.rectified_cfgpp(cond, guided, cond_ahead, sigma=t, sigma_middle=middle)
        x = g.euler_step(x, denoised, sigma=t, sigma_next=after)
    return x


@pytest.mark.parametrize("knobs", [(3.5, 0.0, 0.5), (3.5, 1.0, 0.5), (2.0, 0.5, 0.9), (0.0, 0.0, 0.5)], ids=str)
def test_a_run_is_that_of_the_algorithm(knobs):
    assert (ours(levels(12), *knobs) - literal(levels(12), *knobs)).abs().max() < 1e-11


def test_without_a_correction_it_is_euler_along_the_positive():
    x = START
    for t, after in zip(levels(12)[:-1], levels(12)[1:], strict=True):
        x = x + (after - t) * velocity(COND, x, t)
    assert (ours(levels(12), 0.0, 0.0, 0.5) - x).abs().max() < 1e-12


@pytest.mark.parametrize("gamma", [0.0, 1.0])
def test_more_steps_lead_to_cfg_at_the_weight_1_plus_alpha(gamma):
    lam_max, fine = 2.0, levels(6400)
    x = START
    for t, after in zip(fine[:-1], fine[1:], strict=True):
        w = 1 + lam_max * (1 - t) ** gamma
        v_c, v_u = velocity(COND, x, t), velocity(UNCOND, x, t)
        x = x + (after - t) * (v_u + w * (v_c - v_u))
    errors = [(ours(levels(n), lam_max, gamma, 0.5) - x).abs().mean().item() for n in (50, 100, 200)]
    assert errors[-1] < 0.02
    for larger, smaller in zip(errors[:-1], errors[1:], strict=True):
        assert larger / smaller > 1.6


def test_without_a_predictor_it_is_cfg():
    c, u, w = START, START.flip(-1), 4.5
    guided = g.cfg(c, u, scale=w)
    torch.testing.assert_close(g.rectified_cfgpp(c, guided, c, sigma=0.6, sigma_middle=0.6), guided)


def test_alpha():
    def alpha(sigma, kind="flow", gamma=2.0):
        return g.rectified_alpha(sigma, lam_max=3.0, gamma=gamma, kind=kind)

    assert alpha(1.0) == 0.0 and alpha(1.0, gamma=0.0) == 3.0
    assert alpha(0.5) == pytest.approx(0.75) and alpha(0.0) == 3.0
    assert alpha(1.0000001) == 0.0
    assert alpha(1.0, "ve") == pytest.approx(0.75)  # as much noise as signal
    assert alpha(math.inf, "ve") == 0.0


def test_the_predictor_goes_part_of_the_way():
    assert g.predictor_sigma(0.8, 0.4) == pytest.approx(0.6)
    assert g.predictor_sigma(0.8, 0.0, fraction=0.9) == pytest.approx(0.08)
