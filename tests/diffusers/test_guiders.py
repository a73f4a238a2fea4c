"""Our rules against the guiders of `diffusers`: the same where the same formula is meant, else apart by what is said.

Their guiders work on what the network gives out. Here predictions are taken there, and the guided one back.
"""

import pytest
import torch
from diffusers.guiders.adaptive_projected_guidance import AdaptiveProjectedGuidance
from diffusers.guiders.classifier_free_guidance import ClassifierFreeGuidance
from diffusers.guiders.classifier_free_zero_star_guidance import ClassifierFreeZeroStarGuidance
from diffusers.guiders.frequency_decoupled_guidance import FrequencyDecoupledGuidance
from diffusers.guiders.magnitude_aware_guidance import MagnitudeAwareGuidance
from diffusers.guiders.tangential_classifier_free_guidance import TangentialClassifierFreeGuidance

import guidance as g

from .networks import (
    DENOISED,
    EPS,
    NETWORKS,
    VELOCITY,
    V,
    apart,
    close,
    dot,
    drawn,
    every_network,
    every_rank,
    every_scale,
)

# ---- classifier-free guidance, and its rescaling


@every_network
@every_scale
@every_rank
def test_cfg(network, w, shape):
    c, u, x, _ = drawn(shape)
    close(g.cfg(c, u, scale=w), network.guided(ClassifierFreeGuidance(w), x, c, u))
    papers = ClassifierFreeGuidance(w - 1.0, use_original_formulation=True)
    close(g.cfg(c, u, scale=w), network.guided(papers, x, c, u))


SPACE = {"eps": ("eps", "ve"), "v": ("v", "ve"), "velocity": ("v", "flow"), "denoised": ("x0", "ve")}


@pytest.mark.parametrize("name", SPACE)
@pytest.mark.parametrize("phi", [0.3, 1.0])
@every_rank
def test_rescale_in_the_space_of_the_network(name, phi, shape):
    c, u, x, _ = drawn(shape)
    network, (space, kind) = NETWORKS[name], SPACE[name]
    theirs = network.guided(ClassifierFreeGuidance(7.5, guidance_rescale=phi), x, c, u)
    ours = g.rescale_denoised(g.cfg(c, u, scale=7.5), c, x=x, sigma=network.sigma, kind=kind, space=space, phi=phi)
    close(ours, theirs)


def test_departure_a_prediction_without_spread_is_left_where_theirs_divides_by_it():
    c, u = torch.ones(1, 4, 8, 6), torch.zeros(1, 4, 8, 6)
    assert DENOISED.guided(ClassifierFreeGuidance(3.0, guidance_rescale=0.7), None, c, u).isnan().all()
    assert torch.equal(g.rescale(g.cfg(c, u, scale=3.0), c, phi=0.7), 3.0 * c)


# ---- APG


def apg(w, eta=0.0, r=0.0, momentum=None, original=True):
    knobs = {"adaptive_projected_guidance_momentum": momentum, "adaptive_projected_guidance_rescale": r}
    return AdaptiveProjectedGuidance(w, eta=eta, use_original_formulation=original, **knobs)


@every_scale
@every_rank
@pytest.mark.parametrize(("eta", "r"), [(0.0, 0.0), (0.3, 2.5), (1.0, 2.5), (0.0, 40.0)])
def test_apg_in_their_original_formulation_is_the_papers_at_w_minus_1(w, eta, r, shape):
    c, u, x, _ = drawn(shape)
    theirs = DENOISED.guided(apg(w - 1.0, eta, r), x, c, u)
    close(g.apg(c, u, scale=w, eta=eta, norm_threshold=r), theirs)


def test_apg_with_momentum_from_step_to_step():
    guider, state = apg(7.0, 0.2, 4.0, momentum=-0.6), g.Memory()
    for step in range(4):
        c, u, x, _ = drawn(seed=step)
        guider.set_state(step, 4, torch.tensor(0))
        guider.prepare_inputs({})
        state.begin(step)
        ours = g.apg(c, u, scale=8.0, eta=0.2, norm_threshold=4.0, momentum=-0.6, state=state)
        close(ours, DENOISED.guided(guider, x, c, u))


