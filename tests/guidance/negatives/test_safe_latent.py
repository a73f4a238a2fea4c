"""Laws of Safe Latent Diffusion that no single formula shows, and whole runs against the literal rule in eps."""

import numpy as np
import pytest
import torch

import guidance as g
from specimens.negatives.safe_latent import literal

from ..drawing import drawn

MEDIUM = {"concept_scale": 1000.0, "threshold": 0.01, "momentum_scale": 0.3, "momentum_beta": 0.4}
BARE = {"momentum_scale": 0.0, "momentum_beta": 0.0}


@pytest.mark.parametrize(("kind", "sigmas"), [("ve", (9.0, 4.0, 1.5, 0.4)), ("flow", (0.95, 0.7, 0.4, 0.1))])
@pytest.mark.parametrize("knobs", [MEDIUM, {**MEDIUM, "threshold": 1.0}, {**MEDIUM, "concept_scale": 2.0}])
def test_a_run_with_a_warm_up_is_the_literal_rule_in_eps(kind, sigmas, knobs):
    state, terms_state, nu, warmed = g.Memory(), g.Memory(), [0.0, 0.0], []
    for step, sigma in enumerate(sigmas):
        c, u, s = drawn(3, 2, 4, 5, 6, seed=step)
        for memory in (state, terms_state):
            memory.begin(step)
        given = {"scale": 6.0, "sigma": sigma, "kind": kind, "warm": step >= 2, **knobs}
        ours = g.safe_latent(c, u, s, state=state, **given)
        terms = g.safe_latent_terms(c, u, s, state=terms_state, **given)
        expected = []
        for i in range(2):
            sample = (t[i].numpy() for t in (c, u, s))
            d, nu[i] = literal(*sample, 6.0, sigma, kind, *knobs.values(), step >= 2, nu[i])
            expected.append(d)
        np.testing.assert_allclose(ours.numpy(), np.stack(expected), rtol=1e-10, atol=1e-10)
        torch.testing.assert_close(g.cfg(c, u, scale=6.0) + terms, ours)
        warmed.append(terms.abs().max().item() > 0.0)
    assert warmed == [False, False, True, True]
    assert all(np.abs(momentum).max() > 0.0 for momentum in nu)


def test_what_was_remembered_in_the_warm_up_counts_after_it():
    c, u, s = drawn(3, 2, 4, 5, 6)
    given = {"scale": 6.0, "sigma": 2.0, "kind": "ve", **MEDIUM}
    state = g.Memory()
    state.begin(0)
    assert torch.equal(g.safe_latent(c, u, s, warm=False, state=state, **given), g.cfg(c, u, scale=6.0))
    state.begin(1)
    assert (g.safe_latent(c, u, s, state=state, **given) - g.safe_latent(c, u, s, **given)).abs().max() > 0.01


@pytest.mark.parametrize(("kind", "sigma", "unit"), [("ve", 3.0, 3.0), ("flow", 0.75, 3.0)])
def test_only_values_that_lean_towards_the_concept_are_touched(kind, sigma, unit):
    u = torch.zeros(1, 1, 5, dtype=torch.float64)
    s = torch.full_like(u, 6.0)
    # In eps, c - s is 1, 0.02, 0.005, -0.005 and -1: only the last three lie below the threshold of 0.01.
    c = s - unit * torch.tensor([[[1.0, 0.02, 0.005, -0.005, -1.0]]], dtype=torch.float64)
    terms = g.safe_latent_terms(c, u, s, scale=2.0, sigma=sigma, kind=kind, **{**MEDIUM, **BARE})
    torch.testing.assert_close(terms, torch.tensor([[[0.0, 0.0, -12.0, -12.0, -12.0]]], dtype=torch.float64))
    soft = {**MEDIUM, **BARE, "concept_scale": 20.0}
    terms = g.safe_latent_terms(c, u, s, scale=2.0, sigma=sigma, kind=kind, **soft)
    torch.testing.assert_close(terms, torch.tensor([[[0.0, 0.0, -1.2, -1.2, -12.0]]], dtype=torch.float64))


def test_a_huge_threshold_and_scale_is_not_guidance():
    c, u, s = drawn(3, 2, 4, 5, 6)
    everywhere = {**BARE, "concept_scale": 1e9, "threshold": 1e9}
    ours = g.safe_latent(c, u, s, scale=6.0, sigma=2.0, kind="ve", **everywhere)
    torch.testing.assert_close(ours, g.compose(c, u, [s], scale=6.0, weights=[6.0]))


def test_a_step_evaluated_twice_advances_once():
    (c, u, s), other = drawn(3, 2, 4, 5, 6), drawn(3, 2, 4, 5, 6, seed=1)
    given = {"scale": 6.0, "sigma": 2.0, "kind": "ve", **MEDIUM}
    once, twice = g.Memory(), g.Memory()
    for state, calls in ((once, [(0, (c, u, s))]), (twice, [(0, other), (0, (c, u, s))])):
        for step, predictions in calls:
            state.begin(step)
            g.safe_latent(*predictions, state=state, **given)
        state.begin(1)
    assert torch.equal(g.safe_latent(*other, state=once, **given), g.safe_latent(*other, state=twice, **given))


@pytest.mark.parametrize(("kind", "sigma"), [("ve", 0.0), ("flow", 0.0), ("flow", 1.0)])
@pytest.mark.parametrize("threshold", [0.0, 0.01])
def test_the_ends_of_a_run_are_finite(kind, sigma, threshold):
    c, u, s = drawn(3, 2, 4, 5, 6)
    for given in (sigma, torch.full((2,), sigma)):
        state = g.Memory()
        for step in range(2):
            state.begin(step)
            knobs = {**MEDIUM, "threshold": threshold}
            got = g.safe_latent(c, u, s, scale=6.0, sigma=given, kind=kind, state=state, **knobs)
            assert got.isfinite().all()
            assert sigma < 1.0 or torch.equal(got, g.cfg(c, u, scale=6.0))
