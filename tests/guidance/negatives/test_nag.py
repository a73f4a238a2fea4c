"""Laws of Normalized Attention Guidance."""

import sys

import numpy as np
import pytest
import torch

import guidance as g
from specimens.negatives.nag import literal

NORMS = {1: lambda t: t.abs().sum(-1), 2: lambda t: t.norm(dim=-1)}


def tokens(seed=0, shape=(2, 30, 8), dtype=torch.float64):
    """z+ and z- of tokens of very different lengths."""
    generator = torch.Generator().manual_seed(seed)
    lengths = torch.logspace(-2, 2, shape[1], dtype=torch.float64)[:, None]
    return [(torch.randn(shape, generator=generator, dtype=torch.float64) * lengths).to(dtype) for _ in range(2)]


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("tau", [0.5, 1.0, 1.7])
def test_no_token_is_longer_than_tau_times_the_positive_s(norm, tau):
    z, other = tokens()
    capped = g.nag(z, other, scale=6.0, tau=tau, alpha=1.0, norm=norm)
    length = NORMS[norm]
    ratio = length(capped) / length(z)
    assert ratio.max() <= tau * (1 + 1e-12)
    free = z + 5.0 * (z - other)
    over = length(free) > tau * length(z)
    assert over.any() and torch.allclose(ratio[over], torch.tensor(tau, dtype=torch.float64))
    assert torch.allclose(capped[~over], free[~over])


@pytest.mark.parametrize("norm", NORMS)
def test_the_direction_of_a_token_is_that_of_the_extrapolation(norm):
    z, other = tokens(1)
    capped = g.nag(z, other, scale=6.0, tau=1.0, alpha=1.0, norm=norm)
    free = z + 5.0 * (z - other)
    assert torch.allclose(torch.cosine_similarity(capped, free, dim=-1), torch.ones(2, 30, dtype=torch.float64))


def test_alpha_blends():
    z, other = tokens(2)
    whole = g.nag(z, other, scale=4.0, alpha=1.0)
    for alpha in (0.0, 0.25, 0.5, 1.0):
        blend = g.nag(z, other, scale=4.0, alpha=alpha)
        torch.testing.assert_close(blend, alpha * whole + (1 - alpha) * z, rtol=1e-12, atol=1e-12)


def test_the_two_norms_differ():
    z, other = tokens(3)
    assert not torch.allclose(g.nag(z, other, scale=5.0, norm=1), g.nag(z, other, scale=5.0, norm=2))
    with pytest.raises(ValueError, match="norm must be 1 or 2, got 3"):
        g.nag(z, other, scale=5.0, norm=3)


def test_a_token_of_zeros_stays_zero():
    z, other = tokens(4)
    z[:, 3] = 0.0
    for negative in (other, z):
        assert (g.nag(z, negative, scale=5.0)[:, 3] == 0.0).all()


def test_a_long_video_is_taken_piece_by_piece(monkeypatch):
    z, other = tokens(5, (2, 37, 4), torch.float32)
    whole = g.nag(z, other, scale=5.0)
    formula = sys.modules["guidance.negatives.nag"]
    taken, of_tokens = [], formula._of_tokens

    def counted(further, z, *rest, **knobs):
        taken.append(len(z))
        return of_tokens(further, z, *rest, **knobs)

    monkeypatch.setattr(formula, "_of_tokens", counted)
    monkeypatch.setattr(sys.modules["guidance.tensors.reduce"], "_PIECE", 40)
    assert torch.equal(g.nag(z, other, scale=torch.tensor([5.0, 5.0])), whole)
    assert taken == [10, 10, 10, 7] * 2


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_the_halves_do_not_overflow_on_the_way(dtype):
    z, other = (t.clamp(-100, 100) * 300 for t in tokens(6, (1, 20, 64)))
    got = g.nag(z.to(dtype), other.to(dtype), scale=9.0, tau=1.0, alpha=0.5)
    expected = literal(z.to(dtype).double().numpy(), other.to(dtype).double().numpy(), 9.0, 1.0, 0.5, 1)
    assert got.isfinite().all() and got.dtype == dtype
    assert np.abs(got.double().numpy() - expected).max() <= 1e-2 * np.abs(expected).max()
