"""Promise 4: state lives in the run. Whatever happened before, the next run is as the first."""

import functools
import itertools

import comfy.samplers
import pytest
import torch
from azimuth import guidance
from azimuth.nodes.engine import run, stages, steps
from methods import BY_NAME, METHODS, stack
from tiny import guider_of, model, noise, sample, scales, sigmas_of, text, turns, watch

# The host's SDE noise asks for a time that is out of its range by a rounding; its adaptive sampler copies a tensor.
pytestmark = [
    pytest.mark.filterwarnings("ignore:Should have t"),
    pytest.mark.filterwarnings("ignore:To copy construct from a tensor"),
    pytest.mark.filterwarnings("ignore:__array_wrap__"),
]

SAMPLERS = [
    "euler",
    "heun",
    "dpmpp_2s_ancestral",
    "dpmpp_sde",
    "euler_ancestral",
    "uni_pc",
    "euler_cfg_pp",
    "dpmpp_2m",
]


def full_stack(kind="eps"):
    return stack(model(kind), "scheduled_cfg", "compose", "partial", "mimic", "imagen")


@functools.cache
def fresh(sampler, kind="eps"):
    return sample(full_stack(kind), sampler=sampler)


class Interruption(Exception):
    pass


def interrupt(patched, sampler):
    def stop(step, *rest):
        if step == 2:
            raise Interruption

    guider = guider_of(patched)
    x = noise()
    with pytest.raises(Interruption):
        guider.sample(
            x,
            torch.zeros_like(x),
            comfy.samplers.sampler_object(sampler),
            sigmas_of(patched, 6),
            callback=stop,
            disable_pbar=True,
            seed=3,
        )
    return guider


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_run_after_other_runs_is_as_a_fresh_one(sampler):
    patched = full_stack()
    sample(patched, x=noise(2, size=12), sampler=sampler, steps=3)
    interrupt(patched, sampler)
    sample(patched, sampler=sampler, sigmas=sigmas_of(patched, 6)[2:])
    assert torch.equal(sample(patched, sampler=sampler), fresh(sampler))
    assert torch.equal(sample(patched, sampler=sampler), fresh(sampler))


def test_flow_models_too():
    patched = full_stack("flow")
    interrupt(patched, "heun")
    assert torch.equal(sample(patched, sampler="heun"), fresh("heun", "flow"))


# ---- once a step, however often the sampler evaluates it


REMEMBERING = [m.name for m in METHODS if any(s.remembers for s in stages.of(m.on(model())))]
SECOND_ORDER = pytest.mark.parametrize("sampler", ["heun", "dpmpp_2s_ancestral"])


class Noted(guidance.Memory):
    """A memory of a run that notes what it is asked, and what it holds then."""

    def __init__(self):
        super().__init__()
        self.noted = []

    def begin(self, step, trial=False):
        super().begin(step, trial=trial)
        self.noted.append((step, self.value))

    def keep(self, value):
        super().keep(value)
        self.noted.append((None, self._next))


def noted_memories(name, sampler, monkeypatch):
    """Those of a run with a method, one for each stage and part."""
    made = []
    monkeypatch.setattr(run, "Memory", lambda: made.append(Noted()) or made[-1])
    sample(BY_NAME[name].on(model(), **BY_NAME[name].lasting), sampler=sampler)
    return [memory.noted for memory in made if memory.noted]


@SECOND_ORDER
@pytest.mark.parametrize("name", REMEMBERING)
def test_every_evaluation_of_a_step_finds_what_the_last_one_of_an_earlier_step_kept(name, sampler, monkeypatch):
    found = noted_memories(name, sampler, monkeypatch)
    assert found
    for noted in found:
        at = before = latest = None
        again = 0
        for step, value in noted:
            if step is None:
                latest = value
                continue
            again += step == at and latest is not before
            if step != at:
                at, before = step, latest
            assert value is before
        assert again and latest is not None


