"""Further negatives equal a literal computation from predictions that the host made one by one."""

import node_helpers
import pytest
import torch
from attached import HALF, control_net, lora
from azimuth import guidance
from methods import BY_NAME
from tiny import (
    alone,
    distance,
    model,
    noise,
    passes,
    predict,
    sample,
    sigmas_of,
    tensor,
    text,
    watch,
)

W, S = 5.0, 1.5
EXACT = 1e-4


def further(negative=None, mode="compose", weight=S, patched=None, **changes):
    changes = {"negative": negative or text(3), "mode": mode, "weight": weight, **changes}
    return BY_NAME["compose"].on(patched or model(), **changes)


def flat_dot(a, b):
    return (a * b).flatten(1).sum(1).view(-1, 1, 1, 1)


def composed(c, u, n, s=S):
    return u + W * (c - u) - s * (n - u)


def negated(c, u, n, s=S):
    return u + W * (c - u) - s * W * (n - u)


def perpendicular(c, u, n, s=S):
    p, q = c - u, n - u
    return u + W * (p - s * (q - flat_dot(q, p) / flat_dot(p, p) * p))


def partial(c, u, n, s=S):
    base = (1 - s) * u + s * n
    return base + W * (c - base)


def as_main_negative(negative, patched=None, **how):
    """D_u if this conditioning were the main negative, as the host itself evaluates it."""
    return predict(patched or model(), cfg=0.0, negative=negative, **how)


@pytest.mark.parametrize(
    ("mode", "literal", "s"),
    [
        ("compose", composed, 1.5),
        ("not", negated, 0.4),
        ("perpendicular", perpendicular, 0.8),
        ("partial", partial, 0.4),
    ],
)
@pytest.mark.parametrize("kind", ["eps", "flow"])
def test_a_further_negative_is_the_formula(kind, mode, literal, s):
    sigma = 3.0 if kind == "eps" else 0.7
    at = {"patched": model(kind), "sigma": sigma, "x": noise(2) * sigma}
    ours = predict(further(mode=mode, weight=s, patched=model(kind)), sigma=sigma, x=at["x"])
    expected = literal(alone(text(1), **at), alone(text(2), **at), alone(text(3), **at), s)
    assert distance(ours, expected) < EXACT
    assert distance(predict(**at), expected) > 0.01


def test_a_whole_not_contrasts_the_prompt_with_the_negative():
    c, u, n = (alone(text(i)) for i in (1, 2, 3))
    assert distance(predict(further(mode="not", weight=1.0)), u + W * (c - n)) < EXACT


def test_not_follows_the_weight_of_the_step():
    patched = further(mode="not", weight=0.4, patched=BY_NAME["scheduled_cfg"].on(model()))
    seen = []
    sample(watch(patched, seen))
    for args in seen:
        c, u, w = args["cond_denoised"], args["uncond_denoised"], args["cond_scale"]
        n = alone(text(3), x=args["input"], sigma=args["sigma"][0].item())
        assert distance(args["denoised"], u + w * (c - u) - 0.4 * w * (n - u)) < EXACT


def test_two_chained_negatives_add_up():
    patched = further(text(4), "perpendicular", 0.8, further())
    c, u, n, m = (alone(text(i)) for i in (1, 2, 3, 4))
    expected = composed(c, u, n) + perpendicular(c, u, m, 0.8) - (u + W * (c - u))
    assert distance(predict(patched), expected) < EXACT


def test_a_partial_negative_is_the_baseline_of_the_others_whatever_the_wiring():
    c, u, n, m = (alone(text(i)) for i in (1, 2, 3, 4))
    expected = composed(c, (1 - 0.4) * u + 0.4 * m, n)
    assert distance(predict(further(text(4), "partial", 0.4, further())), expected) < EXACT
    assert distance(predict(further(patched=further(text(4), "partial", 0.4))), expected) < EXACT


def test_a_whole_partial_negative_is_that_negative():
    expected = sample(model(), negative=text(3))
    assert torch.equal(sample(further(mode="partial", weight=1.0)), expected)
    whole_then_half = further(text(4), "partial", 0.5, further(mode="partial", weight=1.0))
    assert passes(whole_then_half) == [3] * 6
    c, n, m = (alone(text(i)) for i in (1, 3, 4))
    assert distance(predict(whole_then_half), partial(c, n, m, 0.5)) < EXACT


def test_a_delayed_window():
    patched = further(mode="partial", weight=1.0, start=0.4, end=0.7)
    seen = []
    sample(watch(patched, seen), steps=6)
    for i, args in enumerate(seen):
        baseline = text(3 if i in (2, 3) else 2)
        expected = alone(baseline, x=args["input"], sigma=args["sigma"][0].item())
        assert distance(args["uncond_denoised"], expected) < EXACT


