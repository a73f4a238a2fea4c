"""CFG-Zero* in the host: the optimised scale on what the model predicted, and zero-init in runs from noise."""

import comfy.samplers
import pytest
import torch
from architectures import cosmos
from azimuth import guidance
from azimuth.nodes.engine import pipeline
from azimuth.nodes.look import report
from comfy_extras.nodes_cfg import CFGZeroStar
from methods import BY_NAME
from tiny import architecture, distance, model, noise, predict, sample, sigmas_of, watch

W = 5.0
EXACT = 1e-4

pytestmark = pytest.mark.filterwarnings("ignore:Should have t")  # the host's SDE noise, a rounding out of its range


def zero_star(kind="eps", steps=0, strength=1.0):
    return BY_NAME["zero_star"].on(model(kind), zero_init_steps=steps, strength=strength)


def literal(args):
    """On what the model predicted, in x - D."""
    v_c, v_u = (args["input"] - args[key] for key in ("cond_denoised", "uncond_denoised"))
    s = (v_c * v_u).sum() / (v_u * v_u).sum()
    return args["input"] - (s * v_u + args["cond_scale"] * (v_c - s * v_u))


def plain(args):
    return args["uncond_denoised"] + W * (args["cond_denoised"] - args["uncond_denoised"])


def steps_of(patched, **how):
    seen = []
    sample(watch(patched, seen), **how)
    return seen


@pytest.mark.parametrize("kind", ["eps", "v", "flow"])
def test_every_step_is_the_formula(kind):
    seen = steps_of(zero_star(kind), steps=4)
    assert len(seen) == 4
    assert max(distance(args["denoised"], literal(args)) for args in seen) < EXACT
    assert max(distance(args["denoised"], plain(args)) for args in seen) > 1e-2


@pytest.mark.parametrize(("kind", "sigma"), [("eps", 3.0), ("flow", 0.6)])
def test_the_hosts_node_is_a_part_of_x_away(kind, sigma):
    seen = []
    ours = predict(watch(zero_star(kind), seen), sigma=sigma)
    theirs = predict(CFGZeroStar.execute(model(kind)).args[0], sigma=sigma)
    x, c, u = (seen[0][key] for key in ("input", "cond_denoised", "uncond_denoised"))
    s = ((x - c) * (x - u)).sum() / ((x - u) * (x - u)).sum()
    assert distance(ours - theirs, (1 - W) * (1 - s) * x) < 1e-3


# ---- zero-init


def held(seen):
    """Which calls ended with the latent that they began with."""
    return [torch.equal(args["denoised"], args["input"]) for args in seen]


@pytest.mark.parametrize("kind", ["eps", "flow"])
@pytest.mark.parametrize(("steps", "expected"), [(0, 0), (1, 1), (3, 3), (20, 4)])
def test_the_first_steps_leave_the_latent_as_it_is(kind, steps, expected):
    seen = steps_of(zero_star(kind, steps), steps=5)
    assert held(seen) == [True] * expected + [False] * (5 - expected)
    for args in seen[1:]:
        assert torch.equal(args["input"], seen[0]["input"]) or not held([args])[0]
    for args in seen[expected:]:
        assert distance(args["denoised"], literal(args)) < EXACT


def test_a_run_of_one_step_is_guided():
    assert held(steps_of(zero_star("flow", 1), steps=1)) == [False]


def test_part_of_the_rule_holds_the_latent_in_part():
    seen = steps_of(zero_star("flow", 1, strength=0.5), steps=3)
    assert distance(seen[0]["denoised"], (plain(seen[0]) + seen[0]["input"]) / 2) < EXACT


@pytest.mark.parametrize(
    ("sampler", "expected"),
    [
        ("dpmpp_2m", [True, False, False, False]),
        ("heun", [True, True, False, False, False, False, False]),  # a corrector and a midpoint belong to their step
        ("dpm_2", [True, True, False, False, False, False, False]),
    ],
)
def test_every_call_of_a_held_step_is_held(sampler, expected):
    assert held(steps_of(zero_star("flow", 1), sampler=sampler, steps=4)) == expected


def test_a_whole_batch_is_held():
    assert held(steps_of(zero_star("flow", 2), x=noise(3), steps=4)) == [True, True, False, False]


def test_a_run_that_begins_later_is_not_held_and_the_log_says_so(said):
    sigmas = sigmas_of(model(), 8)[4:]
    assert held(steps_of(zero_star(steps=2), latent=noise(seed=9), sigmas=sigmas)) == [False] * 4
    assert len([sentence for sentence in said() if "begin at the model's largest sigma" in sentence]) == 1


