"""Laws of Momentum Guidance that no single formula shows."""

import pytest
import torch

import guidance as g
from specimens.corrections.momentum_guidance import literal

from ..drawing import drawn

LEVELS = {"flow": (0.98, 0.9, 0.7, 0.5, 0.2), "ve": (50.0, 10.0, 3.0, 1.0, 0.3)}


def pair(seed=0, batch=3):
    return drawn(2, batch, 4, 5, 6, seed=seed)


@pytest.mark.parametrize("kind", LEVELS)
def test_a_run_is_the_papers_loop_and_averages_outside_the_window_too(kind):
    state, m = g.Memory(), None
    moved = []
    for step, sigma in enumerate(LEVELS[kind]):
        x, d = pair(step)
        state.begin(step)
        got = g.momentum_guidance(d, x=x, sigma=torch.full((3,), sigma), kind=kind, alpha=0.8, state=state)
        expected, m = literal(d.numpy(), x.numpy(), sigma, kind, 0.8, 0.6, 0.3, 0.95, m)
        torch.testing.assert_close(got, torch.from_numpy(expected), rtol=1e-6, atol=1e-6)
        moved.append(not torch.equal(got, d))
    assert moved == [False, True, True, True, False]  # the first and the last level lie outside
    state.begin(5)
    torch.testing.assert_close(state.value, torch.from_numpy(m), rtol=1e-6, atol=1e-6)


def test_both_ends_of_the_window_belong_to_it():
    x, d = pair()
    for sigma in (0.3, 0.95):
        state = g.Memory()
        state.keep(x.clone())
        state.begin(1)
        moved = g.momentum_guidance(d, x=x, sigma=torch.full((3,), sigma), kind="flow", state=state)
        assert not torch.equal(moved, d)


def test_a_constant_velocity_is_left_alone():
    (x, v), state = pair(), g.Memory()
    for step, t in enumerate((0.9, 0.8, 0.6, 0.4)):
        state.begin(step)
        d = x - t * v
        got = g.momentum_guidance(d, x=x, sigma=t, kind="flow", alpha=1.5, state=state)
        torch.testing.assert_close(got, d)


def test_it_extrapolates_a_changing_velocity():
    # v grows by 1 a step: m lags beta/(1 - beta) steps behind its successor, and alpha times that is added.
    x, state = torch.zeros(1, 1, 2, dtype=torch.float64), g.Memory()
    for step in range(60):
        state.begin(step)
        v = torch.full_like(x, float(step))
        got = g.momentum_guidance(x - 0.5 * v, x=x, sigma=0.5, kind="flow", alpha=0.5, beta=0.6, state=state)
    lag = 1.0 / (1.0 - 0.6)
    torch.testing.assert_close((x - got) / 0.5, v + 0.5 * lag)


def test_a_step_evaluated_twice_advances_once():
    (x, d), (_, other) = pair(1), pair(2)
    knobs = {"x": x, "sigma": 0.6, "kind": "flow"}
    once, twice = g.Memory(), g.Memory()
    for state, calls in ((once, [(0, x), (1, d)]), (twice, [(0, x), (1, other), (1, d)])):
        for step, prediction in calls:
            state.begin(step)
            g.momentum_guidance(prediction, **knobs, state=state)
        state.begin(2)
    assert torch.equal(g.momentum_guidance(d, **knobs, state=once), g.momentum_guidance(d, **knobs, state=twice))


def test_at_sigma_0_nothing_moves():
    (x, d), state = pair(), g.Memory()
    state.keep(x.clone())
    state.begin(1)
    for sigma in (0.0, torch.zeros(3)):
        assert torch.equal(g.momentum_guidance(d, x=x, sigma=sigma, kind="flow", t_min=0.0, state=state), d)
