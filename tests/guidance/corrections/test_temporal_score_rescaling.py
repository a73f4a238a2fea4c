"""Temporal Score Rescaling: what it promises of Gaussians, and its two ends."""

import pytest
import torch

import guidance as g
from specimens import oracle

from ..drawing import drawn

MEAN, SPREAD = 0.4, 0.8
LEVELS = [("ve", s) for s in (0.0, 1e-3, 0.3, 1.0, 80.0)] + [("flow", t) for t in (0.0, 1e-3, 0.5, 0.999, 1.0)]
every_level = pytest.mark.parametrize("kind,sigma", LEVELS)


def latents(seed=0):
    return drawn(2, 3, 4, 5, 6, seed=seed)


def posterior_mean(x, sigma, kind, variance):
    """The exact prediction for data N(MEAN, variance)."""
    a, s = oracle.signal_noise(sigma, kind)
    return MEAN + a * variance / (a**2 * variance + s**2) * (x - a * MEAN)


@every_level
@pytest.mark.parametrize("k", [0.5, 0.95, 4.0])
def test_of_a_gaussian_it_makes_one_of_another_variance(kind, sigma, k):
    """The exact denoiser of N(m, S^2) becomes that of N(m, S^2/k), at every level, the two ends included."""
    _, x = latents()
    ours = g.temporal_score_rescaling(
        posterior_mean(x, sigma, kind, SPREAD**2), x=x, sigma=sigma, kind=kind, k=k, data_sigma=SPREAD
    )
    torch.testing.assert_close(ours, posterior_mean(x, sigma, kind, SPREAD**2 / k), rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("k", [0.9, 2.0])
@pytest.mark.parametrize("kind,sigmas", [("ve", [10.0, 3.0, 1.0, 0.3, 0.05]), ("flow", [0.99, 0.8, 0.5, 0.2, 0.03])])
def test_the_noise_of_the_prediction_is_scaled_by_a_factor_that_goes_from_1_to_k(kind, sigmas, k):
    denoised, x = latents()
    factors = []
    for sigma in sigmas:
        ours = g.temporal_score_rescaling(denoised, x=x, sigma=sigma, kind=kind, k=k)
        ratio = g.eps_from_denoised(x, ours, sigma, kind=kind) / g.eps_from_denoised(x, denoised, sigma, kind=kind)
        torch.testing.assert_close(ratio, ratio.mean().expand_as(ratio), rtol=1e-9, atol=0.0)
        factors.append(ratio.mean().item())
    distance_to_k = [abs(factor - k) for factor in factors]
    assert distance_to_k == sorted(distance_to_k, reverse=True)
    assert factors[0] == pytest.approx(1.0, abs=0.02) and factors[-1] == pytest.approx(k, abs=0.01)


def test_without_a_signal_the_prediction_stands_bit_for_bit():
    denoised, x = latents()
    for sigma in (1.0, torch.ones(3), torch.tensor([1.0])):
        assert torch.equal(g.temporal_score_rescaling(denoised, x=x, sigma=sigma, kind="flow", k=0.5), denoised)


@pytest.mark.parametrize("kind", ["ve", "flow"])
def test_without_noise_the_factor_is_k(kind):
    """snr = inf, of which r = k is the limit; x is D there, and then nothing changes."""
    denoised, x = latents()
    ours = g.temporal_score_rescaling(denoised, x=x, sigma=0.0, kind=kind, k=0.9)
    torch.testing.assert_close(ours, 0.9 * denoised + 0.1 * x, rtol=1e-12, atol=1e-12)
    same = g.temporal_score_rescaling(denoised, x=denoised, sigma=0.0, kind=kind, k=0.9)
    torch.testing.assert_close(same, denoised, rtol=1e-12, atol=1e-12)


def test_samples_at_both_ends_share_a_batch():
    denoised, x = (t.float() for t in latents())
    sigma = torch.tensor([1.0, 0.0, 0.5])
    ours = g.temporal_score_rescaling(denoised, x=x, sigma=sigma, kind="flow", k=0.5)
    assert ours.isfinite().all() and torch.equal(ours[0], denoised[0])


def test_the_first_sigma_of_an_eps_model_does_not_overflow():
    denoised, x = (t.float() for t in latents())
    ours = g.temporal_score_rescaling(denoised, x=999999999.9 * x, sigma=999999999.9, kind="ve", k=0.5)
    torch.testing.assert_close(ours, denoised, rtol=1e-5, atol=1e-5)


def test_a_larger_data_sigma_acts_earlier():
    denoised, x = latents()
    small, large = (
        g.temporal_score_rescaling(denoised, x=x, sigma=3.0, kind="ve", k=0.5, data_sigma=s) - denoised
        for s in (1.0, 3.0)
    )
    assert (g.norm(large) > 2.0 * g.norm(small)).all()