class Twice:
    """A model as a sampler calls it, which evaluates every call a second time and must see the same."""

    def __init__(self, once):
        self.once = once

    def __getattr__(self, name):
        return getattr(self.once, name)

    def __call__(self, *args, **kwargs):
        first = self.once(*args, **kwargs)
        assert torch.equal(self.once(*args, **kwargs), first)
        return first


def evaluating_twice(name):
    once = comfy.samplers.sampler_object(name)

    @functools.wraps(once.sampler_function)
    def loop(model, *args, **kwargs):
        return once.sampler_function(Twice(model), *args, **kwargs)

    return comfy.samplers.KSAMPLER(loop, once.extra_options, once.inpaint_options)


@SECOND_ORDER
@pytest.mark.parametrize("name", [m.name for m in METHODS if not m.by_call])
def test_an_evaluation_that_is_made_twice_changes_nothing(name, sampler):
    patched = BY_NAME[name].on(model())
    assert torch.equal(sample(patched, sampler=evaluating_twice(sampler)), sample(patched, sampler=sampler))


@pytest.mark.parametrize("name", REMEMBERING)
@pytest.mark.parametrize("sampler", ["euler", "heun", "dpmpp_2s_ancestral"])
def test_what_a_stage_remembers_ends_with_the_run(name, sampler):
    first = sample(BY_NAME[name].on(model()), sampler=sampler)
    patched = BY_NAME[name].on(model())
    interrupt(patched, sampler)
    sample(patched, x=noise(2, size=12), sampler=sampler, steps=3)
    assert torch.equal(sample(patched, sampler=sampler), first)


@pytest.mark.parametrize("sampler", ["euler", "heun", "dpmpp_2s_ancestral", "dpmpp_sde", "dpm_2", "euler_cfg_pp"])
def test_what_a_stage_remembers_advances_once_a_step(sampler):
    seen, momentum = [], -0.75
    patched = BY_NAME["apg_custom"].on(model(), strength=1.0)
    sample(watch(patched, seen), sampler=sampler)
    before = latest = None
    for args, (_, begins) in zip(seen, turns(sampler), strict=True):
        before = latest if begins else before
        c, u = args["cond_denoised"], args["uncond_denoised"]
        update = c - u if before is None else c - u + momentum * before
        latest = update if begins else latest
        along = (update * c).sum() / (c * c).sum()
        literal = c + (args["cond_scale"] - 1) * (update - 0.8 * along * c)
        assert ((args["denoised"] - literal).abs().max() / literal.std()).item() < 1e-4


def test_an_interrupted_guider_is_as_it_was():
    patched = full_stack()
    guider = interrupt(patched, "heun")
    assert guider.cfg == 5.0
    assert set(guider.conds) == {"positive", "negative"}
    assert torch.equal(guider.conds["negative"][0]["cross_attn"], text(2)[0][0])
    assert guider.model_options is patched.model_options
    assert run.RUN not in patched.model_options
    latent = guider.sample(
        noise(),
        torch.zeros_like(noise()),
        comfy.samplers.sampler_object("heun"),
        sigmas_of(patched, 6),
        disable_pbar=True,
        seed=3,
    )
    assert torch.equal(latent, fresh("heun"))


def test_the_guider_holds_its_own_weight_and_conditionings_between_the_calls_of_a_run():
    patched = BY_NAME["partial"].on(BY_NAME["scheduled_cfg"].on(model()), weight=1.0)
    guider = guider_of(patched)
    found = []

    def look(step, *rest):
        found.append((guider.cfg, guider.conds["negative"][0]["cross_attn"]))

    x = noise()
    sampler = comfy.samplers.sampler_object("euler")
    guider.sample(x, torch.zeros_like(x), sampler, sigmas_of(patched, 4), callback=look, disable_pbar=True)
    assert [cfg for cfg, _ in found] == [5.0] * 4 and guider.cfg == 5.0
    assert all(torch.equal(negative.cpu(), text(2)[0][0]) for _, negative in found)


