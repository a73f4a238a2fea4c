"""Laws of Adaptive Projected Guidance that no single formula shows."""

import math

import pytest
import torch

import guidance as g

from ..drawing import drawn


def pair(seed=0, batch=3):
    return drawn(2, batch, 4, 5, 6, seed=seed)


def test_without_eta_the_push_is_orthogonal_to_cond():
    cond, uncond = pair()
    push = g.apg(cond, uncond, scale=8.0) - cond
    assert (g.dot(push, cond).abs() < 1e-10 * g.norm(push) * g.norm(cond)).all()
    across = g.apg(cond, uncond, scale=2.0) - cond
    expected = g.norm(cond).square() + 49.0 * g.norm(across).square()
    torch.testing.assert_close(g.norm(g.apg(cond, uncond, scale=8.0)).square(), expected)


@pytest.mark.parametrize("threshold", [0.1, 2.5, 40.0])
def test_the_threshold_bounds_the_update(threshold):
    cond, uncond = pair()
    push = g.norm(g.apg(cond, uncond, scale=2.0, eta=1.0, norm_threshold=threshold) - cond)
    torch.testing.assert_close(push, g.norm(cond - uncond).clamp(max=threshold))


def test_a_negative_momentum_takes_back_what_the_last_step_did():
    cond, uncond = pair()
    state = g.Memory()
    state.begin(0)
    g.apg(cond, uncond, scale=8.0, momentum=-0.5, state=state)
    state.begin(1)
    half = cond - (cond - uncond) / 2
    torch.testing.assert_close(g.apg(cond, half, scale=8.0, momentum=-0.5, state=state), cond)


def test_a_momentum_counts_where_all_of_the_update_is_kept():
    (cond, uncond), (other, second) = pair(1), pair(2)
    state = g.Memory()
    state.begin(0)
    g.apg(other, second, scale=8.0, eta=1.0, momentum=-0.5, state=state)
    state.begin(1)
    expected = cond + 7.0 * (cond - uncond - 0.5 * (other - second))
    torch.testing.assert_close(g.apg(cond, uncond, scale=8.0, eta=1.0, momentum=-0.5, state=state), expected)


def test_a_step_evaluated_twice_advances_once():
    (cond, uncond), (other, second) = pair(1), pair(2)
    knobs = {"scale": 8.0, "momentum": -0.5}
    once, twice = g.Memory(), g.Memory()
    for state, calls in ((once, [(0, cond, uncond)]), (twice, [(0, other, second), (0, cond, uncond)])):
        for step, *predictions in calls:
            state.begin(step)
            g.apg(*predictions, **knobs, state=state)
        state.begin(1)
    assert torch.equal(g.apg(other, second, **knobs, state=once), g.apg(other, second, **knobs, state=twice))


def test_momentum_without_a_state_is_the_first_step():
    cond, uncond = pair()
    assert torch.equal(g.apg(cond, uncond, scale=4.0, momentum=-0.5), g.apg(cond, uncond, scale=4.0))


def test_the_hosts_convention_is_the_papers_at_one_more():
    # The host's node adds w times the projected difference to cond.
    cond, uncond = pair()
    difference = cond - uncond
    along = g.dot(difference, cond) / g.dot(cond, cond) * cond
    torch.testing.assert_close(g.apg(cond, uncond, scale=5.0 + 1.0), cond + 5.0 * (difference - along))
    assert not math.isclose(g.apg(cond, uncond, scale=5.0).std(), g.apg(cond, uncond, scale=6.0).std(), rel_tol=1e-3)
