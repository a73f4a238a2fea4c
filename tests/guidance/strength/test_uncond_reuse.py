"""Laws of a reused difference that no single formula shows."""

import pytest
import torch

import guidance as g

from ..drawing import drawn

SPACES = {"eps": g.eps_from_denoised, "velocity": g.v_from_denoised, "x0": lambda x, d, sigma, kind: d}
STEPS = [("ve", 9.0, 2.5), ("ve", 0.4, 0.1), ("flow", 0.9, 0.55), ("flow", 0.2, 0.3)]


def four(seed=0, shape=(3, 4, 5, 6)):
    return drawn(4, *shape, seed=seed)


@pytest.mark.parametrize(("kind", "last", "now"), STEPS)
@pytest.mark.parametrize("frozen", SPACES)
def test_what_it_names_is_held_and_nothing_else_is(frozen, kind, last, now):
    cond, difference, x, x_last = four()
    uncond = g.uncond_reuse(cond, difference, sigma=now, sigma_last=last, kind=kind, frozen=frozen)
    for space, convert in SPACES.items():
        before = convert(x_last, difference, last, kind=kind) - convert(x_last, 0 * difference, last, kind=kind)
        after = convert(x, cond, now, kind=kind) - convert(x, uncond, now, kind=kind)
        held = torch.allclose(after, before, rtol=1e-9, atol=1e-12)
        assert held == (space == frozen), space


def test_one_sigma_per_sample():
    cond, difference, *_ = four()
    last, now = torch.tensor([8.0, 2.0, 0.5]), torch.tensor([7.0, 1.0, 0.5])
    for frozen in SPACES:
        whole = g.uncond_reuse(cond, difference, sigma=now, sigma_last=last, kind="ve", frozen=frozen)
        for i in range(3):
            one = {"sigma": now[i].item(), "sigma_last": last[i].item()}
            alone = g.uncond_reuse(cond[i : i + 1], difference[i : i + 1], **one, kind="ve", frozen=frozen)
            torch.testing.assert_close(whole[i : i + 1], alone, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(
    ("frozen", "kind", "last", "now"),
    [
        ("eps", "flow", 1.0, 0.9),  # at t = 1 the noise is x, whatever the prompt
        ("eps", "flow", 0.9, 1.0),
        ("eps", "ve", 0.0, 2.0),
        ("velocity", "flow", 0.0, 0.3),
        ("velocity", "ve", 2.0, 0.0),
        ("eps", "flow", 1.0, 0.0),
    ],
)
@pytest.mark.parametrize("as_tensor", [False, True], ids=["float", "tensor"])
def test_where_a_level_has_none_of_it_the_difference_itself_is_held(frozen, kind, last, now, as_tensor):
    cond, difference, *_ = four()
    if as_tensor:
        last, now = torch.full((3,), last), torch.full((3,), now)
    got = g.uncond_reuse(cond, difference, sigma=now, sigma_last=last, kind=kind, frozen=frozen)
    assert torch.equal(got, cond - difference)


def test_a_float_and_a_tensor_agree():
    cond, difference, *_ = four()
    for frozen in SPACES:
        by_float = g.uncond_reuse(cond, difference, sigma=0.3, sigma_last=0.7, kind="flow", frozen=frozen)
        mixed = {"sigma": 0.3, "sigma_last": torch.full((3,), 0.7, dtype=torch.float64)}
        torch.testing.assert_close(g.uncond_reuse(cond, difference, **mixed, kind="flow", frozen=frozen), by_float)
