"""Promise 7: at most one device synchronisation per call, none without a schedule; no tensor of the host is changed."""

import sys

import comfy.samplers
import pytest
import torch
from azimuth import guidance
from azimuth.nodes.engine import stages
from methods import BY_NAME, METHODS, stack
from tiny import conds, guider_of, model, noise, sample, sigmas_of, text

SYNCHRONISING = ("item", "tolist", "numpy", "cpu", "__bool__", "__float__", "__int__", "__index__", "__contains__")


@pytest.fixture
def synchronisations(monkeypatch):
    """Every read of a tensor's value by a module of the pack, as (module, function)."""
    found = []

    def counted(name):
        original = getattr(torch.Tensor, name)

        def read(tensor, *args, **kwargs):
            caller = sys._getframe(1)
            if caller.f_globals["__name__"].split(".")[0] in ("azimuth", "guidance"):
                found.append((caller.f_globals["__name__"], caller.f_code.co_name))
            return original(tensor, *args, **kwargs)

        return read

    for name in SYNCHRONISING:
        monkeypatch.setattr(torch.Tensor, name, counted(name))
    return found


def in_steps(found):
    """Those that a step makes; opening and closing a run read twice each, whatever its length."""
    return [f for _, f in found if f not in ("outer_sample", "starts_from_noise", "report_non_finite")]


def waits(method):
    """Whether a method must know the step: its number changes over the run, or it remembers."""
    return not all(stage.constant for stage in stages.of(method.on(model())))


@pytest.mark.parametrize("name", [m.name for m in METHODS if not waits(m)])
def test_without_a_schedule_no_step_waits_for_the_device(name, synchronisations):
    patched = BY_NAME[name].on(model())
    sample(patched, steps=3)
    assert in_steps(synchronisations) == []
    assert len(synchronisations) <= 4


@pytest.mark.parametrize(
    "changes",
    [{"area": (4, 4, 0, 0)}, {"mask": torch.ones(1, 8, 8)}, {"tokens": 5}],
    ids=["area", "mask", "length"],
)
def test_a_restricted_negative_does_not_wait_either(changes, synchronisations):
    sample(BY_NAME["compose"].on(model(), negative=text(3, **changes)), steps=3)
    assert in_steps(synchronisations) == []


def test_with_schedules_a_step_waits_once(synchronisations):
    patched = stack(model(), "scheduled_cfg", "perpendicular", "mimic", "imagen")
    patched = BY_NAME["compose"].on(patched, negative=text(4, end_percent=0.9), weight=guidance.Linear(0.0, 2.0))
    sample(patched, steps=4, negative=text(2, end_percent=0.8))
    assert len(in_steps(synchronisations)) == 4


@pytest.mark.parametrize("name", [m.name for m in METHODS if waits(m)])
def test_a_stage_that_must_know_the_step_waits_once(name, synchronisations):
    sample(BY_NAME[name].on(model()), steps=4)
    assert len(in_steps(synchronisations)) == 4


def test_a_neutral_stage_does_not_wait(synchronisations):
    sample(BY_NAME["scheduled_cfg"].on(model(), scale=guidance.Linear(5.0, 5.0)), steps=4)
    assert in_steps(synchronisations) == []


def versions(tensors):
    return [tensor._version for tensor in tensors]


@pytest.mark.parametrize("name", [m.name for m in METHODS])
@pytest.mark.parametrize("kind", ["eps", "flow"])
def test_no_tensor_of_a_step_is_written_to(name, kind):
    held, written = [], []

    def before(args):
        held[:] = [(t, t._version) for t in (args["input"], args["sigma"], *args["conds_out"])]
        return args["conds_out"]

    def between(args):
        held.append((args["denoised"], args["denoised"]._version))
        return args["denoised"]

    def after(args):
        written.extend(t._version - version for t, version in held)
        return args["denoised"]

    patched = model(kind).clone()
    patched.set_model_sampler_pre_cfg_function(before)
    patched.set_model_sampler_post_cfg_function(between)
    patched = BY_NAME[name].on(patched)
    patched.set_model_sampler_post_cfg_function(after)
    sample(patched, steps=2)
    assert len(written) == 2 * 5 and not any(written)


def test_no_tensor_of_the_sampler_is_written_to():
    checked = []

    def call(net, x, sigmas, extra_args=None, callback=None, disable=None):
        held = [x, sigmas, extra_args["model_options"]["transformer_options"]["sample_sigmas"]]
        for sigma in sigmas[:-1]:
            level = sigma.expand(x.shape[0]).clone()
            before = versions([*held, level])
            result = net(x, level, **extra_args)
            checked.append(versions([*held, level]) == before and result is not x)
        return x

    with torch.no_grad():
        patched = stack(model(), "scheduled_cfg", "compose", "partial", "mimic", "imagen")
        sample(patched, sampler=comfy.samplers.KSAMPLER(call), steps=3)
    assert checked == [True] * 3


def test_what_the_user_hands_over_is_not_written_to():
    x, latent, sigmas = noise(), noise(seed=5).clone(), sigmas_of(model(), 4)
    further = text(3, mask=torch.rand(1, 8, 8))
    everything = [x, latent, sigmas, *(t[0][0] for t in conds()), further[0][0], further[0][1]["mask"]]
    before, copies = versions(everything), [t.clone() for t in everything]
    patched = stack(BY_NAME["compose"].on(model(), negative=further), "scheduled_cfg", "mimic", "imagen")
    guider = guider_of(patched)
    sampler = comfy.samplers.sampler_object("euler")
    guider.sample(x, latent, sampler, sigmas, disable_pbar=True, seed=1)
    assert versions(everything) == before
    assert all(torch.equal(t, copy) for t, copy in zip(everything, copies, strict=True))
