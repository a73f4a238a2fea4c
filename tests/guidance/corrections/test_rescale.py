"""Laws of rescaled guidance that no single formula shows."""

import pytest
import torch

import guidance as g

from ..drawing import drawn

SPACES = [("v", "ve"), ("v", "flow"), ("eps", "ve"), ("eps", "flow"), ("x0", "ve"), ("x0", "flow")]
SIGMA = {"ve": 2.5, "flow": 0.7}
THERE = {
    "v": g.v_from_denoised,
    "eps": g.eps_from_denoised,
    "x0": lambda x, d, sigma, kind: d,
}


def step(kind="ve", w=8.0, seed=0, dtype=torch.float64):
    """cond, guided and x; every latent has a mean."""
    cond, uncond, noise = drawn(3, 2, 4, 9, 8, seed=seed) + 0.5
    sigma = SIGMA[kind]
    x = cond + sigma * noise if kind == "ve" else (1 - sigma) * cond + sigma * noise
    return (t.to(dtype) for t in (cond, g.cfg(cond, uncond, scale=w), x))


def deviation(t):
    return t.flatten(1).std(1)


@pytest.mark.parametrize(("space", "kind"), SPACES)
def test_with_phi_1_the_spread_is_that_of_cond_in_the_chosen_space_and_in_no_other(space, kind):
    cond, guided, x = step(kind)
    sigma = SIGMA[kind]
    got = g.rescale_denoised(guided, cond, x=x, sigma=sigma, kind=kind, space=space, phi=1.0)
    for other, there in THERE.items():
        ours, theirs = (deviation(there(x, d, sigma, kind=kind)) for d in (got, cond))
        same_as = "v" if kind == "flow" else space
        if other == space:
            torch.testing.assert_close(ours, theirs)
        elif other != same_as:
            assert ((ours - theirs).abs() > 1e-3 * theirs).all()


@pytest.mark.parametrize("phi", [0.3, 0.7, 1.0])
@pytest.mark.parametrize(("space", "kind"), SPACES)
def test_it_is_the_papers_rule_on_converted_predictions(space, kind, phi):
    cond, guided, x = step(kind)
    sigma = SIGMA[kind]
    back = {"v": g.denoised_from_v, "eps": g.denoised_from_eps, "x0": lambda x, d, sigma, kind: d}[space]
    there = [THERE[space](x, d, sigma, kind=kind) for d in (guided, cond)]
    literal = back(x, g.rescale(*there, phi=phi), sigma, kind=kind)
    got = g.rescale_denoised(guided, cond, x=x, sigma=sigma, kind=kind, space=space, phi=phi)
    torch.testing.assert_close(got, literal, rtol=1e-11, atol=1e-11)


def test_the_standard_deviations_are_those_of_torch():
    cond, guided, _ = step()
    ratio = (deviation(cond) / deviation(guided)).view(-1, 1, 1, 1)
    torch.testing.assert_close(g.rescale(guided, cond, phi=0.7), 0.7 * ratio * guided + 0.3 * guided)


def test_a_factor_common_to_all_passes_through():
    cond, guided, x = step()
    at = {"sigma": 2.5, "kind": "ve"}
    torch.testing.assert_close(
        g.rescale_denoised(9.0 * guided, 9.0 * cond, x=9.0 * x, **at),
        9.0 * g.rescale_denoised(guided, cond, x=x, **at),
    )


def test_a_large_mean_takes_no_digits_from_the_spread():
    cond, guided, _ = step(dtype=torch.float32)
    far = [t + 300.0 for t in (guided, cond)]
    exact = [t.double() for t in far]
    got, expected = (g.rescale(*pair, phi=1.0) for pair in (far, exact))
    assert ((got - expected).abs().max() / expected.abs().max()).item() < 1e-6


@pytest.mark.parametrize("space", ["v", "x0"])
def test_a_long_sample_that_changes_on_its_way_is_measured_as_a_whole(space):
    cond, guided, x = (torch.linspace(0.0, end, 300_000).view(1, 1, -1) ** 2 for end in (1.0, 3.0, 2.0))
    got, exact = (
        g.rescale_denoised(*(t.to(dtype) for t in (guided, cond)), x=x.to(dtype), sigma=0.5, kind="flow", space=space)
        for dtype in (torch.float32, torch.float64)
    )
    y, y_c = (d.double() - x.double() * (space == "v") for d in (guided, cond))
    k = 0.7 * y_c.std() / y.std() + 0.3
    torch.testing.assert_close(exact, k * guided.double() + (1 - k) * x.double() * (space == "v"))
    torch.testing.assert_close(got.double(), exact, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", ["ve", "flow"])
@pytest.mark.parametrize("space", ["v", "eps", "x0"])
def test_one_level_for_all_or_one_for_each(space, kind):
    cond, guided, x = step(kind)
    level = SIGMA[kind]
    each = torch.tensor([level, level * 0.5])
    rest = {"kind": kind, "space": space}
    got = g.rescale_denoised(guided, cond, x=x, sigma=each, **rest)
    for i, sigma in enumerate(each.tolist()):
        alone = [t[i : i + 1] for t in (guided, cond, x)]
        torch.testing.assert_close(
            got[i : i + 1],
            g.rescale_denoised(alone[0], alone[1], x=alone[2], sigma=sigma, **rest),
            rtol=1e-6,
            atol=1e-6,
        )


def test_where_noise_does_not_depend_on_the_prediction_nothing_changes():
    cond, guided, x = step("flow")
    assert torch.equal(g.rescale_denoised(guided, cond, x=x, sigma=1.0, kind="flow", space="eps"), guided)


def test_a_constant_prediction_is_left_as_it_is():
    cond, guided, _ = step()
    constant = torch.full_like(guided, 3.0)
    assert torch.equal(g.rescale(constant, cond), constant)


def test_a_space_must_be_known():
    cond, guided, x = step()
    with pytest.raises(ValueError, match="one of v, eps, x0"):
        g.rescale_denoised(guided, cond, x=x, sigma=1.0, kind="ve", space="velocity")