def test_outside_its_window_the_weight_is_the_samplers_own():
    patched = BY_NAME["scheduled_cfg"].on(model(), scale=9.0, end=0.5, outside="sampler cfg")
    assert scales(patched) == [9.0, 9.0, 9.0, 5.0, 5.0, 5.0]
    assert scales(patched, cfg=1.0) == [9.0, 9.0, 9.0, 1.0, 1.0, 1.0]


def test_a_run_from_a_later_step_counts_its_own_steps():
    patched = BY_NAME["scheduled_cfg"].on(model(), scale=guidance.Linear(9.0, 3.0))
    assert scales(patched, sigmas=sigmas_of(patched, 6)[2:]) == [9.0, 7.0, 5.0, 3.0]


PER_STEP = guidance.Steps((9.0, 8.0, 7.0, 6.0, 5.0, 4.0))
ONCE = [9, 8, 7, 6, 5, 4]
TWICE = [9, 9, 8, 8, 7, 7, 6, 6, 5, 5, 4]  # the last step, which ends at 0, is called once


@pytest.mark.parametrize(
    ("sampler", "expected"),
    [
        *((name, ONCE) for name in ("euler", "euler_cfg_pp", "dpmpp_2m", "euler_ancestral", "res_multistep")),
        *((name, TWICE) for name in ("heun", "dpm_2", "dpm_2_ancestral", "dpmpp_2s_ancestral", "dpmpp_sde")),
        *((name, TWICE) for name in ("seeds_2", "exp_heun_2_x0", "exp_heun_2_x0_sde", "dpmpp_2s_ancestral_cfg_pp")),
        ("seeds_3", [9, 9, 9, 8, 8, 8, 7, 7, 7, 6, 6, 6, 5, 5, 5, 4]),
        ("heunpp2", [9, 9, 9, 8, 8, 8, 7, 7, 7, 6, 6, 6, 5, 5, 4]),
        # The host takes the last sigma for 0.001, and corrects in the call of the next step.
        ("uni_pc", ONCE),
    ],
)
@pytest.mark.parametrize("kind", ["eps", "flow"])
def test_every_call_has_the_weight_of_its_step(kind, sampler, expected, said):
    patched = BY_NAME["scheduled_cfg"].on(model(kind), scale=PER_STEP)
    assert scales(patched, sampler=sampler)[: len(expected)] == expected
    assert not any("is not known" in sentence for sentence in said())


def test_with_every_known_sampler_of_the_host_each_step_has_one_weight(monkeypatch):
    """Only a call that begins a step at its own level, or is followed by a report, may bring another weight."""
    for name in set(comfy.samplers.KSAMPLER_NAMES) - {"dpm_fast", "dpm_adaptive", "ar_video"}:
        found = scales(BY_NAME["scheduled_cfg"].on(model(), scale=PER_STEP), sampler=name)
        assert [weight for weight, _ in itertools.groupby(found)] == ONCE, name


@pytest.mark.parametrize("sampler", ["heun", "euler", "dpm_2"])
def test_noise_that_a_sampler_adds_before_a_step_leaves_its_calls_to_it(sampler):
    churned = comfy.samplers.ksampler(sampler, {"s_churn": 1.0})
    found = scales(BY_NAME["scheduled_cfg"].on(model(), scale=PER_STEP), sampler=churned)
    assert found == (ONCE if sampler == "euler" else TWICE)


def test_a_window_in_sigma_decides_once_a_step():
    """In the interval (0.28, 5.42] both calls of a Heun step are guided, or none."""
    inside = guidance.SigmaInterval(7.0, sigma_low=0.28, sigma_high=5.42)
    sigmas = sigmas_of(model(), 8, "karras")
    found = scales(BY_NAME["scheduled_cfg"].on(model(), scale=inside), sampler="heun", sigmas=sigmas)
    expected = [7.0 if 0.28 < sigma <= 5.42 else 1.0 for sigma in sigmas[:-1].tolist()]
    assert found == [weight for weight in expected for _ in range(2)][:-1]
    assert 1.0 in found and 7.0 in found


