"""Laws of tangential damping that no single formula shows."""

import pytest
import torch

import guidance as g

from ..drawing import drawn


def step(seed=0, shape=(3, 4, 5, 6)):
    cond, uncond, x = drawn(3, *shape, seed=seed)
    return cond, uncond, 3.0 * x


def damped(cond, uncond, x):
    """a_u' as a vector per sample."""
    return x - g.tcfg(cond, uncond, x=x)


@pytest.mark.parametrize("shape", [(3, 4, 30), (3, 4, 5, 6), (2, 4, 3, 5, 6)], ids=len)
def test_it_is_a_singular_value_decomposition(shape):
    cond, uncond, x = step(shape=shape)
    for c, u, z, got in zip(cond, uncond, x, damped(cond, uncond, x), strict=True):
        rows = torch.stack([(z - u).flatten(), (z - c).flatten()])
        first = torch.linalg.svd(rows, full_matrices=False).Vh[0]
        torch.testing.assert_close(got.flatten(), (rows[0] @ first) * first)


def test_what_is_left_is_a_projection():
    cond, uncond, x = step()
    left = damped(cond, uncond, x)
    gone = (x - uncond) - left
    assert gone.norm() > 1.0
    assert (g.dot(left, gone).abs() < 1e-10 * g.norm(left) * g.norm(gone)).all()
    assert (g.norm(left) <= g.norm(x - uncond)).all()


def test_a_parallel_pair_is_returned():
    cond, _, x = step()
    uncond = x + 0.6 * (x - cond)
    torch.testing.assert_close(g.tcfg(cond, uncond, x=x), uncond)
    torch.testing.assert_close(g.tcfg(cond, cond, x=x), cond)


def test_orthogonal_vectors_of_one_length_have_no_first_one_and_are_returned():
    x = torch.zeros(1, 1, 4, dtype=torch.float64)
    a_u, a_c = torch.tensor([[[1.0, 1, 0, 0]], [[0, 0, 1.0, 1]]], dtype=torch.float64)
    assert torch.equal(g.tcfg(x - a_c, x - a_u, x=x), x - a_u)
    # The longer of two orthogonal vectors is the first one, and nothing of the other is along it.
    torch.testing.assert_close(g.tcfg(x - 2.0 * a_c, x - a_u, x=x), x)
    torch.testing.assert_close(g.tcfg(x - 0.5 * a_c, x - a_u, x=x), x - a_u)


def test_the_order_of_the_pair_matters_and_its_sign_does_not():
    cond, uncond, x = step()
    torch.testing.assert_close(x - g.tcfg(2 * x - cond, uncond, x=x), damped(cond, uncond, x))
    assert (g.tcfg(uncond, cond, x=x) - g.tcfg(cond, uncond, x=x)).abs().max() > 0.1


def test_one_sigma_for_all_makes_noise_and_score_the_same():
    cond, uncond, x = step()
    sigma = 7.0
    e_c, e_u = (g.eps_from_denoised(x, d, sigma, kind="ve") for d in (cond, uncond))
    zero = torch.zeros_like(x)
    in_eps = zero - g.tcfg(zero - e_c, zero - e_u, x=zero)
    torch.testing.assert_close(g.denoised_from_eps(x, in_eps, sigma, kind="ve"), g.tcfg(cond, uncond, x=x))


def test_weight_1_is_cond_whatever_is_damped():
    cond, uncond, x = step()
    assert torch.equal(g.cfg(cond, g.tcfg(cond, uncond, x=x), scale=1.0), cond)


def test_large_values_do_not_overflow():
    cond, uncond, x = (t.float() * 1e12 for t in step())
    expected = g.tcfg(cond.double(), uncond.double(), x=x.double())
    torch.testing.assert_close(g.tcfg(cond, uncond, x=x).double(), expected, rtol=1e-4, atol=1e8)
