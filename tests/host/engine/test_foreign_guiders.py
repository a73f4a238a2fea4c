"""Under a guider that nobody here knows: believe what a call shows, act where that is enough, and never claim."""

import architectures
import foreign_guiders as foreign
import pytest
import torch
from azimuth import guidance
from methods import BY_NAME, METHODS, stack
from packed_latents import pair
from tiny import built, cfg_guider, count_passes, distance, model, noise, sample, scales, text, watch

EXACT = 1e-4
LISTED = [2.0, 3.0, 4.0, 5.0, 6.0, 7.0]


def made(kind, **how):
    return lambda patched: kind(patched, **how)


def plain(args, scale):
    return args["uncond_denoised"] + scale * (args["cond_denoised"] - args["uncond_denoised"])


# ---- a weight that is no number


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.name)
def test_a_list_for_a_weight_breaks_no_node(method):
    assert sample(method.on(model()), make=made(foreign.Listed, cfg=list(LISTED))).isfinite().all()


@pytest.mark.parametrize("name", ["scheduled_cfg", "pag", "rescale", "compose"])
def test_a_neutral_stage_changes_nothing_beside_a_list(name):
    off = {"scheduled_cfg": {"end": 0.0, "outside": "sampler cfg"}, "pag": {"scale": 0.0}, "rescale": {"phi": 0.0}}
    patched = BY_NAME[name].on(model(), **off.get(name, {"weight": 0.0}))
    make = made(foreign.Listed, cfg=list(LISTED))
    assert torch.equal(sample(patched, make=make), sample(model(), make=make))


def test_a_rule_uses_the_weight_of_each_call(said):
    seen = []
    sample(watch(BY_NAME["adg"].on(model()), seen), make=made(foreign.Listed, cfg=list(LISTED)))
    for args, weight in zip(seen, LISTED, strict=True):
        ours = guidance.angle_domain(args["cond_denoised"], args["uncond_denoised"], scale=weight)
        assert distance(args["denoised"], ours) < EXACT
        assert distance(ours, plain(args, weight)) > 1e-3
    assert not said()


@pytest.mark.parametrize("name", ["scheduled_cfg", "cfgpp", "adaptive"])
def test_what_sets_the_weight_says_once_that_there_is_none_to_set(name, said):
    make = made(foreign.Listed, cfg=list(LISTED))
    assert torch.equal(sample(BY_NAME[name].on(model()), make=make), sample(model(), make=make))
    assert len([s for s in said() if "has no effect under the guider Listed" in s and "KSampler" in s]) == 1


def test_a_guider_is_given_its_own_weight_back():
    weights, kept = list(LISTED), []

    def make(patched):
        kept.append(foreign.Listed(patched, cfg=weights))
        return kept[0]

    sample(stack(model(), "adg", "pag"), make=make)
    assert kept[0].cfg is weights and weights == LISTED


SPREAD = {
    "sample": torch.tensor([3.0, 6.0]).view(2, 1, 1, 1),
    "place": torch.linspace(2.0, 8.0, 8).view(1, 1, 1, 8),
    "value": torch.linspace(2.0, 8.0, 256).view(1, 4, 8, 8).expand(2, -1, -1, -1),
}


@pytest.mark.parametrize("where", SPREAD)
@pytest.mark.parametrize("name", ["adg", "apg_custom", "zero_star_alone", "compose"])
def test_a_rule_takes_a_weight_for_each_sample_or_place(name, where):
    weights = SPREAD[where]
    seen = []
    patched = watch(BY_NAME[name].on(model()), seen)
    sample(patched, x=noise(2), steps=3, make=made(foreign.Spread, cfg=weights))
    every = torch.cat([args["denoised"] for args in seen])
    assert every.isfinite().all()
    # Where the weight is one number, a rule does what it does with that number.
    even = []
    sample(watch(BY_NAME[name].on(model()), even), x=noise(2), steps=3, make=made(foreign.Spread, cfg=weights * 0 + 5))
    usual = []
    sample(watch(BY_NAME[name].on(model()), usual), x=noise(2), steps=3, cfg=5.0)
    for one, other in zip(even, usual, strict=True):
        assert distance(one["denoised"], other["denoised"]) < EXACT
    assert distance(every, torch.cat([args["denoised"] for args in even])) > 0.01


