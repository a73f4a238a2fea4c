"""Laws of Frequency-Decoupled Guidance that no single formula shows."""

import pytest
import torch
import torch.nn.functional as F

import guidance as g

from ..drawing import drawn

SIZES = [(1, 1), (1, 7), (2, 3), (5, 5), (8, 6), (16, 9), (31, 33)]


def pair(*shape, seed=0):
    return drawn(2, *shape, seed=seed)


def band(delta, *gains):
    """The part of a difference that these gains let through."""
    return g.fdg(delta, torch.zeros_like(delta), scale=1.0, gains=gains)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("levels", [2, 3, 5])
def test_the_bands_add_up_to_all_of_it_at_any_size(size, levels):
    delta, _ = pair(2, 3, *size)
    each = [band(delta, *(float(i == level) for i in range(levels))) for level in range(levels)]
    torch.testing.assert_close(sum(each), delta, rtol=0, atol=1e-13)


@pytest.mark.parametrize("size", SIZES)
def test_a_constant_is_coarse(size):
    delta = torch.full((1, 2, *size), 0.37, dtype=torch.float64)
    torch.testing.assert_close(band(delta, 7.0, 0.5), 0.5 * delta)


@pytest.mark.parametrize("size", [(20, 20), (21, 20), (25, 31)])
def test_a_checkerboard_is_fine(size):
    rows, columns = (torch.arange(n) for n in size)
    delta = (1.0 - 2.0 * ((rows[:, None] + columns) % 2)).double().expand(1, 2, *size)
    inner = (..., slice(6, -6), slice(6, -6))
    torch.testing.assert_close(band(delta, 7.0, 0.5)[inner], 7.0 * delta[inner])


def test_away_from_the_edges_it_is_the_pyramid_of_image_libraries():
    """A 5x5 binomial blur and bilinear resizing, of torch's own convolution and interpolation."""
    delta, _ = pair(2, 3, 32, 32)
    row = torch.tensor([1.0, 4.0, 6.0, 4.0, 1.0], dtype=torch.float64) / 16
    kernel = (row[:, None] * row).expand(3, 1, 5, 5)

    def blurred(t):
        return F.conv2d(F.pad(t, (2, 2, 2, 2), mode="reflect"), kernel, groups=3)

    smaller = F.interpolate(blurred(delta), scale_factor=0.5, mode="bilinear")
    coarse = blurred(F.interpolate(smaller, scale_factor=2.0, mode="bilinear"))
    inner = (..., slice(8, -8), slice(8, -8))
    torch.testing.assert_close(band(delta, 0.0, 1.0)[inner], coarse[inner])


def test_frames_and_sounds_have_pyramids_of_their_own():
    cond, uncond = pair(2, 3, 4, 7, 8)
    whole = g.fdg(cond, uncond, scale=6.0)
    for frame in range(4):
        alone = g.fdg(cond[:, :, frame], uncond[:, :, frame], scale=6.0)
        torch.testing.assert_close(whole[:, :, frame], alone)
    row = g.fdg(cond[..., 0, :].flatten(2), uncond[..., 0, :].flatten(2), scale=6.0)
    tall = g.fdg(cond[..., 0, :].flatten(2)[..., None], uncond[..., 0, :].flatten(2)[..., None], scale=6.0)
    torch.testing.assert_close(row, tall[..., 0])


@pytest.mark.parametrize("kind", ["ve", "flow"])
def test_it_is_the_same_in_every_space(kind):
    cond, uncond = pair(2, 3, 9, 8)
    x = torch.randn_like(cond)
    there = [g.eps_from_denoised(x, d, 0.6, kind=kind) for d in (cond, uncond)]
    guided = g.denoised_from_eps(x, g.fdg(*there, scale=5.0), 0.6, kind=kind)
    torch.testing.assert_close(guided, g.fdg(cond, uncond, scale=5.0))


def test_the_papers_weights():
    """w_high 10 and w_low 5: the fine band at weight 10, the rest at 5."""
    cond, uncond = pair(1, 4, 16, 16)
    coarse = band(cond - uncond, 0.0, 1.0)
    expected = uncond + 10.0 * (cond - uncond - coarse) + 5.0 * coarse
    torch.testing.assert_close(g.fdg(cond, uncond, scale=10.0, gains=(1.0, 0.5)), expected)
