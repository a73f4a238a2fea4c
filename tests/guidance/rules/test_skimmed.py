"""Laws of Skimmed CFG that no single formula shows."""

import pytest
import torch

import guidance as g

from ..drawing import drawn

# One value for each case: cond, uncond, x. Which masks fire at w = 8 is worked out by hand.
CASES = {
    "negative alone": (1.0, 2.0, 0.0),  # cond + 8 (uncond - cond) = 9, above 0 and x
    "positive alone": (2.0, 1.0, 0.0),  # uncond + 7 (cond - uncond) = 8
    "positive, within x": (2.0, 1.0, 100.0),
    "both": (-1.0, 2.0, 0.0),  # 23, and 2 - 7 * 3 = -19
}


def at(f, case, w, **knobs):
    cond, uncond, x = (torch.tensor(v, dtype=torch.float64).view(1, 1, 1) for v in CASES[case])
    return g.effective_scale(f(cond, uncond, scale=w, x=x, **knobs), cond, uncond).item()


@pytest.mark.parametrize("w,s", [(8.0, 3.0), (15.0, 7.0), (8.0, 8.0), (2.0, 1.5), (1.8, 1.2)])
def test_the_weight_that_the_original_reaches(w, s):
    assert at(g.skimmed, "negative alone", w, skim=s) == pytest.approx(1 + (w - 1) * s / w)
    assert at(g.skimmed, "positive alone", w, skim=s) == pytest.approx(w * s / (w - 1))
    assert at(g.skimmed, "positive, within x", w, skim=s) == pytest.approx(w)


@pytest.mark.parametrize("w,s", [(8.0, 3.0), (15.0, 7.0), (8.0, 8.0), (8.0, 20.0), (1.8, 1.2)])
@pytest.mark.parametrize("case", ["negative alone", "positive alone", "both"])
def test_the_exact_form_reaches_the_lower_weight(case, w, s):
    assert at(g.skimmed_exact, case, w, skim=s) == pytest.approx(min(s, w))
    assert at(g.skimmed_exact, "positive, within x", w, skim=s) == pytest.approx(w)


def test_the_original_amplifies_where_the_exact_form_does_nothing():
    assert at(g.skimmed, "positive alone", 7.0, skim=7.0) == pytest.approx(7.0 * 7 / 6)
    assert at(g.skimmed, "positive alone", 1.1, skim=7.0) == pytest.approx(77.0)
    assert at(g.skimmed_exact, "positive alone", 1.1, skim=7.0) == pytest.approx(1.1)


def test_a_full_negative_leaves_the_positive_alone():
    for f in (g.skimmed, g.skimmed_exact):
        assert at(f, "negative alone", 8.0, skim=3.0, full_negative=True) == pytest.approx(1.0)
    assert at(g.skimmed_exact, "positive alone", 8.0, skim=3.0, full_negative=True) == pytest.approx(3.0)


def test_without_x_more_values_are_skimmed():
    cond, uncond, x = (torch.tensor(v, dtype=torch.float64).view(1, 1, 1) for v in CASES["positive, within x"])
    for f in (g.skimmed, g.skimmed_exact):
        assert torch.equal(f(cond, uncond, scale=8.0, x=x, skim=3.0), g.cfg(cond, uncond, scale=8.0))
        assert not torch.equal(f(cond, uncond, scale=8.0, skim=3.0), g.cfg(cond, uncond, scale=8.0))


def test_the_exact_form_is_plain_cfg_elsewhere():
    base, a, b, noise = torch.randn(4, 2, 4, 9, 9, generator=torch.Generator().manual_seed(0))
    cond, uncond, x = base + 0.1 * a, base + 0.1 * b, base + 2.0 * noise
    ours, full = g.skimmed_exact(cond, uncond, scale=8.0, x=x, skim=3.0), g.cfg(cond, uncond, scale=8.0)
    lower = g.cfg(cond, uncond, scale=3.0)
    assert ((ours == full) | (ours == lower)).all()
    assert 0.3 < (ours == lower).double().mean() < 0.7


def test_a_shift_of_the_latent_changes_it():
    cond, uncond, x = drawn(3, 1, 4, 9, 9)
    shifted = g.skimmed(cond + 3, uncond + 3, scale=8.0, x=x + 3) - 3
    assert (shifted - g.skimmed(cond, uncond, scale=8.0, x=x)).abs().max() > 0.1
