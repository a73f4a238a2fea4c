"""Laws and limits of single methods that no specimen can say."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import guidance as g
from specimens.rules import angle_domain

from .drawing import drawn


def draw(*shape, seed=0, dtype=torch.float64, device="cpu"):
    return drawn(*shape, seed=seed).to(device, dtype)


def pair(seed=0, dtype=torch.float64, device="cpu", shape=(3, 4, 5, 6)):
    return draw(*shape, seed=seed, dtype=dtype, device=device), draw(*shape, seed=seed + 1, dtype=dtype, device=device)


# reductions


@pytest.mark.parametrize("shape", [(2, 3), (2, 3, 4), (2, 3, 4, 5), (2, 3, 4, 5, 6)], ids=len)
def test_reductions_leave_the_batch_alone(device, shape):
    a, b = pair(shape=shape, device=device)
    assert g.dims(a) == tuple(range(1, len(shape)))
    rows = a.flatten(1), b.flatten(1)
    expected = (rows[0] * rows[1]).sum(1)
    assert g.dot(a, b).shape == g.norm(a).shape == (2, *[1] * (len(shape) - 1))
    torch.testing.assert_close(g.dot(a, b).flatten(), expected)
    torch.testing.assert_close(g.norm(a).flatten(), rows[0].norm(dim=1))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32], ids=str)
def test_reductions_of_a_video_latent_are_accurate(device, dtype):
    a, b = (t.abs() * 20 for t in pair(dtype=dtype, device=device, shape=(1, 16, 9, 90, 81)))
    assert g.dot(a, b).dtype == g.norm(a).dtype == torch.float32
    exact_a, exact_b = a.double(), b.double()
    assert g.dot(a, b).item() == pytest.approx((exact_a * exact_b).sum().item(), rel=1e-6)
    assert g.norm(a).item() == pytest.approx(exact_a.norm().item(), rel=2e-6)


def test_per_sample_makes_numbers_broadcast(device):
    like = torch.zeros(3, 2, 4, 4, device=device, dtype=torch.float16)
    assert g.per_sample(7, like) == 7.0 and isinstance(g.per_sample(7, like), float)
    values = g.per_sample(torch.tensor([1.0, 2.0, 3.3], dtype=torch.float64), like)
    assert values.shape == (3, 1, 1, 1) and values.dtype == torch.float32 and values.device.type == device
    assert g.per_sample(torch.tensor(2), like).shape == (1, 1, 1, 1)
    assert g.per_sample(torch.ones(3, 1, 1, 1), like).shape == (3, 1, 1, 1)
    with pytest.raises(ValueError, match="one per sample"):
        g.per_sample(torch.ones(2), like)


# negatives


def test_a_composed_negative_can_stand_for_an_ordinary_one():
    (c, u), n = pair(), draw(3, 4, 5, 6, seed=9)
    w = 6.5
    ordinary = g.cfg(c, n, scale=w)
    torch.testing.assert_close(g.compose(c, u, [n], scale=w, weights=[w - 1]), ordinary, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(g.cfg(c, u, scale=w) + g.negative_terms(u, [n], weights=[w - 1]), ordinary)


def test_not_is_a_composed_negative_as_strong_as_the_prompt():
    (c, u), n = pair(), draw(3, 4, 5, 6, seed=9)
    w = 6.5
    negated = g.compose(c, u, [n], scale=w, weights=[w])
    torch.testing.assert_close(negated, u + w * (c - n))
    torch.testing.assert_close(g.cfg(c, n, scale=w) - (n - u), negated)
    assert (g.compose(c, u, [n], scale=1.0, weights=[1.0]) - c).abs().max() > 0.1


def test_a_partial_negative_weighs_w_minus_1_times_its_strength():
    (c, u), n = pair(), draw(3, 4, 5, 6, seed=9)
    w, strength = 6.5, 0.3
    partial = g.cfg(c, g.partial_negative(u, n, strength=strength), scale=w)
    torch.testing.assert_close(partial, g.compose(c, u, [n], scale=w, weights=[(w - 1) * strength]))


def test_perp_neg_leaves_the_positive_untouched():
    (c, u), n = pair(), draw(3, 4, 5, 6, seed=9)
    p = c - u
    moved = g.perp_neg(c, u, [n, 2 * n - c], scale=5.0, weights=[1.3, 0.4]) - u - 5.0 * p
    assert moved.norm() > 1.0
    assert (g.dot(moved, p).abs() / (g.norm(moved) * g.norm(p))).max() < 1e-10


def test_perp_neg_ignores_a_parallel_negative_and_survives_a_missing_positive():
    (c, u), n = pair(), draw(3, 4, 5, 6, seed=9)
    parallel = u - 0.7 * (c - u)
    torch.testing.assert_close(g.perp_neg(c, u, [parallel], scale=5.0, weights=[1.0]), g.cfg(c, u, scale=5.0))
    c[1] = u[1]
    got = g.perp_neg(c, u, [n], scale=5.0, weights=[1.0])
    torch.testing.assert_close(got[1], u[1] - 5.0 * (n[1] - u[1]))


def test_weights_must_match_negatives():
    c, u = pair()
    for f in (g.compose, g.perp_neg):
        with pytest.raises(ValueError, match="one weight per negative"):
            f(c, u, [c, c], scale=2.0, weights=[1.0])


def test_a_negative_without_weight_may_be_anything():
    c, u = pair()
    broken = torch.full_like(c, torch.nan)
    assert torch.equal(g.compose(c, u, [broken], scale=2.0, weights=[0.0]), g.cfg(c, u, scale=2.0))
    assert torch.equal(g.perp_neg(c, u, [broken], scale=2.0, weights=[0]), g.cfg(c, u, scale=2.0))


# one space for all


@pytest.mark.parametrize("kind,sigma", [("ve", 3.7), ("ve", 0.05), ("flow", 0.8), ("flow", 0.03)])
@pytest.mark.parametrize("rule", ["cfg", "perp_neg"])
def test_space_free_rules_give_the_same_in_every_space(kind, sigma, rule):
    (c, u), n, x = pair(), draw(3, 4, 5, 6, seed=9), draw(3, 4, 5, 6, seed=10) * 4
    rules = {
        "cfg": lambda c, u, n: g.cfg(c, u, scale=4.0),
        "perp_neg": lambda c, u, n: g.perp_neg(c, u, [n], scale=4.0, weights=[0.8]),
    }
    expected = rules[rule](c, u, n)
    there_and_back = [(g.eps_from_denoised, g.denoised_from_eps), (g.v_from_denoised, g.denoised_from_v)]
    for there, back in there_and_back:
        elsewhere = rules[rule](*(there(x, d, sigma, kind=kind) for d in (c, u, n)))
        torch.testing.assert_close(back(x, elsewhere, sigma, kind=kind), expected, rtol=1e-11, atol=1e-11)


def test_angles_belong_to_denoised_space():
    (c, u), x = pair(), draw(3, 4, 5, 6, seed=9)
    elsewhere = g.angle_domain(*(g.eps_from_denoised(x, d, 1.5, kind="ve") for d in (c, u)), scale=4.0)
    back = g.denoised_from_eps(x, elsewhere, 1.5, kind="ve")
    assert (back - g.angle_domain(c, u, scale=4.0)).abs().max() > 0.1


@given(st.floats(1e-3, 80.0), st.floats(1e-3, 0.999))
def test_levels_of_equal_signal_to_noise(sigma, t):
    assert g.ve_sigma(g.flow_sigma(sigma)) == pytest.approx(sigma, rel=1e-9)
    assert g.flow_sigma(g.ve_sigma(t)) == pytest.approx(t, rel=1e-9)
    assert g.half_log_snr(sigma, kind="ve") == pytest.approx(-math.log(sigma))
    assert g.half_log_snr(t, kind="flow") == pytest.approx(-math.log(g.ve_sigma(t)), abs=1e-9)
    s = torch.tensor([sigma], dtype=torch.float64)
    assert g.flow_sigma(s).item() == pytest.approx(g.flow_sigma(sigma), rel=1e-12)
    assert g.ve_sigma(g.flow_sigma(s)).item() == pytest.approx(sigma, rel=1e-9)
    assert g.half_log_snr(s, kind="ve").item() == pytest.approx(-math.log(sigma))


def test_the_noise_level_is_that_of_a_flow_of_the_same_signal_to_noise():
    sigmas = torch.tensor([0.0, 0.25, 1.0, 4.0, math.inf], dtype=torch.float64)
    assert [g.noise_level(s, kind="ve") for s in (0.0, 0.25, 1.0, 4.0, math.inf)] == [0.0, 0.2, 0.5, 0.8, 1.0]
    assert g.noise_level(sigmas, kind="ve").tolist() == pytest.approx([0.0, 0.2, 0.5, 0.8, 1.0])
    assert g.noise_level(0.3, kind="flow") == 0.3 and g.noise_level(sigmas[:3], kind="flow").equal(sigmas[:3])


def test_levels_at_the_ends():
    assert g.flow_sigma(math.inf) == 1.0 and g.flow_sigma(0.0) == 0.0
    assert g.ve_sigma(1.0) == math.inf and g.ve_sigma(0.0) == 0.0
    ends = torch.tensor([0.0, math.inf])
    assert g.flow_sigma(ends).tolist() == [0.0, 1.0]
    assert g.ve_sigma(torch.tensor([0.0, 1.0])).tolist() == [0.0, math.inf]
    assert g.half_log_snr(0.0, kind="ve") == math.inf
    assert g.half_log_snr(0.0, kind="flow") == math.inf and g.half_log_snr(1.0, kind="flow") == -math.inf
    assert g.half_log_snr(torch.tensor(1.0), kind="flow").item() == -math.inf


# thresholding


def test_dynamic_threshold_stays_in_range_and_counts_every_dimension(device):
    d = draw(2, 3, 8, 8, device=device) * torch.tensor([0.1, 5.0], device=device).view(2, 1, 1, 1)
    d[0].clamp_(-1, 1)
    out = g.dynamic_threshold(d)
    assert out.abs().max() <= 1.0
    assert torch.equal(out[0], d[0]) and not torch.equal(out[1], d[1])
    # One threshold for all channels: a ratio between values that are not clipped survives.
    s = np.quantile(d[1].abs().cpu().numpy(), 0.995)
    unclipped = d[1].abs() < s
    torch.testing.assert_close((d[1] / out[1])[unclipped], torch.full_like(d[1][unclipped], s), rtol=1e-6, atol=0)


def test_mimic_limits_the_range_to_that_of_the_mimic():
    c, u = pair(shape=(2, 3, 7, 9))
    mimicked, guided = g.cfg(c, u, scale=5.0), g.cfg(c, u, scale=15.0)

    def centred(t):
        return t - t.mean(dim=(2, 3), keepdim=True)

    reach = centred(mimicked).abs().amax(dim=(2, 3))
    for percentile in (1.0, 0.95):
        out = g.mimic_threshold(c, u, scale=15.0, mimic_scale=5.0, percentile=percentile)
        around = out - guided.mean(dim=(2, 3), keepdim=True)
        assert (around.abs().amax(dim=(2, 3)) <= reach * (1 + 1e-6)).all()
    out = g.mimic_threshold(c, u, scale=15.0, mimic_scale=5.0, measure="std")
    torch.testing.assert_close(out.std(dim=(2, 3)), mimicked.std(dim=(2, 3)))
    torch.testing.assert_close(out.mean(dim=(2, 3)), guided.mean(dim=(2, 3)))


def test_mimic_leaves_a_constant_channel_as_it_is():
    c, u = pair(shape=(1, 2, 4, 4))
    c[:, 1], u[:, 1] = 3.0, 1.0
    for startpoint in ("mean", "zero"):
        for measure in ("ad", "std"):
            out = g.mimic_threshold(c, u, scale=9.0, mimic_scale=4.0, startpoint=startpoint, measure=measure)
            assert torch.equal(out[:, 1], g.cfg(c, u, scale=9.0)[:, 1])
            assert not torch.equal(out[:, 0], g.cfg(c, u, scale=9.0)[:, 0])


@pytest.mark.parametrize(
    "knob,words",
    [
        ({"startpoint": "middle"}, "startpoint must be one of mean, zero"),
        ({"measure": "var"}, "measure must be one of ad, std"),
        ({"percentile": 1.2}, "percentile must lie between 0 and 1"),
        ({"percentile": math.nan}, "percentile must lie between 0 and 1"),
    ],
)
def test_mimic_refuses_what_it_does_not_know(knob, words):
    c, u = pair()
    with pytest.raises(ValueError, match=words):
        g.mimic_threshold(c, u, scale=9.0, mimic_scale=4.0, **knob)


# angles


def test_adg_worked_example():
    c = torch.tensor([1.0, 0.0], dtype=torch.float64).view(1, 2, 1)
    u = torch.tensor([0.5, math.sqrt(3) / 2], dtype=torch.float64).view(1, 2, 1)
    d = g.angle_domain(c, u, scale=1.78).flatten()
    assert d.tolist() == pytest.approx([1.3159, -0.3645], abs=5e-5)
    assert d.norm().item() == pytest.approx(1.3653997584864, abs=1e-12)


@given(scale=st.floats(1.001, 20.0), limit=st.floats(0.05, 1.5), seed=st.integers(0, 1000))
def test_adg_norm_law(scale, limit, seed):
    c, u = pair(seed=seed)
    theta = g.angle(c, u)
    a = ((scale - 1) * theta).clamp(max=limit)
    ratio = (g.norm(g.angle_domain(c, u, scale=scale, max_angle=limit)) / g.norm(c)) ** 2
    torch.testing.assert_close(ratio, 1 + (2 * a).sin() * theta.sin(), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("theta", [2e-4, 9e-4, 1.1e-3, 1.7e-3, 2.5e-3, 0.05, 3.1])
@pytest.mark.parametrize("w", [1.5, 7.0, 3000.0])
def test_adg_at_tiny_and_at_large_angles(theta, w):
    u = torch.tensor([[[2.0, 0.0, 0.0]]], dtype=torch.float64)
    c = torch.tensor([[[3.0 * math.cos(theta), 3.0 * math.sin(theta), 0.0]]], dtype=torch.float64)
    expected = angle_domain.literal(c[0].numpy(), u[0].numpy(), w, math.pi / 3)
    assert np.allclose(g.angle_domain(c, u, scale=w)[0].numpy(), expected, rtol=0, atol=1e-9 * w)


def test_no_rotation_at_all_leaves_a_parallel_pair_alone():
    c = draw(100, 1, 1, dtype=torch.float32)
    assert torch.equal(g.rotate(c, 0.4 * c, scale=9.5, max_angle=0.0), c)


@given(scale=st.floats(1.001, 20.0), limit=st.floats(0.05, 1.5), seed=st.integers(0, 1000))
def test_rotation_keeps_the_norm_and_adds_the_angle(scale, limit, seed):
    c, u = pair(seed=seed)
    u = c * 0.3 + u
    theta = g.angle(c, u)
    a = ((scale - 1) * theta).clamp(max=limit)
    d = g.rotate(c, u, scale=scale, max_angle=limit)
    torch.testing.assert_close(g.norm(d), g.norm(c), rtol=1e-12, atol=0)
    torch.testing.assert_close(g.angle(d, u), theta + a, rtol=1e-10, atol=0)
    torch.testing.assert_close(g.angle(d, c), a, rtol=1e-10, atol=1e-12)


def test_a_rotation_does_not_pass_the_opposite_of_uncond():
    c = torch.tensor([[-1.0, 0.3]], dtype=torch.float64).view(1, 2, 1)
    u = torch.tensor([[1.0, 0.0]], dtype=torch.float64).view(1, 2, 1)
    d = g.rotate(c, u, scale=9.0, max_angle=2.0)
    assert d.flatten().tolist() == pytest.approx([-g.norm(c).item(), 0.0], abs=1e-12)


@pytest.mark.parametrize("rule", [g.angle_domain, g.rotate])
def test_turning_commutes_with_scaling_but_not_with_shifting(rule):
    c, u = pair()
    torch.testing.assert_close(rule(3 * c, 3 * u, scale=4.0), 3 * rule(c, u, scale=4.0))
    shifted = rule(c + 1, u + 1, scale=4.0)
    assert (shifted - 1 - rule(c, u, scale=4.0)).abs().max() > 0.1


@pytest.mark.parametrize("shape", [(3, 4, 5, 6), (3, 16, 5, 64, 65)], ids=str)
@pytest.mark.parametrize("as_tensor", [False, True])
@pytest.mark.parametrize("rule", [g.angle_domain, g.rotate])
def test_without_a_direction_cond_is_returned(device, rule, as_tensor, shape):
    c, u = pair(dtype=torch.float32, device=device, shape=shape)
    scale = torch.full((3,), 7.0, device=device) if as_tensor else 7.0
    assert torch.equal(rule(c, torch.zeros_like(u), scale=scale), c)
    assert torch.equal(rule(torch.zeros_like(c), u, scale=scale), torch.zeros_like(c))
    assert torch.equal(rule(c, -c, scale=scale), c)
    assert torch.equal(rule(-1.3 * u, u, scale=scale), -1.3 * u)
    assert torch.equal(rule(c, -c * (1 + 1e-5 * u), scale=scale), c)
    torch.testing.assert_close(rule(c, c, scale=scale), c, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("rule", [g.angle_domain, g.rotate])
def test_a_tensor_of_scales_decides_per_sample(device, rule):
    shape = (5, 4, 3, 3)
    c, u = (
        draw(*shape, device=device, dtype=torch.float32),
        draw(*shape, seed=1, device=device, dtype=torch.float32),
    )
    scales = [0.0, 0.4, 1.0, 1.5, 9.0]
    got = rule(c, u, scale=torch.tensor(scales))
    for i, w in enumerate(scales):
        torch.testing.assert_close(got[i : i + 1], rule(c[i : i + 1], u[i : i + 1], scale=w), rtol=1e-6, atol=1e-6)
    assert torch.equal(got[0], u[0]) and torch.equal(got[2], c[2])


@pytest.mark.parametrize("limit", [-0.1, 3.2, math.nan])
def test_max_angle_is_checked(limit):
    c, u = pair()
    with pytest.raises(ValueError, match="max_angle must lie between 0 and pi"):
        g.rotate(c, u, scale=3.0, max_angle=limit)


@pytest.mark.parametrize("theta", [1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 0.1, 1.0, 2.0, 3.0, math.pi - 1e-4])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_angles_are_accurate_also_where_they_are_tiny(device, theta, dtype):
    # Two axes, so that the pair is as far apart as asked for in float32 too.
    a = torch.zeros(1, 3, 4, dtype=dtype, device=device)
    b = torch.zeros(1, 3, 4, dtype=dtype, device=device)
    a[0, 0, 0] = 3.0
    b[0, 0, 0], b[0, 2, 3] = 5 * math.cos(theta), 5 * math.sin(theta)
    expected = math.atan2(b[0, 2, 3].item(), b[0, 0, 0].item())
    # One rounding of a float32 projection adds (6e-8)^2/2 theta to the angle.
    error = {"rel": 1e-6, "abs": 2e-9 if dtype == torch.float32 else 0.0}
    assert g.angle(a, b).item() == pytest.approx(expected, **error)
    assert g.angle(b, a).item() == pytest.approx(expected, **error)
    assert g.angle(a, a * 0).item() == 0.0


def test_angle_of_a_large_pair():
    a, b = pair(dtype=torch.float32, shape=(2, 16, 64, 64))
    b = a + 1e-3 * b
    for i in range(2):
        expected = angle_domain.angle(a[i].double().numpy(), b[i].double().numpy())
        assert g.angle(a, b)[i].item() == pytest.approx(expected, rel=1e-4)


# diagnostics


def test_effective_scale_of_cfg_is_its_scale(device):
    c, u = pair(device=device, dtype=torch.float32)
    scales = torch.tensor([0.5, 3.0, 12.0])
    got = g.effective_scale(g.cfg(c, u, scale=scales), c, u)
    assert got.shape == (3,) and got.dtype == torch.float32
    torch.testing.assert_close(got.cpu(), scales, rtol=1e-5, atol=1e-5)
    assert g.effective_scale(c, c, u).tolist() == pytest.approx([1.0] * 3)
    assert g.effective_scale(u, c, u).tolist() == [0.0] * 3
    assert g.effective_scale(draw(3, 4, 5, 6, device=device), c, c).tolist() == [1.0] * 3


def test_adg_pushes_less_than_cfg():
    c, u = pair()
    for w in (3.0, 7.0, 15.0):
        assert (g.effective_scale(g.angle_domain(c, u, scale=w), c, u) < w).all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_bad_samples_are_found_and_replaced(device, dtype, bad):
    t = draw(3, 2, 4, 4, device=device, dtype=dtype)
    t[1, 1, 2, 3] = bad
    finite = g.finite_per_sample(t)
    assert finite.shape == (3,) and finite.dtype == torch.bool and finite.tolist() == [True, False, True]
    safe = g.select_per_sample(finite, t, torch.zeros_like(t))
    assert torch.equal(safe[[0, 2]], t[[0, 2]]) and not safe[1].any()
    assert safe.dtype == dtype
