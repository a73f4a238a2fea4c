"""Laws of Contrastive CFG that no single formula shows."""

import pytest
import torch

import guidance as g

from ..drawing import drawn


def three(seed=0, shape=(3, 4, 5, 6), apart=0.3):
    base, *parts = drawn(4, *shape, seed=seed)
    return base + apart * parts[0], base, base + apart * parts[1], parts[2]


def weights(result, cond, uncond, negative):
    """p and q of D - D_u = p (D_c - D_u) - q (D_n - D_u), per sample."""
    found = []
    for d, c, u, n in zip(result, cond, uncond, negative, strict=True):
        columns = torch.stack([(c - u).flatten(), -(n - u).flatten()], dim=1)
        found.append(torch.linalg.lstsq(columns, (d - u).flatten()[:, None]).solution.flatten())
    return torch.stack(found).unbind(1)


@pytest.mark.parametrize(("kind", "sigma"), [("ve", 3.0), ("flow", 0.7)])
def test_it_is_the_papers_rule_in_eps(kind, sigma):
    cond, uncond, negative, x = three(apart=1.0)
    c, u, n = (g.eps_from_denoised(x, d, sigma, kind=kind) for d in (cond, uncond, negative))
    toward, away = c - u, n - u
    squares = [(d**2).sum(dim=(1, 2, 3), keepdim=True) for d in (toward, away)]
    p = 7.5 * 2 / (1 + torch.exp(-0.01 * squares[0]))
    q = 7.5 * 2 * torch.exp(-0.01 * squares[1]) / (1 + torch.exp(-0.01 * squares[1]))
    expected = g.denoised_from_eps(x, u + p * toward - q * away, sigma, kind=kind)
    ours = g.contrastive(cond, uncond, negative, scale=7.5, tau=0.01, sigma=sigma, kind=kind)
    torch.testing.assert_close(ours, expected)


def test_the_weights_stay_within_their_bounds_and_part_as_tau_grows():
    cond, uncond, negative, _ = three()
    before_p, before_q = 5.0, 5.0
    for tau in (0.01, 0.05, 0.2):
        d = g.contrastive(cond, uncond, negative, scale=5.0, tau=tau, sigma=3.0, kind="ve")
        p, q = weights(d, cond, uncond, negative)
        assert (p > before_p).all() and (p < 10.0).all()
        assert (q < before_q).all() and (q > 0.0).all()
        before_p, before_q = p, q


def test_at_the_size_of_a_picture_the_papers_tau_is_saturated():
    cond, uncond, negative, _ = three(shape=(1, 4, 64, 64), apart=0.3)
    assert 100.0 < g.norm((cond - uncond) / 3.0).square().item() < 300.0
    knobs = {"scale": 7.5, "sigma": 3.0, "kind": "ve"}
    saturated = g.contrastive(cond, uncond, negative, tau=0.2, **knobs)
    torch.testing.assert_close(saturated, g.cfg(cond, uncond, scale=15.0))
    p, q = weights(g.contrastive(cond, uncond, negative, tau=50.0, per_element=True, **knobs), cond, uncond, negative)
    assert 8.0 < p.item() < 14.0 and 1.0 < q.item() < 7.0


def test_per_element_a_larger_picture_has_the_same_weights():
    cond, uncond, negative, _ = three()
    knobs = {"scale": 5.0, "tau": 9.0, "sigma": 0.5, "kind": "flow", "per_element": True}
    small = g.contrastive(cond, uncond, negative, **knobs)
    tiled = [t.repeat(1, 1, 3, 2) for t in (cond, uncond, negative)]
    torch.testing.assert_close(g.contrastive(*tiled, **knobs), small.repeat(1, 1, 3, 2))


def test_a_negative_that_says_nothing_has_no_term():
    cond, uncond, _, _ = three()
    knobs = {"scale": 5.0, "tau": 0.02, "sigma": 3.0, "kind": "ve"}
    with_it = g.contrastive(cond, uncond, uncond, **knobs)
    p, _ = weights(with_it, cond, uncond, cond + torch.randn_like(cond))
    torch.testing.assert_close(with_it, uncond + p.view(-1, 1, 1, 1) * (cond - uncond))


def test_the_terms_are_what_it_adds_to_cfg():
    cond, uncond, negative, _ = three()
    knobs = {"scale": torch.tensor([0.0, 1.0, 7.0]), "tau": 0.02, "sigma": torch.tensor([0.3, 3.0, 9.0]), "kind": "ve"}
    terms = g.contrastive_terms(cond, uncond, negative, **knobs)
    whole = g.contrastive(cond, uncond, negative, **knobs)
    torch.testing.assert_close(g.cfg(cond, uncond, scale=knobs["scale"]) + terms, whole)


@pytest.mark.parametrize(("kind", "sigma"), [("ve", 0.0), ("flow", 0.0), ("flow", 1.0)])
def test_the_ends_of_a_run_are_finite(kind, sigma):
    cond, uncond, negative, _ = three()
    level = torch.full((3,), sigma)
    for given in (sigma, level):
        got = g.contrastive(cond, uncond, negative, scale=5.0, sigma=given, kind=kind)
        limit = g.compose(cond, uncond, [negative], scale=5.0, weights=[5.0])
        torch.testing.assert_close(got, limit if sigma else g.cfg(cond, uncond, scale=10.0))
        same = g.contrastive(uncond, uncond, uncond, scale=5.0, sigma=given, kind=kind)
        torch.testing.assert_close(same, uncond)


def test_half_precision_does_not_overflow_the_exponential():
    cond, uncond, negative, _ = (t.half() for t in three(shape=(1, 4, 64, 64), apart=3.0))
    got = g.contrastive(cond, uncond, negative, scale=7.5, sigma=0.03, kind="ve")
    assert got.dtype == torch.float16 and got.isfinite().all()