def test_departure_apg_in_their_native_formulation_pushes_from_uncond():
    c, u, x, _ = drawn()
    theirs = DENOISED.guided(apg(7.0, original=False), x, c, u)
    apart(g.apg(c, u, scale=8.0), theirs, by=c - u)  # the same push, from the other end
    close(g.apg(c, u, scale=7.0, eta=1.0), DENOISED.guided(apg(7.0, eta=1.0, original=False), x, c, u))


@pytest.mark.parametrize("name", ["eps", "velocity"])
def test_departure_apg_on_the_output_of_a_network_projects_on_x_minus_d(name):
    c, u, x, _ = drawn()
    delta = c - u
    theirs = NETWORKS[name].guided(apg(6.0), x, c, u)
    if name == "velocity":
        close(theirs, c + 6.0 * (delta - dot(delta, x - c) / dot(x - c, x - c) * (x - c)))
    along = {axis: dot(delta, a) / dot(a, a) * a for axis, a in {"x0": c, "x - D": x - c}.items()}
    apart(g.apg(c, u, scale=7.0), theirs, by=6.0 * (along["x - D"] - along["x0"]))


def test_departure_a_second_evaluation_of_a_step_moves_their_momentum_on():
    c, u, x, _ = drawn()
    guider, state = apg(7.0, momentum=-0.5), g.Memory()
    guider.set_state(0, 4, torch.tensor(0))
    guider.prepare_inputs({})
    state.begin(0)
    ours, theirs = [], []
    for _ in range(2):
        ours.append(g.apg(c, u, scale=8.0, momentum=-0.5, state=state))
        theirs.append(DENOISED.guided(guider, x, c, u))
    close(ours[0], theirs[0])
    assert torch.equal(ours[1], ours[0])
    close(theirs[1] - c, 0.5 * (theirs[0] - c))  # m = Delta - Delta/2


def test_apg_without_a_direction():
    c, u, x, _ = drawn()
    for pair in ((torch.zeros_like(c), u), (c, c)):
        close(g.apg(*pair, scale=4.0, norm_threshold=2.5), DENOISED.guided(apg(3.0, r=2.5), x, *pair))


# ---- CFG-Zero*


def zero_star(w, step=5, zero=1, steps=20, original=False):
    guider = ClassifierFreeZeroStarGuidance(w, zero, use_original_formulation=original)
    guider.set_state(step, steps, torch.tensor(0))
    return guider


@pytest.mark.parametrize("network", [EPS, VELOCITY], ids=["eps", "velocity"])
@every_scale
@every_rank
def test_cfg_zero_star(network, w, shape):
    c, u, x, _ = drawn(shape)
    ours = g.cfg_zero_star(c, u, scale=w, x=x)
    close(ours, network.guided(zero_star(w), x, c, u), 5)  # their s is of float32
    close(ours, network.guided(zero_star(w - 1.0, original=True), x, c, u), 5)


def test_departure_cfg_zero_star_of_a_v_model_is_taken_in_v_by_theirs():
    c, u, x, _ = drawn()
    v_c, v_u = (V.there(x, d, V.sigma, kind="ve") for d in (c, u))
    s = dot(v_c, v_u) / dot(v_u, v_u)
    e_c, e_u = x - c, x - u
    r = dot(e_c, e_u) / dot(e_u, e_u)
    in_v = -V.sigma / (V.sigma**2 + 1) ** 0.5 * (s - 1.0) * v_u
    by = (1.0 - 4.0) * ((1.0 - r) * e_u - in_v)
    difference = g.cfg_zero_star(c, u, scale=4.0, x=x) - V.guided(zero_star(4.0), x, c, u)
    assert by.abs().max() > 0.1
    close(difference, by, 5)


