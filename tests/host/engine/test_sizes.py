"""A latent may change its size in a run, or be looked at in another size within a step."""

import comfy.samplers
import comfy_extras.nodes_advanced_samplers as advanced
import pytest
import torch
from comfy.patcher_extension import WrappersMP
from methods import BY_NAME, METHODS
from tiny import distance, model, noise, run_node, sample


def growing(scale=2.0):
    return run_node(advanced.SamplerLCMUpscale, scale, -1, "nearest-exact")


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.name)
def test_a_latent_that_grows_breaks_no_node(method):
    torch.manual_seed(0)
    out = sample(method.on(model()), sampler=growing(), steps=4)
    assert out.shape[-2:] == (16, 16) and out.isfinite().all()


REMEMBERING = ["apg_custom", "smc", "momentum", "higs", "dng", "sld_weak", "uncond_reuse", "adaptive"]


def looking(patched, seen):
    """A node that looks at every step at a latent of half the size first."""

    def look(executor, x, timestep, model_options=None, seed=None):
        small = executor(x[..., ::2, ::2], timestep, model_options, seed)
        seen.append(small)
        return executor(x, timestep, model_options, seed)

    patched = patched.clone()
    patched.wrappers.setdefault(WrappersMP.PREDICT_NOISE, {})
    own = patched.wrappers[WrappersMP.PREDICT_NOISE]
    patched.wrappers[WrappersMP.PREDICT_NOISE] = {"theirs": [look], **own}
    return patched


@pytest.mark.parametrize("sampler", ["euler", "heun"])
@pytest.mark.parametrize("name", REMEMBERING)
def test_what_is_kept_for_one_size_survives_a_look_at_another(name, sampler):
    patched, seen = BY_NAME[name].on(model()), []
    beside = sample(looking(patched, seen), sampler=sampler)
    assert seen and seen[0].shape[-1] == 4
    assert torch.equal(beside, sample(patched, sampler=sampler))


@pytest.mark.parametrize("name", ["apg_custom", "momentum", "dng"])
def test_after_it_has_grown_a_memory_goes_on_at_the_new_size(name):
    """From the step at which the size stays, the rule remembers again."""

    def grows_once(model, x, sigmas, extra_args=None, callback=None, disable=None):
        for i in range(len(sigmas) - 1):
            x = x.repeat(1, 1, 2, 2) if i == 1 else x
            d = model(x, sigmas[i] * x.new_ones([len(x)]), **extra_args)
            x = d + (x - d) * sigmas[i + 1] / sigmas[i]
        return x

    patched = BY_NAME[name].on(model())
    sampler = comfy.samplers.KSAMPLER(grows_once)
    out = sample(patched, sampler=sampler, x=noise(), steps=5)
    assert out.shape[-1] == 16 and distance(out, sample(model(), sampler=sampler, steps=5)) > 0.01