@pytest.mark.parametrize("where", SPREAD)
def test_plain_cfg_with_a_weight_for_each_place_is_the_hosts(where):
    seen, cond, uncond = [], noise(2), noise(2, seed=5)
    guided = guidance.cfg(cond, uncond, scale=SPREAD[where])
    assert distance(guided, uncond + (cond - uncond) * SPREAD[where]) < EXACT
    sample(watch(BY_NAME["compose"].on(model(), weight=0.0), seen), x=noise(2), make=made(foreign.Spread, cfg=5.0))
    assert all(args["cond_scale"] == 5.0 for args in seen)


# ---- post functions that are not told the weight


def test_where_the_weight_is_not_shown_what_needs_none_acts_and_the_rest_says_why(said):
    make = made(foreign.Spread, cfg=5.0, shown=False)
    without = sample(model(), make=make)
    for name in ("pag", "rescale", "norm_limit"):
        assert distance(sample(BY_NAME[name].on(model()), make=make), without) > 1e-3
    assert not said()
    for name in ("adg", "compose", "tcfg"):
        assert torch.equal(sample(BY_NAME[name].on(model()), make=make), without)
    assert len([s for s in said() if "has no effect where the guider Spread does not show its weight" in s]) == 3


def test_under_a_known_guider_a_missing_weight_is_the_one_that_was_set(monkeypatch):
    """Another pack replaces the host's function by one that leaves the weight out of the arguments."""
    real, patched = comfy_cfg_function(), BY_NAME["adg"].on(model())
    expected = sample(patched)

    def without_weight(*args, model_options, **more):
        functions = [unweighted(f) for f in model_options.get("sampler_post_cfg_function", [])]
        return real(*args, model_options={**model_options, "sampler_post_cfg_function": functions}, **more)

    def unweighted(function):
        return lambda args: function(
            {**{k: v for k, v in args.items() if k != "cond_scale"}, "model_options": with_ours(args)}
        )

    def with_ours(args):
        from azimuth.nodes.engine.guided import guide

        return {**args["model_options"], "sampler_post_cfg_function": [guide]}

    monkeypatch.setattr("comfy.samplers.cfg_function", without_weight)
    assert torch.equal(sample(patched), expected)


def comfy_cfg_function():
    import comfy.samplers

    return comfy.samplers.cfg_function


# ---- a guider that guides by something else than its cfg


def test_nothing_is_claimed_of_a_guider_that_combines_the_predictions_itself(said):
    make = made(foreign.Combining, cfg=5.0)
    without = sample(model(), make=make)
    assert torch.equal(sample(BY_NAME["scheduled_cfg"].on(model()), make=make), without)
    assert not any("sets the weight" in s or "has set the weight" in s for s in said())
    assert len([s for s in said() if s.startswith("Scheduled CFG has no effect")]) == 1
    assert torch.equal(sample(BY_NAME["adg"].on(model()), make=make), without)
    assert any(s.startswith("Angle Domain Guidance (ADG) has no effect") for s in said())
    assert distance(sample(BY_NAME["pag"].on(model()), make=make), without) > 0.01


def test_what_a_foreign_guider_took_from_a_schedule_is_said_afterwards(said):
    patched = BY_NAME["scheduled_cfg"].on(model(), scale=guidance.Linear(9.0, 4.0))
    make = made(foreign.Dropping, cfg=5.0)
    assert scales(patched, make=make)[:3] == [9.0, 8.0, 7.0]
    assert "Scheduled CFG has set the weight to 7 to 9 in 3 of 6 calls of the guider Dropping." in said()
    assert any(s.startswith("Scheduled CFG has no effect on the steps") for s in said())