@pytest.mark.parametrize(("step", "zero", "held"), [(0, 1, True), (1, 1, False), (1, 2, True), (0, 0, False)])
@pytest.mark.parametrize("network", [EPS, VELOCITY], ids=["eps", "velocity"])
def test_zero_init_leaves_the_latent_as_it_is_for_so_many_steps(network, step, zero, held):
    c, u, x, _ = drawn()
    theirs = network.guided(zero_star(4.0, step, zero), x, c, u)
    close(theirs, x if held else g.cfg_zero_star(c, u, scale=4.0, x=x), 5)


def test_departure_the_zero_init_of_a_v_model_is_not_the_latent():
    c, u, x, _ = drawn()
    close(V.guided(zero_star(4.0, step=0), x, c, u), x / (V.sigma**2 + 1))  # what v = 0 means there


# ---- TCFG


@pytest.mark.parametrize("network", [EPS, VELOCITY], ids=["eps", "velocity"])
@every_scale
@every_rank
def test_tcfg(network, w, shape):
    c, u, x, _ = drawn(shape)
    ours = g.cfg(c, g.tcfg(c, u, x=x), scale=w)
    close(ours, network.guided(TangentialClassifierFreeGuidance(w), x, c, u), 4)  # their decomposition is of float32
    papers = TangentialClassifierFreeGuidance(w - 1.0, use_original_formulation=True)
    close(ours, network.guided(papers, x, c, u), 4)


def test_departure_tcfg_of_a_v_model_is_taken_in_v_by_theirs():
    c, u, x, _ = drawn()
    theirs = V.guided(TangentialClassifierFreeGuidance(4.0), x, c, u)
    rows = torch.stack([V.there(x, d, V.sigma, kind="ve").flatten(1) for d in (u, c)], 1)
    first = torch.linalg.svd(rows, full_matrices=False)[2][:, 0]
    v_u = ((rows[:, 0] * first).sum(1, keepdim=True) * first).view_as(u)
    damped = V.back(x, v_u, V.sigma, kind="ve")
    close(theirs, g.cfg(c, damped, scale=4.0), 4)
    assert (g.tcfg(c, u, x=x) - damped).abs().max() > 0.1


# ---- RAAG, MAMBO-G


class OfTokens:
    """A guider that is shown pictures as sequences, the one form in which torch takes the norm of their MAMBO-G."""

    def __init__(self, *knobs, **more):
        self.guider = MagnitudeAwareGuidance(*knobs, **more)

    def forward(self, *outputs):
        found = self.guider.forward(*(output.flatten(2) for output in outputs))
        found.pred = found.pred.view_as(outputs[0])
        return found


@pytest.mark.parametrize("network", [EPS, VELOCITY], ids=["eps", "velocity"])
@pytest.mark.parametrize(("w_max", "alpha"), [(10.0, 8.0), (18.0, 0.3), (1.0, 8.0), (0.5, 1.0)])
@every_rank
def test_mambo_g(network, w_max, alpha, shape):
    c, u, x, _ = drawn(shape)
    ours = g.cfg(c, u, scale=g.ratio_aware_scale(c, u, x=x, scale=w_max, alpha=alpha))
    close(ours, network.guided(OfTokens(w_max, alpha), x, c, u), 6)
    close(ours, network.guided(OfTokens(w_max - 1.0, alpha, use_original_formulation=True), x, c, u), 6)


@pytest.mark.parametrize("name", ["v", "denoised"])
def test_departure_mambo_g_of_other_outputs_takes_another_ratio(name):
    c, u, x, _ = drawn()
    network = NETWORKS[name]
    y_c, y_u = (network.there(x, d, network.sigma, kind="ve") for d in (c, u))
    rho = (dot(y_c - y_u, y_c - y_u) / dot(y_u, y_u)).sqrt().flatten()
    theirs = network.guided(OfTokens(10.0, 0.5), x, c, u)
    close(theirs, g.cfg(c, u, scale=1.0 + 9.0 * torch.exp(-0.5 * rho)), 6)
    ratio = (dot(c - u, c - u) / dot(x - u, x - u)).sqrt().flatten()
    assert ((rho - ratio).abs() > 0.01).all()


