"""Laws of beta-CFG that no single formula shows."""

import math

import pytest
import torch

import guidance as g

from ..drawing import drawn


def pair(seed=0, shape=(3, 4, 5, 6)):
    return drawn(2, *shape, seed=seed)


def in_eps(update, sigma, kind):
    return g.norm(update) * (1 / sigma if kind == "ve" else (1 - sigma) / sigma)


@pytest.mark.parametrize("kind,sigma", [("ve", 3.7), ("ve", 0.05), ("flow", 0.8), ("flow", 0.03)])
def test_with_gamma_1_the_update_has_the_norm_w_in_eps(kind, sigma):
    cond, uncond = pair()
    expected = torch.full((3, 1, 1, 1), 7.0, dtype=torch.float64)
    for stretch in (1.0, 40.0):
        d = g.beta_cfg(uncond + stretch * (cond - uncond), uncond, scale=7.0, gamma=1.0, sigma=sigma, kind=kind)
        torch.testing.assert_close(in_eps(d - uncond, sigma, kind), expected)


@pytest.mark.parametrize("gamma", [0.3, 1.0])
def test_a_doubled_difference_moves_by_2_to_the_power_1_minus_gamma(gamma):
    cond, uncond = pair()
    knobs = {"scale": 7.0, "gamma": gamma, "sigma": 2.0, "kind": "ve"}
    once = g.beta_cfg(cond, uncond, **knobs) - uncond
    twice = g.beta_cfg(2 * cond - uncond, uncond, **knobs) - uncond
    torch.testing.assert_close(twice, 2 ** (1 - gamma) * once)


@pytest.mark.parametrize("kind,sigma", [("ve", 3.7), ("flow", 0.8)])
def test_with_a_reference_w_keeps_its_meaning_at_any_size(kind, sigma):
    cond, uncond = pair()
    delta = cond - uncond
    rms = in_eps(delta, sigma, kind) / math.sqrt(delta[0].numel())
    delta = delta * (0.25 / rms)
    knobs = {"scale": 7.0, "gamma": 1.0, "sigma": sigma, "kind": kind, "reference": 0.25}
    torch.testing.assert_close(g.beta_cfg(uncond + delta, uncond, **knobs), uncond + 7.0 * delta)
    small = g.beta_cfg(cond, uncond, **knobs)
    large = g.beta_cfg(cond.repeat(1, 1, 4, 4), uncond.repeat(1, 1, 4, 4), **knobs)
    torch.testing.assert_close(large, small.repeat(1, 1, 4, 4))


def test_levels_of_equal_signal_to_noise_give_the_same():
    cond, uncond = pair()
    t = torch.tensor([0.1, 0.5, 0.9], dtype=torch.float64)
    flow = g.beta_cfg(cond, uncond, scale=7.0, gamma=0.7, sigma=t, kind="flow")
    torch.testing.assert_close(flow, g.beta_cfg(cond, uncond, scale=7.0, gamma=0.7, sigma=g.ve_sigma(t), kind="ve"))


def test_with_the_density_of_the_paper_the_ends_are_unconditional_and_a_floor_makes_them_conditional():
    cond, uncond = pair()
    knobs = {"gamma": 1.0, "sigma": 2.0, "kind": "ve"}
    density = g.Beta(1.0, 2.0, 3.0, 0.0)
    for progress in (0.0, 1.0):
        w = 7.0 * density.weight(progress, 2.0)
        assert torch.equal(g.beta_cfg(cond, uncond, scale=w, **knobs), uncond)
        assert torch.equal(g.beta_cfg(cond, uncond, scale=w, floor=1.0, **knobs), cond)
    assert density.weight(0.5, 2.0) == pytest.approx(1.5)


def test_the_floor_holds_per_sample():
    cond, uncond = pair()
    cond[1] = uncond[1] + 1e-3 * (cond[1] - uncond[1])
    d = g.beta_cfg(cond, uncond, scale=7.0, gamma=1.0, sigma=1.0, kind="ve", floor=1.0)
    lengths = g.norm(cond - uncond)
    assert lengths[0] > 7.0 > lengths[1] > 0.0
    torch.testing.assert_close(d[0], cond[0])
    torch.testing.assert_close(g.norm(d - uncond)[1].item(), 7.0)


def test_where_there_is_no_difference_nothing_is_divided():
    cond, uncond = pair()
    assert torch.equal(g.beta_cfg(cond, cond, scale=7.0, gamma=1.0, sigma=1.0, kind="ve"), cond)
    at_noise = g.beta_cfg(cond, uncond, scale=7.0, gamma=1.0, sigma=1.0, kind="flow")
    torch.testing.assert_close(at_noise, g.cfg(cond, uncond, scale=7.0))
