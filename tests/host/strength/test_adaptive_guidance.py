"""Adaptive Guidance: the negative pass is really left out, once for all, when it says nothing new."""

import functools

import pytest
import torch
from azimuth import guidance
from azimuth.nodes.look import report
from interrupted import interrupt
from methods import BY_NAME, stack
from other_nodes import pag
from tiny import (
    basic,
    cfg_guider,
    distance,
    dual,
    dual_model,
    model,
    noise,
    passes,
    perp_neg,
    predict,
    sample,
    sigmas_of,
    text,
    watch,
)

STEPS, W = 6, 5.0
LOGGED = "Adaptive Guidance skipped"


def adaptive(patched, threshold, start=0.0, space="eps"):
    return BY_NAME["adaptive"].on(patched, threshold=threshold, start=start, space=space)


@functools.cache
def cosines(kind, space="eps", batch=1, patch=lambda patched: patched):
    """Of a run without Adaptive Guidance: for every step those of the samples, in the paper's words."""
    seen = []
    sample(watch(patch(model(kind)), seen), x=noise(batch), steps=STEPS)
    found = []
    for args in seen:
        x, t = args["input"], args["sigma"].view(-1, 1, 1, 1)
        signal = 1 - t if kind == "flow" and space == "eps" else 1.0
        p, q = ((x - signal * args[name]).flatten(1) for name in ("cond_denoised", "uncond_denoised"))
        found.append(torch.cosine_similarity(p, q).tolist())
    return found


def between(values, k):
    """A threshold that the k-th largest of these values passes and the next one does not."""
    ordered = sorted(set(values), reverse=True)
    return (ordered[k - 1] + ordered[k]) / 2


def first(values, threshold, start=0):
    return next(i for i, value in enumerate(values) if i >= start and value >= threshold)


@pytest.mark.parametrize(("kind", "space"), [("eps", "eps"), ("v", "eps"), ("flow", "eps"), ("flow", "velocity")])
@pytest.mark.parametrize("k", [1, 2, 3])
def test_it_is_plain_cfg_up_to_the_first_similar_step_and_the_positive_alone_after_it(kind, space, k, said):
    measured = [row[0] for row in cosines(kind, space)][1:-1]
    threshold = between(measured, k)
    assert threshold < 1.0
    last = 1 + first(measured, threshold)
    patched = adaptive(model(kind), threshold, start=1 / (STEPS - 1), space=space)
    assert passes(patched, steps=STEPS) == [2] * (last + 1) + [1] * (STEPS - last - 1)
    weights = guidance.Steps((W,) * (last + 1) + (1.0,) * (STEPS - last - 1))
    by_hand = sample(BY_NAME["scheduled_cfg"].on(model(kind), scale=weights), steps=STEPS)
    assert torch.equal(sample(patched, steps=STEPS), by_hand)
    assert said().count(f"{LOGGED} {STEPS - last - 1} of {STEPS} negative passes.") == 2


def test_before_its_start_nothing_is_measured_and_1_is_never():
    assert passes(adaptive(model(), 0.0)) == [2, 1, 1, 1, 1, 1]
    assert passes(adaptive(model(), 0.0, start=0.5)) == [2, 2, 2, 2, 1, 1]
    assert passes(adaptive(model(), 0.0, start=1.0)) == [2] * 6
    assert passes(adaptive(model(), 1.0)) == [2] * 6
    identical = {"positive": text(1), "negative": text(1)}
    assert passes(adaptive(model(), 1.0), **identical) == [2] * 6
    assert passes(adaptive(model(), 0.9999), **identical) == [2, 1, 1, 1, 1, 1]


# ---- batches


BATCH = 3


