"""Rescaling in the host: the paper's rule in the space of the model, as the host's node where that one is right."""

import pytest
import torch
from architectures import video
from azimuth import guidance
from azimuth.nodes.corrections import rescale as node
from comfy_extras.nodes_model_advanced import RescaleCFG
from methods import BY_NAME, stack
from tiny import (
    alone,
    architecture,
    basic,
    distance,
    model,
    noise,
    passes,
    predict,
    sample,
    tensor,
    text,
    watch,
)

W, PHI = 5.0, 0.7
EXACT = 1e-4


def rescale(patched, phi=PHI, space="v"):
    return BY_NAME["rescale"].on(patched, phi=phi, space=space)


def hosts(patched, phi=PHI):
    return RescaleCFG().patch(patched, phi)[0]


def literal(args, there, back, guided=None):
    """The rule on predictions that are taken elsewhere and back, for one sample."""
    c, u, x, sigma = (args[key] for key in ("cond_denoised", "uncond_denoised", "input", "sigma"))
    plain = u + args["cond_scale"] * (c - u) if guided is None else guided
    y, y_c = (there(x, d, sigma.item()) for d in (plain, c))
    scaled = y * (y_c.std() / y.std())
    return back(x, PHI * scaled + (1 - PHI) * y, sigma.item())


def velocity(x, d, t):
    return (x - d) / t


def from_velocity(x, v, t):
    return x - t * v


def vp_velocity(x, d, s):
    return (x / (s * s + 1) - d) * (s * s + 1) ** 0.5 / s


def from_vp_velocity(x, v, s):
    return x / (s * s + 1) - v * s / (s * s + 1) ** 0.5


def as_it_is(x, d, sigma):
    return d


SPACES = {
    ("v", "eps"): (vp_velocity, from_vp_velocity),
    ("v", "v"): (vp_velocity, from_vp_velocity),
    ("v", "flow"): (velocity, from_velocity),
    ("eps", "eps"): (velocity, from_velocity),  # (x - D)/sigma there is the noise
    ("eps", "flow"): (lambda x, d, t: (x - (1 - t) * d) / t, lambda x, e, t: (x - t * e) / (1 - t)),
    ("x0", "eps"): (as_it_is, as_it_is),
    ("x0", "flow"): (as_it_is, as_it_is),
}


@pytest.mark.parametrize(("space", "kind"), SPACES)
def test_every_step_is_the_papers_rule_in_its_space(space, kind):
    seen = []
    sample(watch(rescale(model(kind), space=space), seen), steps=4)
    for args in seen:
        if args["sigma"].item() == 1.0 and space == "eps":  # there the noise says nothing about the picture
            plain = args["uncond_denoised"] + W * (args["cond_denoised"] - args["uncond_denoised"])
            assert distance(args["denoised"], plain) < EXACT
        else:
            assert distance(args["denoised"], literal(args, *SPACES[space, kind])) < 3 * EXACT


@pytest.mark.parametrize("kind", ["eps", "v", "edm"])
@pytest.mark.parametrize("sampler", ["euler", "dpmpp_2m"])
def test_a_run_of_a_ve_model_is_that_of_the_hosts_node(kind, sampler):
    how = {"x": noise(2), "sampler": sampler, "steps": 4}
    theirs = sample(hosts(model(kind)), **how)
    assert distance(sample(rescale(model(kind)), **how), theirs) < 1e-3
    assert distance(sample(model(kind), **how), theirs) > 1e-2


def test_of_a_flow_model_the_hosts_node_takes_another_space():
    how = {"sigma": 0.6, "x": noise()}
    ours, theirs = (predict(f(model("flow")), **how) for f in (rescale, hosts))
    assert distance(ours, theirs) > 1e-2


FRAMES = {"x": tensor(5, 1, 16, 3, 4, 4), "sigma": 0.6}


