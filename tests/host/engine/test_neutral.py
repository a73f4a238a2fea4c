"""Promise 1: with every stage neutral the host's results stand, to the last bit and at the same number of passes."""

import contextlib
import functools

import pytest
import torch
from azimuth.nodes.engine import pipeline
from features import need
from methods import BY_NAME, METHODS, stack
from tiny import model, passes, sample, text

SETTINGS = [
    pytest.param(method, i, id=f"{method.name}-{i}") for method in METHODS for i in range(len(method.neutral(5.0)))
]


@functools.cache
def untouched(kind, cfg, sampler):
    return sample(model(kind), cfg=cfg, sampler=sampler), passes(model(kind), cfg=cfg, sampler=sampler)


def assert_untouched(patched, kind, cfg, sampler):
    latent, batches = untouched(kind, cfg, sampler)
    assert torch.equal(sample(patched, cfg=cfg, sampler=sampler), latent)
    assert passes(patched, cfg=cfg, sampler=sampler) == batches


@pytest.mark.parametrize("cfg", [5.0, 1.0, 0.5])
@pytest.mark.parametrize(("method", "i"), SETTINGS)
def test_a_neutral_stage_changes_nothing(method, i, cfg):
    assert_untouched(method.off(model(), cfg)[i], "eps", cfg, "euler")


@pytest.mark.parametrize(("kind", "sampler"), [("flow", "heun"), ("v", "dpmpp_2m"), ("eps", "euler_cfg_pp")])
def test_every_neutral_stage_at_once_changes_nothing(kind, sampler):
    patched = model(kind)
    for method in METHODS:
        for changes in method.neutral(5.0)[:1]:
            with contextlib.suppress(ValueError):  # a second combine rule is refused
                patched = method.on(patched, **changes)
    kinds = {type(stage) for stage in pipeline.stages.of(patched)}
    assert kinds >= {pipeline.stages.Weight, pipeline.stages.Negative, pipeline.stages.Combine}
    assert_untouched(patched, kind, 5.0, sampler)


def test_no_stage_but_the_hooks_of_one_changes_nothing():
    patched = stack(model(), "adg")
    patched.model_options.pop(pipeline.stages.OPTION)
    assert_untouched(patched, "eps", 5.0, "euler")


def test_a_neutral_stage_leaves_a_negative_with_a_time_range_to_the_host():
    negative = text(2, start_percent=0.0, end_percent=0.5)
    patched = METHODS[0].off(model(), 5.0)[0]
    assert torch.equal(sample(patched, negative=negative), sample(model(), negative=negative))


@pytest.mark.parametrize("name", [method.name for method in METHODS])
def test_an_acting_stage_does_change_the_picture(name):
    need(*BY_NAME[name].needs)
    latent, _ = untouched("eps", 5.0, "euler")
    assert (sample(stack(model(), name)) - latent).abs().max() > 0.1


@pytest.mark.parametrize("name", ["compose", "perpendicular", "partial", "mimic", "adg"])
def test_at_cfg_1_a_stage_that_contrasts_a_pair_costs_nothing_and_says_so(name, said):
    assert_untouched(stack(model(), name), "eps", 1.0, "euler")
    assert any("has no effect at weight 1" in sentence for sentence in said())
