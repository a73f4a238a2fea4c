"""Laws of the norm limits that no single formula shows."""

import pytest
import torch

import guidance as g

from ..drawing import drawn

SCOPES = {"sample": g.norm, "pixel": lambda t: torch.linalg.vector_norm(t, dim=1, keepdim=True)}
every_scope = pytest.mark.parametrize("scope", SCOPES)


def pair(seed=0, batch=3):
    return drawn(2, batch, 4, 5, 6, seed=seed)


@every_scope
@pytest.mark.parametrize("limit", [0.5, 1.0, 1.3])
def test_nothing_is_longer_than_its_limit_and_no_direction_changes(scope, limit):
    cond, guided = pair()
    length = SCOPES[scope]
    limited = g.norm_limit(3.0 * guided, cond, limit=limit, scope=scope)
    torch.testing.assert_close(length(limited), torch.minimum(length(3.0 * guided), limit * length(cond)))
    torch.testing.assert_close(limited / length(limited), guided / length(guided))


@every_scope
def test_what_is_within_its_limit_stands_bit_for_bit_beside_what_is_not(scope):
    cond, guided = pair()
    guided[1] *= 100.0
    short = 0.5 * cond[0]
    guided[0] = short
    limited = g.norm_limit(guided, cond, scope=scope)
    assert torch.equal(limited[0], short) and not torch.equal(limited[1], guided[1])


def test_a_sample_within_its_limit_may_have_pixels_beyond_theirs():
    cond = torch.ones(1, 4, 2, 2, dtype=torch.float64)
    guided = torch.zeros_like(cond)
    guided[..., 0, 0] = 1.5
    assert torch.equal(g.norm_limit(guided, cond), guided)
    assert torch.equal(g.norm_limit(guided, cond, scope="pixel")[..., 0, 0], cond[..., 0, 0])


@every_scope
def test_so_small_that_their_squares_vanish(scope):
    cond, guided = (t.float() * 1e-25 for t in pair())
    assert torch.equal(g.norm_limit(cond, cond, scope=scope), cond)
    assert g.norm_limit(guided, cond, scope=scope).isfinite().all()


@every_scope
def test_a_prediction_of_zero_leaves_nothing_to_be_as_long_as(scope):
    cond, guided = pair()
    assert not g.norm_limit(guided, torch.zeros_like(cond), scope=scope).any()


def test_velocities_have_another_limit_than_predictions():
    """Lumina's own code limits the velocity: the same rule in another space is another rule."""
    cond, guided = pair()
    x, t = pair(1)[0], 0.7
    v = g.v_from_denoised(x, guided, t, kind="flow"), g.v_from_denoised(x, cond, t, kind="flow")
    there = g.denoised_from_v(x, g.norm_limit(*v, limit=0.5), t, kind="flow")
    assert not torch.allclose(there, g.norm_limit(guided, cond, limit=0.5), rtol=0.1)


def test_an_unknown_scope_is_an_error():
    with pytest.raises(KeyError):
        g.norm_limit(*pair(), scope="frame")