def settling(patch=lambda patched: patched):
    """A threshold that the samples of a batch pass at different steps, and the steps at which they do."""
    rows = cosines("eps", batch=BATCH, patch=patch)
    measured = [[row[k] for row in rows] for k in range(BATCH)]
    for threshold in sorted(value - 1e-4 for row in measured for value in row[1:-1]):
        steps = [next((i for i in range(1, STEPS) if row[i] >= threshold), STEPS) for row in measured]
        if len(set(steps)) > 1 and max(steps) < STEPS - 1:
            return threshold, steps
    raise AssertionError("these samples settle together at every threshold")


def test_a_settled_sample_gets_its_positive_and_the_pass_ends_with_the_last_of_them():
    threshold, steps = settling()
    patched = adaptive(model(), threshold, start=1 / (STEPS - 1))
    seen = []
    batch = sample(watch(patched, seen), x=noise(BATCH), steps=STEPS)
    assert passes(patched, x=noise(BATCH), steps=STEPS) == [
        2 * BATCH if i <= max(steps) else BATCH for i in range(STEPS)
    ]
    for i, args in enumerate(seen):
        for k, last in enumerate(steps):
            c, u = args["cond_denoised"][k], args["uncond_denoised"][k]
            if i > last:
                assert torch.equal(args["denoised"][k], c)
            else:
                assert distance(args["denoised"][k], u + W * (c - u)) < 1e-5
                assert distance(c, u + W * (c - u)) > 1e-3
    for k in range(BATCH):
        alone = sample(patched, x=noise(BATCH)[k : k + 1], steps=STEPS)
        assert distance(batch[k : k + 1], alone) < 1e-4


def agreeing(patched, agree):
    """The MODEL with the negative predicting the positive's noise where `agree[sample]` has the step, and else its
    opposite."""
    steps = iter(range(STEPS))

    def predict(args):
        cond, uncond = args["conds_out"]
        step = next(steps)
        same = torch.tensor([step in of_sample for of_sample in agree]).view(-1, 1, 1, 1)
        return [cond, torch.where(same, cond, 2 * args["input"] - cond)]

    patched = patched.clone()
    patched.set_model_sampler_pre_cfg_function(predict)
    return patched


@pytest.mark.parametrize(
    ("agree", "settled", "made"),
    [
        (({1}, {}), (1, STEPS), [2] * STEPS),
        (({1}, {3}), (1, 3), [2] * 4 + [1] * (STEPS - 4)),
        (({3}, {1}), (3, 1), [2] * 4 + [1] * (STEPS - 4)),
    ],
    ids=["one", "one after the other", "the other first"],
)
def test_a_sample_that_has_settled_stays_so_when_its_similarity_falls_again(agree, settled, made):
    seen = []
    patched = agreeing(adaptive(model(), 0.5), agree)
    sample(watch(patched, seen), x=noise(2), steps=STEPS)
    for step, args in enumerate(seen):
        alone = [distance(*pair) < 1e-5 for pair in zip(args["denoised"], args["cond_denoised"], strict=True)]
        assert alone == [step > last or step in of for last, of in zip(settled, agree, strict=True)]
    assert passes(agreeing(adaptive(model(), 0.5), agree), x=noise(2), steps=STEPS) == [2 * count for count in made]


def under_rules(patched):
    return stack(patched, "compose", "perpendicular", "adg")


def test_under_a_combine_rule_and_negatives_too():
    threshold, steps = settling(under_rules)
    seen = []
    patched = adaptive(under_rules(model()), threshold, start=1 / (STEPS - 1))
    sample(watch(patched, seen), x=noise(BATCH), steps=STEPS)
    for i, args in enumerate(seen):
        alone = [torch.equal(d, c) for d, c in zip(args["denoised"], args["cond_denoised"], strict=True)]
        assert alone == [i > last for last in steps]
    assert passes(adaptive(under_rules(model()), 0.0)) == [4, 1, 1, 1, 1, 1]


