"""Our added terms against the guiders of `diffusers` that add one, and autoguidance against theirs."""

import pytest
import torch
from diffusers.guiders.auto_guidance import AutoGuidance
from diffusers.guiders.classifier_free_guidance import ClassifierFreeGuidance
from diffusers.guiders.perturbed_attention_guidance import PerturbedAttentionGuidance
from diffusers.guiders.skip_layer_guidance import SkipLayerGuidance
from diffusers.guiders.smoothed_energy_guidance import SmoothedEnergyGuidance

import guidance as g

from .networks import DENOISED, apart, close, drawn, every_network, every_rank, every_scale

TERMS = {
    "PAG": (PerturbedAttentionGuidance, "perturbed_guidance"),
    "SLG": (SkipLayerGuidance, "skip_layer_guidance"),
    "SEG": (SmoothedEnergyGuidance, "seg_guidance"),
}
every_term = pytest.mark.parametrize(("guider", "name"), TERMS.values(), ids=TERMS)


def term(guider, name, w, s, **changes):
    window = {f"{name}_start": 0.0, f"{name}_stop": 1.0, f"{name}_layers": [1]}
    return guider(w, **{f"{name}_scale": s, **window, **changes})


@every_term
@every_network
@every_rank
def test_a_term_is_added_to_cfg(guider, name, network, shape):
    c, u, x, bad = drawn(shape)
    for w, s in ((5.0, 2.8), (5.0, 0.0), (0.3, 1.0)):
        ours = g.add_term(g.cfg(c, u, scale=w), c, bad, scale=s)
        close(ours, network.guided(term(guider, name, w, s), x, c, u, bad))
        original = term(guider, name, w - 1.0, s, use_original_formulation=True)
        close(ours, network.guided(original, x, c, u, bad))


@every_term
def test_departure_without_cfg_their_weight_is_one_more(guider, name):
    c, u, x, bad = drawn()
    theirs = DENOISED.guided(term(guider, name, 1.0, 2.8), x, c, u, bad)
    apart(g.add_term(c, c, bad, scale=2.8), theirs, by=c - bad)
    close(g.add_term(c, c, bad, scale=1.8), theirs)
    original = term(guider, name, 0.0, 2.8, use_original_formulation=True)
    close(g.add_term(c, c, bad, scale=2.8), DENOISED.guided(original, x, c, u, bad))


@every_term
def test_departure_their_term_is_off_in_the_first_step_of_its_window(guider, name):
    c, u, x, bad = drawn()
    with_term, found = term(guider, name, 5.0, 2.8), []
    for step in range(4):
        with_term.set_state(step, 4, torch.tensor(0))
        found.append(
            torch.equal(DENOISED.guided(with_term, x, c, u, bad), DENOISED.guided(ClassifierFreeGuidance(5.0), x, c, u))
        )
    assert found == [True, False, False, False]


@every_term
def test_departure_without_cfg_their_weaker_pass_is_shown_the_negative(guider, name):
    without = term(guider, name, 1.0, 2.8)
    batches = without.prepare_inputs({"prompt": ("positive", "negative")})
    assert [batch.prompt for batch in batches] == ["positive", "negative"]
    with_cfg = term(guider, name, 5.0, 2.8).prepare_inputs({"prompt": ("positive", "negative")})
    assert [batch.prompt for batch in with_cfg] == ["positive", "negative", "positive"]


@every_network
@every_scale
def test_autoguidance_alone_is_their_extrapolation(network, w):
    c, _, x, bad = drawn()
    theirs = network.guided(AutoGuidance(w, auto_guidance_layers=[1], dropout=0.1), x, c, bad)
    close(g.add_term(c, c, bad, scale=w - 1.0), theirs)


def test_departure_their_weaker_model_of_autoguidance_is_shown_the_negative():
    batches = AutoGuidance(2.0, auto_guidance_layers=[1], dropout=0.1).prepare_inputs({"prompt": ("yes", "no")})
    assert [batch.prompt for batch in batches] == ["yes", "no"]


@every_term
@every_rank
@pytest.mark.parametrize("phi", [0.3, 1.0])
def test_a_rescaled_term(guider, name, phi, shape):
    c, u, x, bad = drawn(shape)
    theirs = DENOISED.guided(term(guider, name, 4.0, 1.5, guidance_rescale=phi), x, c, u, bad)
    close(g.add_term(g.cfg(c, u, scale=4.0), c, bad, scale=1.5, rescale=phi), theirs)