def test_a_schedule_weighs_it_step_by_step():
    weights = (0.0, 1.0, 2.0, 0.0, 0.5, 3.0)
    seen = []
    sample(watch(further(weight=guidance.Steps(weights)), seen))
    for args, weight in zip(seen, weights, strict=True):
        c, u = args["cond_denoised"], args["uncond_denoised"]
        n = alone(text(3), x=args["input"], sigma=args["sigma"][0].item())
        assert distance(args["denoised"], composed(c, u, n, weight)) < EXACT


@pytest.mark.parametrize(("tokens", "batches"), [(8, [3]), (5, [1, 2])])
def test_a_text_of_another_length(tokens, batches):
    negative = text(3, tokens=tokens)
    expected = composed(alone(text(1)), alone(text(2)), alone(negative))
    assert distance(predict(further(negative)), expected) < EXACT
    assert sorted(passes(further(negative), steps=1)) == batches


SOFT = torch.linspace(0, 1, 64).view(1, 8, 8)
RESTRICTIONS = {
    "an area": {"area": (4, 8, 4, 0)},
    "a percent area": {"area": ("percentage", 0.5, 0.5, 0.25, 0.25)},
    "the whole area": {"area": (8, 8, 0, 0), "strength": 0.5},
    "half strength": {"strength": 0.5},
    "a mask": {"mask": HALF},
    "a soft mask": {"mask": SOFT, "mask_strength": 0.7},
    "a mask of another size": {"mask": torch.nn.functional.interpolate(HALF[None], scale_factor=8)[0]},
    "the bounds of a mask": {"mask": HALF, "set_area_to_bounds": True},
    "a time range that holds": {"start_percent": 0.0, "end_percent": 1.0},
}


@pytest.mark.parametrize("options", RESTRICTIONS.values(), ids=RESTRICTIONS)
def test_where_a_restriction_leaves_it_out_the_effect_is_zero(options):
    negative = text(3, **options)
    # The host's own way to fill what an area or a mask leaves out is a second, default conditioning.
    filled = as_main_negative([*negative, *text(2, default=True)])
    c, u = alone(text(1)), alone(text(2))
    ours = predict(further(negative))
    assert distance(ours, composed(c, u, filled)) < EXACT
    outside = (filled - u).abs() < 1e-6 * u.std()
    assert outside.any() == (not {"strength", "start_percent"} & set(options))
    assert ((ours - predict(model())).abs()[outside] < 1e-5 * u.std()).all()
    assert max(passes(further(negative), steps=1)) <= 3


@pytest.mark.parametrize("options", [{"area": (4, 8, 4, 0)}, {"mask": HALF}], ids=["area", "mask"])
def test_a_restriction_of_a_further_negative_stays_out_of_the_users_conditionings(options):
    def raw(patched):
        seen = []
        predict(watch(patched, seen))
        return seen[0]

    ours, theirs = raw(further(text(3, **options))), raw(model())
    for prediction in ("cond_denoised", "uncond_denoised"):
        assert distance(ours[prediction], theirs[prediction]) < 1e-5


def test_an_area_of_the_positive_reaches_it_as_it_reaches_the_negative():
    positive = [*text(1), *text(5, area=(4, 4, 2, 2))]
    c = predict(model(), cfg=1.0, positive=positive)
    u, n = (as_main_negative(text(i), positive=positive) for i in (2, 3))
    assert distance(predict(further(), positive=positive), composed(c, u, n)) < EXACT


def test_a_negative_of_two_regions_is_what_a_further_negative_is_contrasted_with():
    negative = [*text(2, mask=HALF), *text(6, mask=1 - HALF)]
    u = as_main_negative(negative)
    n = torch.lerp(u, alone(text(3)), HALF)
    ours = predict(further(text(3, mask=HALF)), negative=negative)
    assert distance(ours, composed(alone(text(1)), u, n)) < EXACT


def test_nothing_is_evaluated_outside_its_time_range():
    sigmas = sigmas_of(model(), 6)
    sampling = model().get_model_object("model_sampling")
    seen = [sampling.percent_to_sigma(0.5) <= sigma for sigma in sigmas[:-1].tolist()]
    assert True in seen and False in seen
    patched = further(text(3, start_percent=0.0, end_percent=0.5))
    assert passes(patched) == [3 if inside else 2 for inside in seen]
    assert torch.isfinite(sample(patched)).all()


