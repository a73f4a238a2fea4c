"""Guidance Report: what it counts and says of a MODEL is what a run of it does."""

import functools
import re

import pytest
from architectures import flux
from azimuth import guidance
from azimuth.nodes.look import report
from columns import FAMILY
from features import need
from methods import BY_NAME, METHODS
from rows import weaker
from tiny import architecture, count_passes, model, passes, sample, sigmas_of, tensor

STEPS = 6
COUNTED = re.compile(r"Passes: (\d+) in place of (\d+)")
SKIPPED = re.compile(r"skipped (\d+) of \d+ negative passes")


def distilled():
    return architecture(flux)


def two_passes():
    return BY_NAME["distilled_pair"].on(distilled())


def flow():
    return model("flow")


PICTURE = {"x": tensor(1, 1, 16, 8, 8), "cfg": 1.0}
# A MODEL, the same without any node of ours, and what both are sampled with.
RUNS = {
    "eps": (model, model, {"cfg": 5.0}),
    "flow": (flow, flow, {"cfg": 5.0}),
    "eps at cfg 1": (model, model, {"cfg": 1.0}),
    "distilled": (distilled, distilled, PICTURE),
    "two passes": (two_passes, distilled, PICTURE),
    "two passes at cfg 5": (two_passes, distilled, {**PICTURE, "cfg": 5.0}),
}


def on(patched, method, counted):
    """The method on a MODEL, with blocks that this has, and a weaker model that counts its own passes."""
    changes = {"blocks": "0"} if method.acting.get("blocks", "auto") != "auto" else {}
    if "weak_model" in method.acting:
        changes["weak_model"] = count_passes(weaker(patched), counted)
    return method.on(patched, **changes)


@functools.cache
def passes_without_ours(run):
    _, untouched, how = RUNS[run]
    return sum(passes(untouched(), steps=STEPS, **how))


@pytest.mark.parametrize("name", [method.name for method in METHODS])
@pytest.mark.parametrize("run", RUNS)
def test_it_counts_the_passes_that_a_run_makes(run, name, said):
    build, _, how = RUNS[run]
    of_weaker = []
    patched = on(build(), BY_NAME[name], of_weaker)
    counted, without = map(int, COUNTED.search(of(patched, how["cfg"])).groups())
    made = passes(patched, steps=STEPS, **how) + of_weaker
    skipped = sum(int(number) for sentence in said() for number in SKIPPED.findall(sentence))
    assert counted == skipped + sum(min(batch, 2) for batch in made)  # a third in a batch is a further negative
    assert without == passes_without_ours(run)


def of(patched, cfg):
    return report.report(patched, cfg, sigmas_of(patched, STEPS))


@pytest.mark.parametrize("name", [method.name for method in METHODS])
@pytest.mark.parametrize("kind", ["eps", "flow"])
def test_it_calls_nothing_without_effect_that_acts(kind, name, said):
    need(*BY_NAME[name].needs)
    assert "No effect" not in of(BY_NAME[name].on(model(kind)), 5.0)
    assert not any("has no effect" in sentence for sentence in said())


@pytest.mark.parametrize(
    ("family", "shape", "made"),
    [
        ("SD3", (16, 8, 8), 12),
        ("Qwen Image", (16, 1, 8, 8), 12),
        ("Wan", (16, 1, 4, 4), 12),
        ("Stable Audio", (64, 12), 6),
    ],
)
def test_it_takes_the_latent_for_one_frame(family, shape, made):
    patched = BY_NAME["sag"].on(FAMILY[family].build())
    prompts = {"positive": FAMILY[family].text(1), "negative": FAMILY[family].text(2)}
    words = of(patched, 1.0)
    assert f"Passes: {made} in place of 6" in words and ("No effect" in words) == (made == 6)
    assert sum(passes(patched, x=tensor(1, 1, *shape), steps=STEPS, cfg=1.0, **prompts)) == made


def test_the_weaker_model_that_is_the_model_itself_has_no_effect():
    assert "No effect on this model: Autoguidance" in of(BY_NAME["autoguidance"].on(model(), weak_model=model()), 5.0)


def test_a_node_that_asks_for_both_passes_at_cfg_1_is_counted_on_both_sides():
    patched = model().clone()
    patched.set_model_sampler_post_cfg_function(lambda args: args["denoised"], disable_cfg1_optimization=True)
    patched = BY_NAME["scheduled_cfg"].on(patched, scale=guidance.Linear(3.0, 1.0))
    assert COUNTED.search(of(patched, 1.0)).groups() == ("12", "12")
    assert sum(passes(patched, cfg=1.0, steps=STEPS)) == 12


def test_it_says_where_the_weight_comes_from():
    sampler = "Weight: the sampler's cfg"
    assert sampler in of(model(), 1.0) and sampler in of(two_passes(), 5.0)
    assert sampler in of(BY_NAME["distilled_pair"].on(flow()), 1.0)  # which has no effect there
    assert sampler not in of(two_passes(), 1.0) and sampler not in of(BY_NAME["scheduled_cfg"].on(model()), 5.0)


def test_it_leaves_the_model_as_it_is():
    patched = BY_NAME["sag"].on(model())
    before = sample(patched, steps=2)
    of(patched, 5.0)
    assert sample(patched, steps=2).equal(before)