def test_what_other_nodes_add_is_kept_for_a_settled_sample():
    threshold, steps = settling(pag)
    seen = []
    sample(watch(adaptive(pag(model()), threshold, start=1 / (STEPS - 1)), seen), x=noise(BATCH), steps=STEPS)
    early = steps.index(min(steps))
    args = seen[min(steps) + 1]
    assert args["uncond"] is not None
    at = {"x": args["input"][early][None], "sigma": args["sigma"][0].item(), "cfg": 1.0}
    ours = args["denoised"][early][None]
    assert distance(ours, predict(pag(model()), **at)) < 1e-4
    assert distance(ours, predict(model(), **at)) > 1e-2


def test_a_sample_that_is_not_finite_keeps_nobody_waiting():
    x = noise(2).clone()
    x[1, 0, 0, 0] = float("nan")
    assert passes(adaptive(model(), 0.0), x=x) == [4, 2, 2, 2, 2, 2]


# ---- samplers


@pytest.mark.parametrize("sampler", ["heun", "dpm_2", "dpmpp_2s_ancestral", "dpmpp_sde", "uni_pc", "dpmpp_2m"])
@pytest.mark.filterwarnings("ignore:Should have t")
def test_samplers_that_call_more_than_once_a_step_skip_from_one_step_on(sampler):
    seen = []
    patched = adaptive(model(), 0.0, start=0.5)
    ours = sample(watch(patched, seen), sampler=sampler, steps=STEPS)
    scales = [args["cond_scale"] for args in seen]
    assert scales == sorted(scales, reverse=True) and set(scales) == {W, 1.0}
    # Index 3 is the first with a progress of at least 0.5.
    weights = guidance.Steps((W,) * 4 + (1.0,) * 2)
    assert torch.equal(ours, sample(BY_NAME["scheduled_cfg"].on(model(), scale=weights), sampler=sampler, steps=STEPS))


@pytest.mark.parametrize("sampler", ["euler_cfg_pp", "euler_ancestral_cfg_pp", "dpmpp_2m_cfg_pp"])
def test_a_cfg_pp_sampler_keeps_its_negative_and_is_named(sampler, said):
    patched = adaptive(model(), 0.0)
    assert torch.equal(sample(patched, sampler=sampler), sample(model(), sampler=sampler))
    assert passes(patched, sampler=sampler) == [2] * 6
    about = [sentence for sentence in said() if "Adaptive Guidance has no effect" in sentence]
    assert len(about) == 2 and len(set(about)) == 1 and sampler in about[0]
    assert not any(LOGGED in sentence for sentence in said())


def test_a_node_that_wants_both_predictions_keeps_them(said):
    patched = adaptive(model(), 0.0)
    patched.set_model_sampler_post_cfg_function(lambda args: args["denoised"], disable_cfg1_optimization=True)
    assert passes(patched) == [2] * 6
    assert torch.equal(sample(patched), sample(model()))
    assert any("another node wants the negative's prediction" in sentence for sentence in said())


# ---- runs


def test_an_interrupted_run_says_what_it_had_skipped_and_leaves_nothing_behind(said):
    patched = adaptive(model(), 0.0)
    fresh = sample(patched)
    interrupt(patched, 2)
    assert said()[-1] == f"{LOGGED} 2 of 3 negative passes."
    assert torch.equal(sample(patched), fresh) and torch.equal(sample(patched), fresh)
    assert said().count(f"{LOGGED} 5 of 6 negative passes.") == 3


def test_a_run_that_starts_late_starts_guided():
    assert passes(adaptive(model(), 0.0), sigmas=sigmas_of(model(), 8)[4:]) == [2, 1, 1, 1]


def test_steps_that_make_no_negative_pass_anyway_are_not_counted(said):
    weights = guidance.Steps((1.0, 4.0, 1.0, 4.0, 4.0, 1.0))
    for order in (0, 1):
        patched = model()
        for name in ("adaptive", "scheduled_cfg")[:: 1 if order else -1]:
            patched = BY_NAME[name].on(patched, **({"scale": weights} if name == "scheduled_cfg" else {}))
        assert passes(patched) == [1, 2, 1, 1, 1, 1]
    assert said().count(f"{LOGGED} 2 of 3 negative passes.") == 2