def test_a_time_range_that_ends_exactly_on_a_step_includes_it_as_in_the_host():
    # 1 - 0.3 is not a float32: compared in float64 the step at 0.7 would seem to lie outside.
    sigmas = torch.tensor([1.0, 0.7, 0.4, 0.0])
    short = {"start_percent": 0.0, "end_percent": 0.3}
    flow = model("flow")
    assert passes(flow, negative=text(2, **short), sigmas=sigmas) == [2, 2, 1]
    acting = BY_NAME["adg"].on(flow)
    assert passes(acting, negative=text(2, **short), sigmas=sigmas) == [2, 2, 1]
    assert passes(further(text(3, **short), patched=flow), sigmas=sigmas) == [3, 3, 2]


def test_a_clip_schedule_is_a_time_range_too():
    early = text(3, clip_start_percent=0.0, clip_end_percent=0.5)
    ranged = text(3, start_percent=0.0, end_percent=0.5)
    assert passes(further(early)) == passes(further(ranged))
    assert torch.equal(sample(further(early)), sample(further(ranged)))


def test_a_lora_hook_acts_on_the_further_negative_alone():
    group = lora()
    hooked = text(3, hooks=group)
    c, u, n = alone(text(1)), alone(text(2)), as_main_negative(hooked)
    assert distance(alone(text(3)), n) > 1e-2
    assert distance(predict(further(hooked)), composed(c, u, n)) < EXACT
    patched = further(hooked)
    assert sorted(passes(patched, steps=1)) == [1, 2]
    before = dict(patched.hook_patches)
    sample(patched)
    assert patched.hook_patches == before
    assert torch.equal(alone(text(2)), u)


def test_lora_hooks_on_all_of_them_each_act_on_their_own():
    positive, negative, ours = text(1, hooks=lora()), text(2), text(3, hooks=lora(0.1))
    c, n = predict(model(), cfg=1.0, positive=positive), as_main_negative(ours)
    expected = composed(c, alone(negative), n)
    assert distance(predict(further(ours), positive=positive), expected) < EXACT
    same = text(3, hooks=positive[0][1]["hooks"])
    expected = composed(c, alone(negative), as_main_negative(same))
    assert distance(predict(further(same), positive=positive), expected) < EXACT


def test_a_controlnet_acts_on_the_further_negative_alone():
    control = control_net().set_cond_hint(tensor(8, 1, 3, 64, 64), 0.3)
    controlled = node_helpers.conditioning_set_values(text(3), {"control": control})
    n = as_main_negative(controlled)
    assert distance(alone(text(3)), n) > 1e-2
    ours = predict(further(controlled))
    assert distance(ours, composed(alone(text(1)), alone(text(2)), n)) < EXACT
    assert control.cond_hint is None  # released after the run


def test_a_controlnet_of_the_positive_reaches_it_as_it_reaches_the_negative():
    control = control_net().set_cond_hint(tensor(8, 1, 3, 64, 64), 0.3)
    options = {"control": control, "control_apply_to_uncond": True}
    positive = node_helpers.conditioning_set_values(text(1), options)
    c = predict(model(), cfg=1.0, positive=positive)
    u, n = (as_main_negative(text(i), positive=positive) for i in (2, 3))
    assert distance(n, alone(text(3))) > 1e-2
    assert distance(predict(further(), positive=positive), composed(c, u, n)) < EXACT


def test_the_users_conditioning_is_not_written_to():
    negative = text(3, area=("percentage", 0.5, 0.5, 0.0, 0.0), start_percent=0.0)
    before = [dict(options) for _, options in negative]
    sample(further(negative), steps=2)
    assert [options for _, options in negative] == before


@pytest.mark.parametrize("sampler", ["euler", "euler_cfg_pp", "euler_ancestral_cfg_pp"])
def test_a_main_negative_whose_time_range_has_ended_leaves_the_conditional_prediction(sampler, said):
    negative = text(2, start_percent=0.0, end_percent=0.3)
    patched = BY_NAME["compose"].on(BY_NAME["mimic"].on(model()))
    seen = []
    latent = sample(watch(patched, seen), negative=negative, sampler=sampler)
    sampling = model().get_model_object("model_sampling")
    ended = [args for args in seen if args["sigma"][0].item() < sampling.percent_to_sigma(0.3)]
    assert ended and len(ended) < len(seen)
    for args in ended:
        expected = alone(text(1), x=args["input"], sigma=args["sigma"][0].item())
        assert distance(args["denoised"], expected) < EXACT
        if sampler != "euler":  # it takes its noise from here, and zeros are no prediction
            assert distance(args["uncond_denoised"], expected) < EXACT
    assert torch.isfinite(latent).all()
    assert len([sentence for sentence in said() if "time range" in sentence]) == 1
