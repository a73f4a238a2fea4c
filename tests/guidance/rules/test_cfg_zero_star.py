"""Laws of CFG-Zero* that no single formula shows."""

import pytest
import torch

import guidance as g

from ..drawing import drawn


def step(seed=0, sigma=0.7, kind="flow"):
    """x, D_c, D_u and what turns a denoised prediction into x - D, the velocity times t or the noise times sigma."""
    cond, uncond, noise = drawn(3, 3, 4, 5, 6, seed=seed)
    x = (1 - sigma) * cond + sigma * noise if kind == "flow" else cond + sigma * noise
    return x, cond, uncond


def test_in_velocities_it_is_the_paper():
    t = 0.7
    x, cond, uncond = step(sigma=t)
    v_c, v_u = (g.v_from_denoised(x, d, t, kind="flow") for d in (cond, uncond))
    s = g.dot(v_c, v_u) / g.dot(v_u, v_u)
    literal = g.denoised_from_v(x, s * v_u + 4.0 * (v_c - s * v_u), t, kind="flow")
    torch.testing.assert_close(g.cfg_zero_star(cond, uncond, scale=4.0, x=x), literal)


def test_of_an_eps_model_it_is_the_same_in_eps():
    x, cond, uncond = step(sigma=9.0, kind="ve")
    e_c, e_u = (g.eps_from_denoised(x, d, 9.0, kind="ve") for d in (cond, uncond))
    s = g.dot(e_c, e_u) / g.dot(e_u, e_u)
    literal = g.denoised_from_eps(x, s * e_u + 4.0 * (e_c - s * e_u), 9.0, kind="ve")
    torch.testing.assert_close(g.cfg_zero_star(cond, uncond, scale=4.0, x=x), literal)


def test_what_the_weight_stretches_is_orthogonal_to_the_unconditional_velocity():
    x, cond, uncond = step()
    stretched = g.cfg_zero_star(cond, uncond, scale=5.0, x=x) - cond
    assert stretched.norm() > 1.0
    assert (g.dot(stretched, x - uncond).abs() < 1e-10 * g.norm(stretched) * g.norm(x - uncond)).all()


@pytest.mark.parametrize("factor", [-3.0, 0.2, 40.0])
def test_the_length_of_the_unconditional_velocity_does_not_matter(factor):
    x, cond, uncond = step()
    longer = x - factor * (x - uncond)
    expected = g.cfg_zero_star(cond, uncond, scale=5.0, x=x)
    torch.testing.assert_close(g.cfg_zero_star(cond, longer, scale=5.0, x=x), expected)


def test_equal_predictions_are_returned():
    x, cond, _ = step()
    torch.testing.assert_close(g.cfg_zero_star(cond, cond, scale=5.0, x=x), cond)


def test_without_an_unconditional_velocity_the_weight_stretches_the_conditional_one():
    x, cond, _ = step()
    torch.testing.assert_close(g.cfg_zero_star(cond, x, scale=5.0, x=x), x - 5.0 * (x - cond))


def test_a_large_x_leaves_the_digits_of_the_predictions():
    x, cond, uncond = step(sigma=4500.0, kind="ve")
    exact = g.cfg_zero_star(cond, uncond, scale=7.0, x=x)
    single = g.cfg_zero_star(cond.float(), uncond.float(), scale=7.0, x=x.float())
    # x itself is rounded to 2e-4 there.
    assert (single.double() - exact).abs().max() < 5e-3


def test_the_hosts_node_is_another_method():
    # It multiplies the denoised prediction by s, where the paper multiplies the velocity.
    x, cond, uncond = step()
    w, s = 5.0, g.dot(x - cond, x - uncond) / g.dot(x - uncond, x - uncond)
    hosts = s * uncond + w * (cond - s * uncond)
    ours = g.cfg_zero_star(cond, uncond, scale=w, x=x)
    torch.testing.assert_close(ours - hosts, (1 - w) * (1 - s) * x)
    assert (ours - hosts).abs().max() > 0.1