def test_beside_cfgpp_as_a_weight():
    patched = stack(model(), "cfgpp", "adaptive")
    assert passes(patched) == [2, 1, 1, 1, 1, 1]
    assert torch.equal(sample(patched), sample(stack(model(), "adaptive", "cfgpp")))


def test_two_of_them_are_an_error():
    with pytest.raises(ValueError, match="already carries Adaptive Guidance"):
        stack(model(), "adaptive", "adaptive")


def test_the_report_says_that_passes_may_be_skipped():
    words = report.report(adaptive(model(), 0.991, start=0.2), 7.0, sigmas_of(model(), 3))
    assert "left out once the two agree to 0.991 (flow models: eps) while progress is 0.2 to 1" in words
    assert "Passes: 6 in place of 6, further negatives not counted, before Adaptive Guidance skips any" in words


# ---- guiders


@pytest.mark.parametrize(
    ("make", "first_step", "later"),
    [
        (cfg_guider(), [2], 1),
        (perp_neg(neg_scale=0.0), [2], 1),
        (dual("regular"), [3], 2),
        (dual_model(), [1, 1], 1),
    ],
    ids=["CFG Guider", "Perp-Neg Guider", "Dual CFG Guider", "Dual Model CFG Guider"],
)
def test_under_other_guiders_it_skips_what_weight_1_skips(make, first_step, later, said):
    patched = adaptive(model(), 0.0)
    assert passes(patched, make=make, steps=4) == first_step + [later] * 3
    assert said().count(f"{LOGGED} 3 of 4 negative passes.") == 1
    weights = guidance.Steps((W, 1.0, 1.0, 1.0))
    expected = sample(BY_NAME["scheduled_cfg"].on(model(), scale=weights), make=make, steps=4)
    assert distance(sample(patched, make=make, steps=4), expected) < 1e-6


@pytest.mark.parametrize(
    ("make", "name"), [(perp_neg(), "Perp-Neg Guider"), (dual("nested"), "Dual CFG Guider (nested)")]
)
def test_a_guider_that_saves_nothing_at_weight_1_is_named(make, name, said):
    patched = adaptive(model(), 0.0)
    assert torch.equal(sample(patched, make=make, steps=3), sample(model(), make=make, steps=3))
    assert passes(patched, make=make, steps=3) == [3] * 3
    assert any(f"has no effect: the {name} wants" in sentence for sentence in said())


def test_under_a_basic_guider_it_says_that_there_is_nothing_to_skip(said):
    patched = adaptive(model(), 0.0)
    assert torch.equal(sample(patched, make=basic, steps=2), sample(model(), make=basic, steps=2))
    assert any("Adaptive Guidance has no effect under the Basic Guider" in sentence for sentence in said())


@pytest.mark.parametrize("how", [{"cfg": 1.0}, {"make": dual("regular", 1.0, 1.0)}], ids=["CFG Guider", "Dual"])
def test_at_weight_1_it_says_that_there_is_nothing_to_skip(how, said):
    assert torch.equal(sample(adaptive(model(), 0.0), steps=2, **how), sample(model(), steps=2, **how))
    assert any("Adaptive Guidance has no effect at weight 1" in sentence for sentence in said())
    sample(adaptive(model(), 1.0), steps=2, **how)
    assert len([s for s in said() if "Adaptive Guidance" in s]) == 1


def test_under_a_dual_model_guider_corrections_that_will_not_run_are_named(said):
    sample(BY_NAME["imagen"].on(adaptive(model(), 0.0)), make=dual_model(), steps=2)
    assert any("Dynamic Thresholding has no effect at weight 1" in sentence for sentence in said())