def test_departure_mambo_g_takes_pictures_where_theirs_fails():
    c, u, x, _ = drawn()
    with pytest.raises(RuntimeError, match="2-tuple"):
        VELOCITY.guided(MagnitudeAwareGuidance(10.0, 8.0), x, c, u)
    assert g.ratio_aware_scale(c, u, x=x, scale=10.0, alpha=8.0).shape == (3,)


def test_departure_mambo_g_of_two_empty_outputs_is_cond_where_theirs_is_nan():
    x = drawn()[2]
    assert EPS.guided(OfTokens(10.0, 8.0), x, x, x).isnan().all()
    close(g.cfg(x, x, scale=g.ratio_aware_scale(x, x, x=x, scale=10.0, alpha=8.0)), x)


# ---- FDG


def fdg(c, u, weights):
    gains = tuple(weight / weights[0] for weight in weights)
    return g.fdg(c, u, scale=weights[0], gains=gains)


INNER = (..., slice(24, -24), slice(24, -24))


@every_network
@pytest.mark.parametrize("weights", [(10.0, 5.0), (2.0, 7.0), (9.0, 4.0, 1.5)], ids=str)
def test_fdg_away_from_the_edges(network, weights):
    c, u, x, _ = drawn((1, 2, 64, 128))
    theirs = network.guided(FrequencyDecoupledGuidance(weights), x, c, u)
    close(fdg(c, u, weights)[INNER], theirs[INNER])


def test_departure_fdg_repeats_the_edge_where_theirs_mirrors_it():
    c, u, x, _ = drawn((1, 2, 64, 128))
    difference = fdg(c, u, (10.0, 5.0)) - DENOISED.guided(FrequencyDecoupledGuidance((10.0, 5.0)), x, c, u)
    reach = (difference.abs() > 1e-9).nonzero()[:, 2:]
    assert difference.abs().max() > 0.1
    from_edge = torch.minimum(reach, torch.tensor([63, 127]) - reach).min(1).values
    assert from_edge.max() <= 6


@pytest.mark.parametrize(("size", "padded"), [((24, 40), (32, 64)), ((48, 20), (64, 32))])
def test_departure_fdg_keeps_a_size_that_theirs_pads_to_powers_of_two(size, padded):
    c, u, x, _ = drawn((1, 2, *size))
    assert DENOISED.guided(FrequencyDecoupledGuidance((10.0, 5.0)), x, c, u).shape[-2:] == padded
    assert fdg(c, u, (10.0, 5.0)).shape == c.shape


def test_departure_fdg_takes_a_video_frame_by_frame_where_theirs_fails():
    c, u, x, _ = drawn((1, 2, 3, 64, 64))
    with pytest.raises(Exception, match=r"(?i)shape"):
        DENOISED.guided(FrequencyDecoupledGuidance((10.0, 5.0)), x, c, u)
    frames = [DENOISED.guided(FrequencyDecoupledGuidance((10.0, 5.0)), x, c[:, :, i], u[:, :, i]) for i in range(3)]
    close(fdg(c, u, (10.0, 5.0))[INNER], torch.stack(frames, 2)[INNER])


@pytest.mark.parametrize("weights", [(5.0, 1.0), (1.0, 5.0)])
def test_departure_a_weight_of_1_leaves_a_band_to_cond_where_theirs_takes_that_of_another(weights):
    c, u, x, _ = drawn((1, 2, 64, 64))
    with pytest.raises((RuntimeError, UnboundLocalError)):
        DENOISED.guided(FrequencyDecoupledGuidance(weights), x, c, u)
    close(fdg(c, u, weights), fdg(c, u, [w + 1e-12 * (w == 1.0) for w in weights]), 9)
    nearly = DENOISED.guided(FrequencyDecoupledGuidance([w + 1e-6 * (w == 1.0) for w in weights]), x, c, u)
    close(fdg(c, u, weights)[INNER], nearly[INNER], 5)
