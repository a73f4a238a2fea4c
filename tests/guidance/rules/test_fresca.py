"""Laws of FreSca that no single formula shows."""

import math

import pytest
import torch

import guidance as g

from ..drawing import drawn


def pair(*shape, seed=0):
    return drawn(2, *shape, seed=seed)


def filtered(delta, **knobs):
    """F of a difference."""
    return g.fresca(delta, torch.zeros_like(delta), scale=1.0, **knobs)


@pytest.mark.parametrize("size", [(8, 6), (7, 9), (1, 8), (5, 1)])
def test_every_line_of_the_spectrum_has_exactly_its_gain(size):
    """Waves of every frequency, also on the border of the region, of which the original's box is not symmetric."""
    height, width = size
    y, x = (torch.arange(n, dtype=torch.float64) for n in size)
    for row in range(height):
        for column in range(width):
            wave = torch.cos(2 * math.pi * (row * y[:, None] / height + column * x / width) + 0.3)
            folded = [min(k, n - k) / (n / 2) for k, n in ((row, height), (column, width))]
            gain = 0.5 if math.hypot(*folded) <= 0.67 else 2.0
            delta = wave.expand(1, 2, *size)
            torch.testing.assert_close(filtered(delta, low=0.5, high=2.0, cutoff=0.67), gain * delta)


@pytest.mark.parametrize("side", [16, 64, 128])
def test_the_cutoff_is_a_share_of_what_the_size_can_show(side):
    """A wave four values long is at half of Nyquist, whatever the size of the picture."""
    delta = torch.cos(math.pi / 2 * torch.arange(side, dtype=torch.float64) + 0.3).expand(1, 1, side, side)
    torch.testing.assert_close(filtered(delta, low=0.5, high=2.0, cutoff=0.51), 0.5 * delta)
    torch.testing.assert_close(filtered(delta, low=0.5, high=2.0, cutoff=0.49), 2.0 * delta)


def test_the_ends_of_the_cutoff():
    delta, _ = pair(2, 3, 8, 10)
    mean = delta.mean((-2, -1), keepdim=True)
    torch.testing.assert_close(filtered(delta, low=0.5, high=2.0, cutoff=0.0), 2.0 * delta - 1.5 * mean)
    torch.testing.assert_close(filtered(delta, low=0.5, high=2.0, cutoff=1.5), 0.5 * delta)


def test_frames_have_spectra_of_their_own():
    cond, uncond = pair(2, 3, 4, 7, 8)
    whole = g.fresca(cond, uncond, scale=6.0, high=1.5)
    for frame in range(4):
        torch.testing.assert_close(
            whole[:, :, frame], g.fresca(cond[:, :, frame], uncond[:, :, frame], scale=6.0, high=1.5)
        )


@pytest.mark.parametrize("kind", ["ve", "flow"])
def test_it_is_the_same_in_every_space(kind):
    cond, uncond = pair(2, 3, 9, 8)
    x = torch.randn_like(cond)
    there = [g.eps_from_denoised(x, d, 0.6, kind=kind) for d in (cond, uncond)]
    guided = g.denoised_from_eps(x, g.fresca(*there, scale=5.0), 0.6, kind=kind)
    torch.testing.assert_close(guided, g.fresca(cond, uncond, scale=5.0))
