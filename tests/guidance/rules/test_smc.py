"""Laws of Sliding Mode Guidance that no single formula shows."""

import pytest
import torch

import guidance as g
from specimens.rules.smc import literal

from ..drawing import drawn

W, LAM, K = 3.0, 5.0, 0.2


def errors(e, steps=6, **knobs):
    """What is left of a constant error after each step, at constant gain."""
    cond, uncond = torch.tensor([[[e, -e]]], dtype=torch.float64), torch.zeros(1, 1, 2, dtype=torch.float64)
    state, left = g.Memory(), []
    for step in range(steps):
        state.begin(step)
        guided = g.smc(cond, uncond, scale=W, sigma=1.0, gain=K, relative=False, state=state, **knobs)
        left.append((guided / W).flatten().tolist())
    assert all(a == -b for a, b in left)
    return [a for a, _ in left]


@pytest.mark.parametrize("e", [0.9, 0.21])
def test_a_large_error_shrinks_by_the_gain(e):
    assert errors(e) == pytest.approx([e - K] * 6)


@pytest.mark.parametrize("e", [0.18, 0.165])
def test_an_error_a_little_smaller_than_the_gain_changes_its_sign(e):
    assert (LAM - 1) * K / LAM < e < K
    assert errors(e) == pytest.approx([e - K] * 6)
    assert errors(0.18)[0] == pytest.approx(-0.02)


@pytest.mark.parametrize("e", [0.155, 0.05, 0.001])
def test_a_small_error_alternates(e):
    assert errors(e) == pytest.approx([e - K, e + K] * 3)


@pytest.mark.parametrize("e", [0.9, 0.18, 0.05])
def test_below_a_lambda_of_1_no_error_alternates(e):
    assert errors(e, lam=0.05) == pytest.approx([e - K] * 6)


@pytest.mark.parametrize("e", [0.9, 0.18, 0.05])
def test_at_a_lambda_of_0_an_error_that_does_not_change_is_left_alone(e):
    assert errors(e, lam=0.0) == pytest.approx([e] * 6)


@pytest.mark.parametrize("e", [0.9, 0.21, 0.18, 0.05])
def test_the_soft_threshold_only_shrinks(e):
    assert errors(e, chatter_free=True) == pytest.approx([max(e - K, 0.0)] * 6)


def pair(seed=0):
    return drawn(2, 3, 4, 5, 6, seed=seed)


@pytest.mark.parametrize("relative", [True, False])
def test_a_run_is_the_papers_loop(relative):
    state, kept = g.Memory(), [None] * 3
    for step, sigma in enumerate((0.98, 0.8, 0.5, 0.2)):
        cond, uncond = pair(step)
        state.begin(step)
        sigmas = torch.full((3,), sigma, dtype=torch.float64)
        got = g.smc(cond, uncond, scale=W, sigma=sigmas, relative=relative, state=state)
        for i in range(3):
            own = (W, sigma, LAM, 0.2, relative, False, kept[i])
            expected, kept[i] = literal(cond[i].numpy(), uncond[i].numpy(), *own)
            torch.testing.assert_close(got[i], torch.from_numpy(expected))


def test_a_relative_gain_does_not_depend_on_the_size_of_the_error_and_an_absolute_one_does():
    cond, uncond = pair()

    def push(size, **knobs):
        return g.smc(uncond + size * (cond - uncond), uncond, scale=W, sigma=0.5, **knobs) - uncond

    torch.testing.assert_close(push(10.0), 10.0 * push(1.0))
    assert not torch.allclose(push(10.0, relative=False), 10.0 * push(1.0, relative=False))


def test_the_space_is_the_networks():
    # The absolute gain acts on the velocity: at sigma it moves the prediction by w sigma K.
    cond, uncond = pair()
    for sigma in (0.25, 0.75):
        guided = g.smc(cond, uncond, scale=W, sigma=sigma, relative=False)
        moved = (guided - g.cfg(cond, uncond, scale=W)).abs()
        torch.testing.assert_close(moved, torch.full_like(moved, W * sigma * K))


def test_a_step_evaluated_twice_advances_once():
    first, other, second = (pair(i) for i in range(3))
    knobs = {"scale": W, "sigma": 0.5}
    once, twice = g.Memory(), g.Memory()
    for state, calls in ((once, [(0, first), (1, second)]), (twice, [(0, other), (0, first), (1, other), (1, second)])):
        for step, given in calls:
            state.begin(step)
            g.smc(*given, **knobs, state=state)
        state.begin(2)
    assert torch.equal(g.smc(*other, **knobs, state=once), g.smc(*other, **knobs, state=twice))


def test_without_a_state_every_step_is_the_first():
    (cond, uncond), first = pair(), g.Memory()
    guided = g.smc(cond, uncond, scale=W, sigma=0.5)
    assert torch.equal(g.smc(cond, uncond, scale=W, sigma=0.5, state=first), guided)
    first.begin(1)
    torch.testing.assert_close(uncond + W * 0.5 * first.value, guided)


def test_weight_1_leaves_the_memory_as_it_was():
    (cond, uncond), state = pair(), g.Memory()
    state.keep(uncond)
    assert torch.equal(g.smc(cond, uncond, scale=1.0, sigma=0.5, state=state), cond)
    state.begin(1)
    assert state.value is uncond