def test_nor_is_an_unsampling_run():
    sigmas = torch.cat([torch.tensor([0.1]), sigmas_of(model(), 4).flip(0)[1:]])
    start = {"x": torch.zeros_like(noise()), "latent": noise(), "sigmas": sigmas}
    assert held(steps_of(zero_star(steps=2), **start)) == [False] * 4


@pytest.mark.parametrize("kind", ["eps", "v", "edm", "flow"])
@pytest.mark.parametrize("scheduler", ["simple", "normal", "karras", "sgm_uniform", "beta", "linear_quadratic"])
def test_a_whole_run_begins_with_noise_under_every_scheduler(kind, scheduler):
    sigmas = tuple(sigmas_of(model(kind), 20, scheduler).tolist())
    assert pipeline.starts_from_noise(model(kind), sigmas)
    assert not pipeline.starts_from_noise(model(kind), sigmas[1:])


ADD_NOISE = ["euler_ancestral", "dpmpp_2s_ancestral", "dpmpp_sde", "dpmpp_2m_sde", "lcm", "ddpm", "seeds_2", "er_sde"]


@pytest.mark.parametrize("sampler", [*ADD_NOISE, "euler_cfg_pp", "sa_solver"])
def test_a_sampler_that_zero_init_does_not_suit_is_warned_of_once(sampler, said):
    sample(zero_star("flow", 1), sampler=sampler, steps=3)
    about = [sentence for sentence in said() if "zero_init_steps leaves too much noise" in sentence]
    assert len(about) == 1 and sampler in about[0] and "CFG-Zero*" in about[0]


@pytest.mark.parametrize("sampler", ["euler", "heun", "dpmpp_2m", "uni_pc", "ddim", "res_multistep"])
def test_a_sampler_that_it_suits_is_not(sampler, said):
    sample(zero_star("flow", 1), sampler=sampler, steps=3)
    assert not said()


def test_nor_is_one_without_its_noise(said):
    quiet = comfy.samplers.ksampler("euler_ancestral", {"eta": 0.0})
    sample(zero_star("flow", 1), sampler=quiet, steps=3)
    assert not said()
    sample(zero_star("flow", 1), sampler=comfy.samplers.ksampler("euler", {"s_churn": 0.3}), steps=3)
    assert len(said()) == 1


@pytest.mark.parametrize("off", [{"steps": 0}, {"steps": 1, "strength": 0.0}], ids=["no steps", "strength 0"])
def test_nor_is_any_where_it_is_off(off, said):
    sample(zero_star("flow", **off), sampler="euler_ancestral", steps=3)
    assert not said()


def test_the_report_names_the_steps_and_warns_of_nothing(said):
    words = report.report(zero_star("flow", 2), 7.0, sigmas_of(model("flow"), 5))
    assert "CFG-Zero*: zero-init for 2 steps" in words
    assert not said()


@pytest.mark.parametrize("bad", [1.5, "1", None, -1, 21, True])
def test_a_number_of_steps_must_be_one(bad):
    with pytest.raises(ValueError, match=r"CFG-Zero\*, input zero_init_steps"):
        zero_star(steps=bad)


def test_a_whole_number_may_come_as_a_float():
    assert torch.equal(sample(zero_star("flow", 2.0)), sample(zero_star("flow", 2)))


def test_beside_a_schedule_the_weight_of_the_step_counts():
    patched = BY_NAME["scheduled_cfg"].on(zero_star("flow"), scale=guidance.Linear(9.0, 3.0))
    for args in steps_of(patched, steps=4):
        assert distance(args["denoised"], literal(args)) < EXACT


# ---- a flow model that is sampled in sigma coordinates


@pytest.mark.parametrize("sigma", [4.0, 1.0, 0.3])
def test_of_cosmos_the_velocities_are_fitted_not_the_noise(sigma):
    net, seen = architecture(cosmos), []
    x = sigma * torch.randn(1, 16, 2, 8, 8, generator=torch.Generator().manual_seed(0))
    predict(watch(BY_NAME["zero_star"].on(net, zero_init_steps=0, strength=1.0), seen), x=x, sigma=sigma)
    x, c, u, got = (seen[0][key] for key in ("input", "cond_denoised", "uncond_denoised", "denoised"))
    t = sigma / (1 + sigma)
    v_c, v_u = ((x / (1 + sigma) - d) / t for d in (c, u))
    s = (v_c * v_u).sum() / (v_u * v_u).sum()
    assert 0.7 < s < 0.9
    assert distance(got, x / (1 + sigma) - t * (s * v_u + W * (v_c - s * v_u))) < EXACT
    of_noise = ((x - c) * (x - u)).sum() / ((x - u) * (x - u)).sum()
    assert of_noise > s + (0.1 if sigma == 4.0 else 0.0)
