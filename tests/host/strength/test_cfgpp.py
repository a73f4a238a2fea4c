"""CFG++ as a weight: exact where a sampler takes first-order steps, and said aloud where it does not."""

import comfy.k_diffusion.sampling as k_diffusion
import comfy.model_patcher
import comfy.samplers
import pytest
import torch
from azimuth import guidance
from both_predictions import noting
from methods import BY_NAME
from tiny import custom, distance, model, noise, sample, scales, sigmas_of

LAM = 0.7


def cfgpp(kind="eps", **changes):
    return BY_NAME["cfgpp"].on(model(kind), lam=LAM, limit=1000.0, **changes)


def literal(step):
    """A sampler that takes CFG++ steps from D_lam and D_u; run it with lambda as the cfg."""

    def run(net, x, sigmas, extra_args=None, callback=None, disable=None):
        how, found = noting(extra_args)
        draw = k_diffusion.default_noise_sampler(x, seed=extra_args["seed"])
        with torch.no_grad():
            for here, after in zip(sigmas[:-1], sigmas[1:], strict=True):
                guided = net(x, here.expand(x.shape[0]), **how)
                x = step(x, here, after, guided, found["uncond_denoised"], draw)
        return x

    return comfy.samplers.KSAMPLER(run)


@pytest.mark.parametrize("kind", ["eps", "v", "flow"])
@pytest.mark.parametrize("sampler", ["euler", "ddim"])
def test_euler_equals_the_hosts_euler_cfg_pp(kind, sampler):
    theirs = sample(model(kind), cfg=LAM, sampler="euler_cfg_pp")
    assert distance(sample(cfgpp(kind), sampler=sampler), theirs) < 1e-4
    assert distance(sample(model(kind), cfg=LAM, sampler=sampler), theirs) > 0.01


@pytest.mark.parametrize("eta", [1.0, 0.5, 0.0])
def test_euler_ancestral_equals_the_hosts_euler_ancestral_cfg_pp(eta):
    ours = custom.SamplerEulerAncestral.execute(eta, 1.0).args[0]
    theirs = custom.SamplerEulerAncestralCFGPP.execute(eta, 1.0).args[0]
    expected = sample(model(), cfg=LAM, sampler=theirs)
    assert distance(sample(cfgpp(), sampler=ours), expected) < 1e-4


def test_the_ancestral_sampler_by_name_too():
    theirs = sample(model(), cfg=LAM, sampler="euler_ancestral_cfg_pp")
    assert distance(sample(cfgpp(), sampler="euler_ancestral"), theirs) < 1e-4


def rectified_step(eta):
    """CFG++ with the sigma_down and the fresh noise of the host's euler_ancestral for flow models.

    Its euler_ancestral_cfg_pp goes to another sigma_down at the same eta, so no weight can make the two equal.
    """

    def step(x, t, t_next, guided, uncond, draw):
        if t_next == 0:
            return guided
        down = t_next * (1 + (t_next / t - 1) * eta)
        renoise = (t_next**2 - down**2 * (1 - t_next) ** 2 / (1 - down) ** 2) ** 0.5
        x = (1 - down) * guided + down / t * (x - (1 - t) * uncond)
        return (1 - t_next) / (1 - down) * x + draw(t, t_next) * renoise if eta else x

    return step


@pytest.mark.parametrize("eta", [1.0, 0.4])
def test_euler_ancestral_of_a_flow_model_is_cfgpp_with_its_own_steps(eta):
    ours = custom.SamplerEulerAncestral.execute(eta, 1.0).args[0]
    expected = sample(model("flow"), cfg=LAM, sampler=literal(rectified_step(eta)))
    assert distance(sample(cfgpp("flow"), sampler=ours), expected) < 1e-4


def test_without_fresh_noise_it_is_the_hosts_euler_cfg_pp():
    ours = custom.SamplerEulerAncestral.execute(0.0, 1.0).args[0]
    theirs = sample(model("flow"), cfg=LAM, sampler="euler_cfg_pp")
    assert distance(sample(cfgpp("flow"), sampler=ours), theirs) < 1e-4


def inverse_ve(x, sigma, sigma_next, guided, uncond, draw):
    return uncond + sigma_next / sigma * (x - guided)


def inverse_flow(x, t, t_next, guided, uncond, draw):
    return (1 - t_next) * uncond + t_next / t * (x - (1 - t) * guided)


@pytest.mark.parametrize(("kind", "step"), [("eps", inverse_ve), ("flow", inverse_flow)])
def test_unsampling_swaps_the_roles(kind, step):
    sigmas = sigmas_of(model(kind), 5).flip(0)
    # From nearly 0 every rounding would be blown up, and at t = 1 the host divides the latent by 0.
    sigmas = torch.cat([torch.tensor([0.1]), sigmas[1:-1]])
    start = {"x": torch.zeros_like(noise()), "latent": noise(), "sigmas": sigmas}
    expected = sample(model(kind), cfg=LAM, sampler=literal(step), **start)
    assert distance(sample(cfgpp(kind), **start), expected) < 1e-4


def test_a_schedule_gives_lambda_step_by_step():
    lam = guidance.Linear(0.2, 0.8)
    sigmas = sigmas_of(model(), 4)
    patched = BY_NAME["cfgpp"].on(model(), lam=lam, limit=1000.0)
    steps = sigmas.tolist()
    expected = [guidance.cfgpp_scale(lam.weight(i / 3, 0.0), steps[i], steps[i + 1], kind="ve") for i in range(4)]
    assert scales(patched, sigmas=sigmas) == pytest.approx(expected)


def test_no_step_takes_more_than_the_limit():
    patched = BY_NAME["cfgpp"].on(model(), lam=1.0, limit=2.0)
    assert max(scales(patched, steps=8)) == 2.0


@pytest.mark.parametrize("sampler", ["dpmpp_2m", "heun", "uni_pc", "dpmpp_2s_ancestral"])
def test_other_samplers_are_warned_of_once(sampler, said):
    sample(cfgpp(), sampler=sampler, steps=4)
    about = [sentence for sentence in said() if "approximation" in sentence]
    assert len(about) == 1
    assert "CFG++" in about[0] and "euler" in about[0]


def test_an_exact_sampler_is_not(said):
    sample(cfgpp(), sampler="euler", steps=4)
    sample(cfgpp(), sampler="euler_ancestral", steps=4)
    assert not any("approximation" in sentence for sentence in said())


@pytest.mark.parametrize("sampler", ["euler_cfg_pp", "euler_ancestral_cfg_pp", "dpmpp_2m_cfg_pp"])
def test_a_cfg_pp_sampler_gets_lambda_for_its_cfg(sampler, said):
    theirs = sample(model(), cfg=LAM, sampler=sampler)
    assert torch.equal(sample(cfgpp(), sampler=sampler), theirs)
    assert any("CFG++ sampler already" in sentence for sentence in said())