def test_adaptive_guidance_counts_only_passes_that_it_left_out(said):
    """The guider drops the last three negatives by itself."""
    counted = []
    patched = count_passes(BY_NAME["adaptive"].on(model(), threshold=0.0, start=0.0), counted)
    sample(patched, make=made(foreign.Dropping, cfg=5.0))
    reports = [s for s in said() if "negative passes" in s]
    made_by_host = sum(batch == 2 for batch in counted)
    assert made_by_host in (1, 2, 3)
    for report in reports:
        left_out, due = (int(word) for word in report.split() if word.isdigit())
        assert due - left_out == made_by_host


# ---- a guider that drops the negative


def test_a_further_negative_is_not_paid_for_where_the_guider_drops_the_negative():
    counted = []
    sample(count_passes(BY_NAME["compose"].on(model()), counted), make=made(foreign.Dropping, cfg=5.0))
    assert counted == [3, 3, 3, 1, 1, 1]


def test_a_rule_that_never_finds_a_negative_says_so(said):
    make = made(foreign.Dropping, cfg=5.0, first=0)
    assert torch.equal(sample(BY_NAME["adg"].on(model()), make=make), sample(model(), make=make))
    assert any("has no effect: no negative pass was made at its steps" in s for s in said())


# ---- a weight for each modality

AV = architectures.packed


def av(name=None, **changes):
    patched = built(AV)()
    return BY_NAME[name].on(patched, **changes) if name else patched


def sampled_av(patched, video, audio, seen=None, steps=2):
    prompts = {"positive": text(1, width=128), "negative": text(2, width=128)}
    guiders = []

    def make(patched):
        guiders.append(foreign.Guider_LTXAVDualCFG(patched, video, audio, **prompts))
        return guiders[0]

    import comfy.nested_tensor

    empty = comfy.nested_tensor.NestedTensor([torch.zeros_like(part) for part in pair().unbind()])
    patched = patched if seen is None else watch(patched, seen)
    out = sample(patched, x=pair(), latent=empty, steps=steps, make=make)
    assert (guiders[0].video_cfg, guiders[0].audio_cfg, guiders[0].cfg) == (video, audio, max(video, audio))
    return out


def equal(one, other):
    return all(map(torch.equal, one.unbind(), other.unbind()))


def test_each_modality_has_its_own_weight():
    seen = []
    sampled_av(av("adg"), 3.0, 7.0, seen)
    for args in seen:
        video, audio = (slice(0, 128 * 8), slice(128 * 8, None))
        for part, weight in ((video, 3.0), (audio, 7.0)):
            cond, uncond = (args[f"{key}_denoised"][..., part] for key in ("cond", "uncond"))
            ours = guidance.angle_domain(cond, uncond, scale=weight)
            assert distance(args["denoised"][..., part], ours) < EXACT


def test_both_weights_follow_a_schedule(said):
    scheduled = av("scheduled_cfg", scale=4.0)
    assert equal(sampled_av(scheduled, 3.0, 7.0), sampled_av(av(), 4.0, 4.0))
    assert not equal(sampled_av(av(), 3.0, 7.0), sampled_av(av(), 4.0, 4.0))
    assert any("in place of the sampler's 3 and 7" in s for s in said())


def test_neutral_stages_leave_two_weights_alone():
    for name, off in (("adg", {"strength": 0.0}), ("scheduled_cfg", {"end": 0.0, "outside": "sampler cfg"})):
        assert equal(sampled_av(av(name, **off), 3.0, 7.0), sampled_av(av(), 3.0, 7.0))


def test_a_further_negative_weighs_by_modality():
    assert not equal(sampled_av(av("compose", negative=text(3, width=128)), 3.0, 7.0), sampled_av(av(), 3.0, 7.0))


def test_cfg_guider_of_the_host_is_as_it_was():
    assert torch.equal(sample(BY_NAME["adg"].on(model()), make=cfg_guider()), sample(BY_NAME["adg"].on(model())))
