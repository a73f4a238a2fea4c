"""Laws of the weaker models: blurred queries (SEG), and what is blurred where the attention goes (SAG)."""

import numpy as np
import pytest
import torch

import guidance as g

from ..drawing import drawn


def line(sigma, length):
    """The authors' kernel, whose taps are limited by the side of a square map."""
    taps = int(np.ceil(6 * sigma))
    taps = min(taps + 1 - taps % 2, length - (length % 2 - 1))
    at = np.arange(taps) - (taps - 1) / 2
    weights = np.exp(-0.5 * (at / sigma) ** 2)
    return weights / weights.sum()


def blurred(image, sigma):
    """An image (H, W), padded by reflection, blurred along each side: a sum over the taps."""
    for axis in (0, 1):
        kernel = line(sigma, image.shape[axis])
        reach = len(kernel) // 2
        padded = np.pad(image, [(reach, reach) if i == axis else (0, 0) for i in (0, 1)], mode="reflect")
        n = image.shape[axis]
        image = sum(w * np.take(padded, range(i, i + n), axis) for i, w in enumerate(kernel))
    return image


@pytest.mark.parametrize("sigma", [0.1, 0.5, 0.6, 1.0, 3.7, 50.0])
@pytest.mark.parametrize("size", [(1, 4, 4), (1, 5, 5), (1, 1, 7), (1, 3, 8), (2, 4, 6), (1, 1, 1), (1, 2, 2)])
def test_queries_are_blurred_frame_by_frame(size, sigma):
    frames, height, width = size
    queries = drawn(2, 3, frames * height * width, 4)
    got = g.smooth_queries(queries, size=size, sigma=sigma).numpy()
    maps = queries.numpy().reshape(2, 3, frames, height, width, 4)
    for b, h, f, d in np.ndindex(2, 3, frames, 4):
        expected = blurred(maps[b, h, f, ..., d], sigma).ravel()
        assert np.allclose(got[b, h, f * height * width : (f + 1) * height * width, d], expected)


def test_above_the_paper_s_infinity_every_query_is_the_mean_of_its_frame():
    queries = drawn(2, 24, 5)
    mean = queries.unflatten(1, (2, 12)).mean(2, keepdim=True).expand(-1, -1, 12, -1).flatten(1, 2)
    torch.testing.assert_close(g.smooth_queries(queries, size=(2, 3, 4), sigma=1e4), mean)
    assert not torch.allclose(g.smooth_queries(queries, size=(2, 3, 4), sigma=9999.0), mean)


def test_without_a_blur_the_queries_are_themselves_bit_for_bit():
    for dtype in (torch.float16, torch.bfloat16, torch.float32, torch.float64):
        queries = drawn(2, 12, 5).to(dtype)
        assert torch.equal(g.smooth_queries(queries, size=(1, 3, 4), sigma=0.0), queries)
        for sigma in (0.7, 1e4):
            assert g.smooth_queries(queries, size=(1, 3, 4), sigma=sigma).dtype == dtype


def test_a_blur_keeps_what_is_constant_and_writes_into_nothing():
    queries = torch.full((2, 12, 5), 3.0)
    torch.testing.assert_close(g.smooth_queries(queries, size=(1, 3, 4), sigma=2.0), queries)
    assert queries._version == 0


def test_blurred_queries_are_blurred_logits():
    queries, keys = drawn(1, 16, 8), drawn(1, 16, 8, seed=1)
    logits = (queries @ keys.transpose(1, 2))[0].numpy()
    got = (g.smooth_queries(queries, size=(1, 4, 4), sigma=1.0) @ keys.transpose(1, 2))[0].numpy()
    for i in range(16):
        assert np.allclose(got[:, i], blurred(logits[:, i].reshape(4, 4), 1.0).ravel())


def test_a_map_that_does_not_hold_the_tokens_is_refused():
    with pytest.raises(ValueError, match="12 queries"):
        g.smooth_queries(drawn(1, 12, 4), size=(1, 4, 4), sigma=1.0)
    with pytest.raises(ValueError, match="does not have 12"):
        g.blurred_where_attended(drawn(1, 4, 8, 8), drawn(1, 12), size=(1, 4, 4), sigma=1.0)


def test_the_mass_of_tokens_is_one_on_average_and_the_same_in_pieces(monkeypatch):
    queries, keys = drawn(2, 3, 12, 8), drawn(2, 3, 12, 8, seed=1)
    mass = g.attention_mass(queries, keys)
    literal = (queries @ keys.transpose(2, 3) / 8**0.5).softmax(-1).mean(1).sum(1)
    torch.testing.assert_close(mass, literal.float())
    torch.testing.assert_close(mass.mean(1), torch.ones(2))
    monkeypatch.setattr("guidance.terms.self_attention._AT_ONCE", 1)
    torch.testing.assert_close(g.attention_mass(queries, keys), mass)