def test_of_a_video_the_hosts_node_leaves_a_dimension_out():
    net = architecture(video)
    seen = []
    ours = predict(watch(rescale(net), seen), **FRAMES)
    assert distance(ours, literal(seen[0], velocity, from_velocity)) < EXACT
    assert distance(ours, predict(hosts(net), **FRAMES)) > 1e-2


@pytest.mark.parametrize("order", [("rescale", "adg"), ("adg", "rescale")], ids="-".join)
def test_it_follows_a_combine_rule_whatever_the_wiring(order):
    seen = []
    predict(watch(stack(model(), *order), seen))
    args = seen[0]
    turned = guidance.angle_domain(args["cond_denoised"], args["uncond_denoised"], scale=W)
    assert distance(args["denoised"], literal(args, vp_velocity, from_vp_velocity, guided=turned)) < EXACT


def test_it_follows_what_a_further_negative_adds():
    seen = []
    predict(watch(stack(model(), "rescale", "compose"), seen))
    args = seen[0]
    c, u = args["cond_denoised"], args["uncond_denoised"]
    guided = u + W * (c - u) - 1.5 * (alone(text(3)) - u)
    assert distance(args["denoised"], literal(args, vp_velocity, from_vp_velocity, guided=guided)) < EXACT


def test_a_schedule_gives_phi_step_by_step():
    seen = []
    sample(watch(rescale(model(), phi=guidance.Steps((0.0, PHI, 0.0))), seen), steps=3)
    for i, args in enumerate(seen):
        plain = args["uncond_denoised"] + W * (args["cond_denoised"] - args["uncond_denoised"])
        expected = literal(args, vp_velocity, from_vp_velocity) if i == 1 else plain
        assert distance(args["denoised"], expected) < EXACT


# ---- where there is no pair (these hold for energy preservation too)

BOTH = pytest.mark.parametrize("name", ["rescale", "energy", "energy_robust"])


@BOTH
def test_at_weight_1_nothing_is_paid_for_and_the_log_says_so(name, said):
    patched = BY_NAME[name].on(model())
    assert torch.equal(sample(patched, cfg=1.0), sample(model(), cfg=1.0))
    assert passes(patched, cfg=1.0) == [1] * 6
    assert any("has no effect at weight 1, where no negative pass" in sentence for sentence in said())


def test_at_a_step_with_one_pass_the_rule_is_not_asked(monkeypatch):
    asked = []
    monkeypatch.setattr(node, "rescale_denoised", lambda guided, cond, **how: asked.append(how["phi"]) or guided)
    weights = guidance.Steps((4.0, 1.0, 1.0, 4.0, 1.0, 4.0))
    patched = BY_NAME["scheduled_cfg"].on(rescale(model()), scale=weights)
    assert passes(patched) == [2, 1, 1, 2, 1, 2]
    assert len(asked) == 3


@BOTH
def test_under_a_basic_guider_it_says_that_there_is_no_pair(name, said):
    patched = BY_NAME[name].on(model())
    assert torch.equal(sample(patched, make=basic, steps=2), sample(model(), make=basic, steps=2))
    assert len([s for s in said() if "has no effect under the Basic Guider" in s]) == 1


@pytest.mark.parametrize(
    ("changes", "about"),
    [
        ({"phi": 1.1}, "input phi: 1.1 is out of range; use a number from 0 to 1"),
        ({"phi": "0.7"}, "input phi"),
        ({"space": "pixels"}, "input space: there is no 'pixels'; choose one of v, eps, x0"),
    ],
)
def test_bad_input_is_refused(changes, about):
    with pytest.raises(ValueError) as error:
        rescale(model(), **changes)
    assert str(error.value).startswith(f"Rescale CFG (Azimuth), {about}")


def test_a_schedule_out_of_range_is_refused_when_the_run_opens():
    with pytest.raises(ValueError, match=r"Rescale CFG \(Azimuth\), input phi: .* 0 to 1"):
        sample(rescale(model(), phi=guidance.Linear(0.5, 2.0)), steps=3)
