"""Laws of condition annealing that no single formula shows."""

import pytest
import torch

import guidance as g

from ..drawing import drawn


@pytest.mark.parametrize("gamma", [0.0, 0.3, 0.9])
def test_the_rescaled_conditioning_keeps_its_mean_and_deviation(gamma):
    y = 3.0 + 0.4 * drawn(3, 7, 16)
    noisy = g.cads(y, drawn(3, 7, 16, seed=1), gamma=gamma, scale=0.25)
    torch.testing.assert_close(noisy.mean((1, 2)), y.mean((1, 2)))
    torch.testing.assert_close(noisy.std((1, 2)), y.std((1, 2)))
    assert not torch.allclose(noisy, y, atol=1e-2)


def test_without_rescaling_the_noise_has_the_deviation_that_was_asked_for():
    y, n = drawn(1, 50, 40), drawn(1, 50, 40, seed=1)
    noisy = g.cads(y, n, gamma=0.36, scale=0.25, psi=0.0)
    torch.testing.assert_close(noisy, 0.6 * y + 0.25 * 0.8 * n)


def test_at_gamma_1_it_is_the_conditioning_itself():
    y = drawn(2, 7, 16)
    assert g.cads(y, drawn(2, 7, 16, seed=1), gamma=1.0, scale=0.25) is y


def test_a_zeroed_embedding_gets_its_noise_unscaled():
    n = drawn(2, 7, 16)
    y = torch.zeros_like(n)
    torch.testing.assert_close(g.cads(y, n, gamma=0.5, scale=0.2), 0.2 * 0.5**0.5 * n)


def test_a_zeroed_sample_beside_another_is_its_own_business():
    y = torch.cat([drawn(1, 7, 16), torch.zeros(1, 7, 16, dtype=torch.float64)])
    n = drawn(2, 7, 16, seed=1)
    both = g.cads(y, n, gamma=0.5, scale=0.2)
    for i in range(2):
        assert torch.equal(both[i : i + 1], g.cads(y[i : i + 1], n[i : i + 1], gamma=0.5, scale=0.2))


def test_the_ramp_of_the_paper():
    steps = [i / 10 for i in range(11)]
    gammas = [g.cads_gamma(p, tau1=0.6, tau2=0.9) for p in steps]
    assert gammas == pytest.approx([0, 0, 1 / 3, 2 / 3, 1, 1, 1, 1, 1, 1, 1], abs=1e-9)


@pytest.mark.parametrize(
    ("progress", "tau1", "tau2", "gamma"),
    [(0.0, 1.0, 1.0, 1.0), (0.0, 0.0, 1.0, 0.0), (0.5, 0.0, 1.0, 0.5), (1.0, 0.0, 1.0, 1.0), (0.4, 0.5, 0.5, 0.0)],
)
def test_the_ends_of_the_ramp(progress, tau1, tau2, gamma):
    assert g.cads_gamma(progress, tau1=tau1, tau2=tau2) == gamma
