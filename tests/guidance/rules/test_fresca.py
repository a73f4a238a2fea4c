"""Laws of FreSca that no single formula shows."""

import math

import pytest
import torch

import guidance as g
from specimens.rules.frequency import literal_cutoff

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


SIZES = [(3, 64, 64), (3, 96, 64), (2, 7, 40, 57), (3, 128)]


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("decay", [0.0, 1.0, 2.0])
def test_the_adaptive_border_is_that_of_the_authors(size, decay):
    """Of white differences, and of smoother ones, of which more lines are passed; each sample has its own."""
    cond, uncond = pair(2, *size, seed=4)
    spectrum = torch.fft.fftn(cond - uncond, dim=(-1,) if len(size) == 2 else (-2, -1))
    radius = torch.ones(())
    for n, axis in zip(size[-2:] if len(size) > 2 else size[-1:], (-2, -1) if len(size) > 2 else (-1,), strict=True):
        shape = [n if i == len(size) + axis else 1 for i in range(len(size))]
        radius = radius + torch.fft.fftfreq(n, d=0.5).abs().mul(n / 8).view(shape)
    shaped = spectrum / radius ** torch.tensor([decay, decay / 2]).view(2, *[1] * len(size))
    cond = uncond + torch.fft.ifftn(shaped, dim=(-1,) if len(size) == 2 else (-2, -1)).real
    found = g.fresca_cutoff(cond, uncond)
    assert found.tolist() == pytest.approx(
        [literal_cutoff(c.numpy(), u.numpy()) for c, u in zip(cond, uncond, strict=True)]
    )


def test_the_adaptive_border_lies_where_the_notes_of_its_authors_code_put_it():
    """0.35 to 0.5 of Nyquist, and half a line, for predictions that differ in everything at sides of 64 to 160."""
    for side in (64, 128, 160):
        found = g.fresca_cutoff(*pair(1, 4, side, side, seed=side)).item()
        assert 0.35 <= found - 1.0 / side <= 0.5


def test_a_small_picture_has_no_fine_part():
    assert (g.fresca_cutoff(*pair(2, 3, 4, 4)) > math.sqrt(2)).all()


def test_every_sample_has_its_own_cutoff():
    cond, uncond = pair(3, 2, 9, 12)
    cutoffs = torch.tensor([0.2, 0.5, 0.9])
    whole = g.fresca(cond, uncond, scale=6.0, high=1.5, cutoff=cutoffs)
    for i, cutoff in enumerate((0.2, 0.5, 0.9)):
        alone = g.fresca(cond[i : i + 1], uncond[i : i + 1], scale=6.0, high=1.5, cutoff=cutoff)
        assert torch.equal(whole[i : i + 1], alone)


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
