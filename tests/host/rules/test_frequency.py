"""Frequency-Decoupled Guidance and FreSca on the real host, against what torch's own filters make of a step."""

import math

import pytest
import torch
import torch.nn.functional as F
from architectures import video
from methods import BY_NAME
from tiny import (
    architecture,
    distance,
    model,
    sample,
    tensor,
    watch,
)

EXACT = 1e-4


def blurred(t):
    row = torch.tensor([1.0, 4.0, 6.0, 4.0, 1.0]) / 16
    padded = F.pad(t.flatten(0, 1)[:, None], (2, 2, 2, 2), mode="replicate")
    return F.conv2d(padded, (row[:, None] * row)[None, None]).view_as(t)


def coarse(t):
    """The coarse band of pictures with even sides."""
    smaller = F.interpolate(blurred(t), scale_factor=0.5, mode="bilinear")
    return blurred(F.interpolate(smaller, scale_factor=2.0, mode="bilinear"))


def within(t, cutoff):
    rows, columns = (torch.fft.fftfreq(n) * 2 for n in t.shape[-2:])
    mask = (rows[:, None].square() + columns.square()).sqrt() <= cutoff
    return torch.fft.ifft2(torch.fft.fft2(t) * mask).real


def steps(patched, **how):
    seen = []
    sample(watch(patched, seen), steps=4, **how)
    assert len(seen) == 4
    for args in seen:
        yield args["cond_denoised"], args["uncond_denoised"], args["cond_scale"], args["denoised"]


@pytest.mark.parametrize("kind", ["eps", "flow"])
def test_fdg_weighs_two_bands(kind):
    for c, u, w, result in steps(BY_NAME["fdg"].on(model(kind))):
        low = coarse(c - u)
        assert distance(result, u + 1.5 * w * (c - u - low) + 0.5 * w * low) < EXACT


def test_fdg_with_a_middle_band_blended():
    for c, u, w, result in steps(BY_NAME["fdg_3_bands"].on(model())):
        below = coarse(c - u)
        smaller = F.interpolate(blurred(c - u), scale_factor=0.5, mode="bilinear")
        lowest = blurred(F.interpolate(coarse(smaller), scale_factor=2.0, mode="bilinear"))
        ours = u + w * (2.0 * (c - u - below) + 0.8 * (below - lowest) + 0.4 * lowest)
        assert distance(result, torch.lerp(u + w * (c - u), ours, 0.8)) < EXACT


@pytest.mark.parametrize("kind", ["eps", "flow"])
def test_fresca_weighs_two_regions_of_the_spectrum(kind):
    for c, u, w, result in steps(BY_NAME["fresca"].on(model(kind))):
        low = within(c - u, 0.3)
        assert distance(result, u + 1.5 * w * (c - u - low) + 0.8 * w * low) < EXACT


def test_a_video_is_filtered_frame_by_frame():
    x = tensor(5, 1, 16, 3, 4, 4)
    for c, u, w, result in steps(BY_NAME["fdg"].on(architecture(video)), x=x):
        low = torch.stack([coarse(frame) for frame in (c - u).unbind(2)], dim=2)
        assert distance(result, u + 1.5 * w * (c - u - low) + 0.5 * w * low) < EXACT


def test_fresca_is_the_hosts_but_on_the_border_of_its_box():
    """The host's box of one line: within it zero and the line at -1, while +1 is outside."""
    from comfy_extras.nodes_fresca import Fourier_filter

    delta = tensor(7, 1, 2, 8, 8)
    theirs = Fourier_filter(delta, scale_low=0.5, scale_high=2.0, freq_cutoff=1)
    ratio = torch.fft.fft2(theirs) / torch.fft.fft2(delta)
    ours = torch.fft.fft2(0.5 * within(delta, 0.26) + 2.0 * (delta - within(delta, 0.26))) / torch.fft.fft2(delta)
    assert math.isclose(ratio[..., 0, 0].real.mean(), 0.5, rel_tol=1e-4)
    torch.testing.assert_close(ratio[..., 2:7, 2:7], ours[..., 2:7, 2:7], rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(ours[..., 0, 1].real, torch.full_like(ours[..., 0, 1].real, 0.5))
    assert not torch.allclose(ratio[..., 0, 1], ours[..., 0, 1], atol=0.1)