@pytest.mark.parametrize("sampler", ["dpm_adaptive", "dpm_fast"])
def test_with_other_samplers_a_call_has_the_weight_of_the_step_that_holds_its_sigma(sampler, said):
    seen = []
    sample(watch(BY_NAME["scheduled_cfg"].on(model(), scale=PER_STEP), seen), sampler=sampler)
    sigmas = sigmas_of(model(), 6)[:-1]
    assert len(seen) >= 6
    for args in seen:
        reached = int((sigmas >= args["sigma"][0].cpu() * (1 - 1e-4)).sum())
        assert args["cond_scale"] == PER_STEP.values[max(reached - 1, 0)]
    assert len([s for s in said() if f"which calls of the sampler {sampler} belong to one step is not known" in s]) == 1


def test_a_sampler_of_another_pack_is_said_to_be_unknown_where_steps_count(said):
    def sample_of_another_pack(model, x, sigmas, extra_args=None, **_):
        for sigma in sigmas[:-1]:
            x = model(x, sigma * x.new_ones([len(x)]), **extra_args)
        return x

    sampler = comfy.samplers.KSAMPLER(sample_of_another_pack)
    sample(BY_NAME["adg"].on(model()), sampler=sampler)
    assert not said()
    assert scales(BY_NAME["scheduled_cfg"].on(model(), scale=PER_STEP), sampler=sampler) == ONCE
    assert len([s for s in said() if "the sampler of_another_pack belong" in s]) == 1


@pytest.mark.parametrize("sampler", ["euler", "heun", "dpmpp_2s_ancestral"])
def test_in_inference_mode_as_the_host_executes_nodes_a_run_is_the_same(sampler):
    patched = full_stack()
    with torch.inference_mode():
        inside = sample(patched, sampler=sampler, x=noise().clone())
    assert torch.equal(inside, fresh(sampler))


def test_a_run_without_steps_is_left_to_the_host():
    patched = full_stack()
    one = sigmas_of(patched, 6)[:1]
    assert torch.equal(sample(patched, sigmas=one), sample(model(), sigmas=one))
    assert torch.equal(sample(patched, sigmas=one[:0]), sample(model(), sigmas=one[:0]))


@pytest.mark.parametrize(
    ("sigmas", "called_at", "index"),
    [
        ((10.0, 5.0, 1.0, 0.0), 10.0, 0),
        ((10.0, 5.0, 1.0, 0.0), 5.00001, 1),  # a rounding above the later step belongs to it
        ((10.0, 5.0, 1.0, 0.0), 5.1, 0),
        ((10.0, 5.0, 1.0, 0.0), 7.0, 0),
        ((10.0, 5.0, 1.0, 0.0), 0.001, 2),
        ((10.0, 5.0, 1.0, 0.0), 0.0, 2),
        ((10.0, 5.0, 1.0, 0.0), 11.0, 0),
        ((0.0, 1.0, 5.0, 10.0), 0.0, 0),
        ((0.0, 1.0, 5.0, 10.0), 0.999995, 1),
        ((0.0, 1.0, 5.0, 10.0), 3.0, 1),
        ((0.0, 1.0, 5.0, 10.0), 10.0, 2),
        ((1.0, 0.0), 1.0, 0),
    ],
)
def test_the_step_of_a_sigma(sigmas, called_at, index):
    step = steps.find_step(sigmas, called_at)
    assert (step.index, step.sigma, step.sigma_next) == (index, sigmas[index], sigmas[index + 1])
    assert step.progress == (index / (len(sigmas) - 2) if len(sigmas) > 2 else 0.0)