def test_the_mass_among_some_tokens_is_what_they_give_one_another():
    queries, keys = drawn(2, 3, 12, 8), drawn(2, 3, 12, 8, seed=1)
    literal = (queries @ keys.transpose(2, 3) / 8**0.5).softmax(-1).mean(1)[:, 4:, 4:].sum(1)
    torch.testing.assert_close(g.attention_mass(queries, keys, slice(4, None)), literal.float())


@pytest.mark.parametrize(("side", "taps"), [(16, 9), (5, 5), (4, 5), (3, 3), (1, 1)])
def test_the_picture_is_blurred_where_the_mass_is_high_alone(side, taps):
    denoised, mass = drawn(2, 3, side, side), drawn(2, 1 if side == 1 else 4).abs()
    size = (1, 1, 1) if side == 1 else (1, 2, 2)
    got = g.blurred_where_attended(denoised, mass, size=size, sigma=2.0)
    at = np.arange(taps) - taps // 2
    kernel = np.exp(-0.5 * (at / 2.0) ** 2) / np.exp(-0.5 * (at / 2.0) ** 2).sum()
    for b in range(2):
        high = (mass[b] > mass[b].mean()).view(size[1:]).numpy()
        index = np.arange(side) * size[1] // side
        mask = high[index][:, index]
        for c in range(3):
            image = denoised[b, c].numpy()
            padded = np.pad(image, taps // 2, mode="reflect") if taps > 1 else image
            windows = np.lib.stride_tricks.sliding_window_view(padded, (taps, taps))
            soft = (windows * kernel[:, None] * kernel[None, :]).sum((2, 3))
            assert np.allclose(got[b, c].numpy(), np.where(mask, soft, image))


def test_no_blur_is_the_prediction_and_a_sample_does_not_see_its_neighbours():
    denoised, mass = drawn(3, 4, 8, 8, dtype=torch.float32), drawn(3, 16, dtype=torch.float32)
    assert torch.equal(g.blurred_where_attended(denoised, mass, size=(1, 4, 4), sigma=0.0), denoised)
    whole = g.blurred_where_attended(denoised, mass, size=(1, 4, 4), sigma=2.0)
    for i in range(3):
        one = g.blurred_where_attended(denoised[i : i + 1], mass[i : i + 1], size=(1, 4, 4), sigma=2.0)
        torch.testing.assert_close(whole[i : i + 1], one)
    half = denoised.half()
    in_half, wide = (g.blurred_where_attended(t, mass, size=(1, 4, 4), sigma=2.0) for t in (half, half.float()))
    assert in_half.dtype == torch.float16 and torch.equal(in_half, wide.half())


def test_a_picture_under_the_same_noise():
    x0, other, eps = drawn(1, 4, 8, 8), drawn(1, 4, 8, 8, seed=1), drawn(1, 4, 8, 8, seed=2)
    got = g.with_same_noise(x0 + 3.0 * eps, x0, other, 3.0, kind="ve")
    torch.testing.assert_close(got, other + 3.0 * eps)
    got = g.with_same_noise(0.3 * x0 + 0.7 * eps, x0, other, torch.tensor([0.7]), kind="flow")
    torch.testing.assert_close(got, 0.3 * other + 0.7 * eps)


def test_a_term_is_autoguidance_where_it_stands_alone():
    cond, weak = drawn(2, 4, 8, 8), drawn(2, 4, 8, 8, seed=1)
    torch.testing.assert_close(g.add_term(cond, cond, weak, scale=1.1), torch.lerp(weak, cond, 2.1))
    uncond, a, w = drawn(2, 4, 8, 8, seed=2), 0.3, 4.0
    both = cond + (w - 1) * (a * (cond - weak) + (1 - a) * (cond - uncond))
    combined = g.cfg(cond, uncond, scale=1 + (w - 1) * (1 - a))
    torch.testing.assert_close(g.add_term(combined, cond, weak, scale=(w - 1) * a), both)


def test_a_whole_rescale_gives_every_sample_the_deviation_of_its_positive():
    denoised, cond, weak = drawn(3, 4, 8, 8), drawn(3, 4, 8, 8, seed=1), drawn(3, 4, 8, 8, seed=2)
    denoised[1] *= 30.0
    got = g.add_term(denoised, cond, weak, scale=3.0, rescale=1.0)
    torch.testing.assert_close(got.flatten(1).std(1), cond.flatten(1).std(1))
    whole_batch = (denoised + 3.0 * (cond - weak)) * (cond.std() / (denoised + 3.0 * (cond - weak)).std())
    assert not torch.allclose(got, whole_batch, rtol=0.1)
