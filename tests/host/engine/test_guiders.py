"""Promise 3: under every guider of the host a stage acts as documented, or the log says once why it cannot."""

import comfy.samplers
import latent_preview
import pytest
import torch
from azimuth import guidance
from azimuth.nodes.rules import dynamic_thresholding
from comfy.patcher_extension import WrappersMP
from methods import BY_NAME, stack
from tiny import (
    EMPTY,
    GUIDERS,
    alone,
    basic,
    cfg_guider,
    custom,
    distance,
    dual,
    dual_model,
    model,
    passes,
    perp_neg,
    predict,
    run_node,
    sample,
    scales,
    sigmas_of,
    text,
)

import nodes as host_nodes
from specimens.rules.dynamic_thresholding import MIMIC

W, S = 5.0, 1.5
EXACT = 1e-4


@pytest.fixture(autouse=True)
def without_previews(monkeypatch):
    """The preview of a step needs the server, which these tests do without."""
    monkeypatch.setattr(latent_preview, "prepare_callback", lambda *args: None)


# ---- the nodes that sample


def latent():
    return {"samples": torch.zeros(1, 4, 8, 8)}


def with_ksampler(patched):
    return host_nodes.common_ksampler(patched, 5, 4, W, "euler", "simple", text(1), text(2), latent())[0]


def with_sampler_custom(patched):
    sampler = comfy.samplers.sampler_object("euler")
    sigmas = sigmas_of(patched, 4)
    return run_node(custom.SamplerCustom, patched, True, 5, W, text(1), text(2), sampler, sigmas, latent())


def with_sampler_custom_advanced(patched):
    sampler = comfy.samplers.sampler_object("euler")
    noise = run_node(custom.RandomNoise, 5)
    guider = cfg_guider()(patched)
    return run_node(custom.SamplerCustomAdvanced, noise, guider, sampler, sigmas_of(patched, 4), latent())


@pytest.mark.parametrize("run", [with_ksampler, with_sampler_custom, with_sampler_custom_advanced])
def test_the_nodes_that_sample_agree(run):
    patched = stack(model(), "scheduled_cfg", "perpendicular", "adg")
    x = run_node(custom.RandomNoise, 5).generate_noise(latent())
    expected = sample(patched, x=x, steps=4, make=cfg_guider())
    assert torch.equal(run(patched)["samples"], expected)
    assert distance(expected, run(model())["samples"]) > 0.01


# ---- neutral under every guider


@pytest.mark.parametrize("name", GUIDERS)
def test_a_neutral_stage_changes_nothing_under_any_guider(name):
    make = GUIDERS[name]()
    scale = 4.0 if name.endswith("(nested)") else W
    neutral = BY_NAME["compose"].on(BY_NAME["scheduled_cfg"].on(model(), scale=scale), weight=0.0)
    assert torch.equal(sample(neutral, make=make, steps=4), sample(model(), make=make, steps=4))
    assert passes(neutral, make=make, steps=4) == passes(model(), make=make, steps=4)


# ---- one by one


@pytest.mark.parametrize("name", GUIDERS)
def test_a_schedule_steers_the_documented_weight_and_gives_it_back(name, said):
    make, guider = GUIDERS[name](), None

    def keep(patched):
        nonlocal guider
        guider = make(patched)
        return guider

    patched = BY_NAME["scheduled_cfg"].on(model(), scale=3.0)
    expected_make = {
        "CFG Guider": cfg_guider(3.0),
        "Perp-Neg Guider": perp_neg(3.0),
        "Dual CFG Guider": dual("regular", cfg2=3.0),
        "Dual CFG Guider (nested)": dual("nested", cfg1=3.0),
        "Dual Model CFG Guider": dual_model(3.0),
    }[name]
    ours = sample(patched, make=keep, steps=4)
    assert torch.equal(ours, sample(model(), make=expected_make, steps=4))
    own = {"cfg1": 4.0, "cfg2": W} if name.startswith("Dual CFG") else {"cfg": W}
    assert {key: getattr(guider, key) for key in own} == own
    explained = [sentence for sentence in said() if sentence.startswith(f"Under the {name}")]
    assert len(explained) == (0 if name == "CFG Guider" else 1)


def test_perp_neg_keeps_its_own_negative_beside_a_combine_rule():
    c, n, e = alone(text(1)), alone(text(2)), alone(EMPTY)
    ours = predict(BY_NAME["adg"].on(model()), make=perp_neg())
    theirs = predict(model(), make=perp_neg())
    own_term = theirs - (e + W * (c - e))
    assert own_term.abs().max() > 0.1 and distance(n, e) > 0.01
    assert distance(ours, guidance.angle_domain(c, e, scale=W) + own_term) < EXACT


def test_a_further_negative_under_perp_neg_is_contrasted_with_the_empty_prompt():
    e, m = alone(EMPTY), alone(text(3))
    theirs = predict(model(), make=perp_neg())
    assert distance(predict(BY_NAME["compose"].on(model()), make=perp_neg()), theirs - S * (m - e)) < EXACT
    assert passes(BY_NAME["compose"].on(model()), make=perp_neg(), steps=2) == [4, 4]


@pytest.mark.parametrize(
    ("make", "with_it"),
    [
        (cfg_guider(), cfg_guider(negative=3)),
        (perp_neg(), perp_neg(empty=text(3))),
        (dual("regular"), dual("regular", negative=3)),
        (dual("nested"), dual("nested", middle=3)),
    ],
    ids=["CFG", "Perp-Neg", "Dual", "Dual nested"],
)
def test_a_whole_partial_negative_takes_the_place_of_what_the_guider_contrasts(make, with_it):
    whole = BY_NAME["partial"].on(model(), weight=1.0)
    assert torch.equal(predict(whole, make=make), predict(model(), make=with_it))
    assert passes(whole, make=make, steps=1) == passes(model(), make=make, steps=1)


def test_a_whole_partial_negative_under_a_dual_model_is_evaluated_on_the_negative_model():
    c, n = alone(text(1)), alone(text(3), patched=model("v"))
    whole = BY_NAME["partial"].on(model(), weight=1.0)
    assert distance(predict(whole, make=dual_model()), n + W * (c - n)) < EXACT


def test_perp_neg_saves_a_pass_at_weight_1_only_without_its_own_negative():
    patched = BY_NAME["scheduled_cfg"].on(model(), scale=guidance.Steps((4.0, 1.0)))
    assert passes(patched, make=perp_neg(), steps=2) == [3, 3]
    assert passes(patched, make=perp_neg(neg_scale=0.0), steps=2) == [2, 1]


def test_dual_cfg_contrasts_the_middle_with_the_negative():
    patched = BY_NAME["adg"].on(BY_NAME["compose"].on(model()))
    c, m, u, n = (alone(text(i)) for i in (1, 4, 2, 3))
    pair = guidance.angle_domain(m, u, scale=W) - S * (n - u)
    assert distance(predict(patched, make=dual("regular")), pair + 4.0 * (c - m)) < EXACT
    assert passes(patched, make=dual("regular"), steps=2) == [4, 4]


def test_nested_dual_cfg_contrasts_the_positive_with_the_middle():
    patched = BY_NAME["adg"].on(BY_NAME["compose"].on(model()))
    c, m, u, n = (alone(text(i)) for i in (1, 4, 2, 3))
    pair = guidance.angle_domain(c, m, scale=4.0) - S * (n - m)
    assert distance(predict(patched, make=dual("nested")), u + W * (pair - u)) < EXACT


def test_dual_cfg_skips_the_negative_at_weight_1():
    patched = BY_NAME["scheduled_cfg"].on(model(), scale=guidance.Steps((4.0, 1.0)))
    assert passes(patched, make=dual("regular"), steps=2) == [3, 2]


def test_a_dual_model_makes_further_negatives_on_its_negative_model():
    at = {"patched": model("v")}
    c, u, n = alone(text(1)), alone(text(2), **at), alone(text(3), **at)
    ours = predict(BY_NAME["compose"].on(model()), make=dual_model())
    assert distance(ours, u + W * (c - u) - S * (n - u)) < EXACT


def test_a_schedule_above_1_loads_the_second_model_of_a_node_at_cfg_1():
    weights = guidance.Steps((1.0, 6.0, 1.0, 6.0))
    patched = BY_NAME["scheduled_cfg"].on(model(), scale=weights)
    # Passes of the negative model carry no wrapper: the counted ones are the positive's.
    assert scales(patched, make=dual_model(1.0), steps=4) == [6.0, 6.0]
    always = BY_NAME["scheduled_cfg"].on(model(), scale=6.0)
    expected = sample(model(), make=dual_model(6.0), steps=4)
    assert torch.equal(sample(always, make=dual_model(1.0), steps=4), expected)


def test_a_dual_model_at_weight_1_says_that_nothing_is_corrected(said):
    imagen = BY_NAME["imagen"].on(model())
    assert torch.equal(sample(imagen, make=dual_model(1.0), steps=2), sample(model(), make=dual_model(1.0), steps=2))
    assert len([s for s in said() if "Dynamic Thresholding has no effect at weight 1" in s]) == 1


def test_a_dual_model_says_that_stages_on_its_negative_model_do_nothing(said):
    make = dual_model(other=BY_NAME["adg"].on(model("v")))
    sample(BY_NAME["scheduled_cfg"].on(model(), scale=3.0), make=make, steps=2)
    assert len([s for s in said() if "Angle Domain Guidance (ADG) on the negative model" in s]) == 1


@pytest.mark.parametrize("name", ["scheduled_cfg", "cfgpp", "adg", "mimic", "compose"])
def test_under_a_basic_guider_what_needs_a_negative_says_that_it_has_none(name, said):
    patched = BY_NAME[name].on(model())
    assert torch.equal(sample(patched, make=basic, steps=2), sample(model(), make=basic, steps=2))
    assert passes(patched, make=basic, steps=2) == [1, 1]
    about = [sentence for sentence in said() if "has no effect under the Basic Guider" in sentence]
    assert len(about) == 2  # once in each of the two runs
    assert len(set(about)) == 1


def test_under_a_basic_guider_a_correction_acts():
    patched = run_node(dynamic_thresholding.DynamicThresholding, model(), **{**MIMIC, "mode": "imagen"})
    expected = guidance.dynamic_threshold(alone(text(1)), percentile=0.99)
    assert distance(predict(patched, make=basic), expected) < EXACT


@pytest.mark.parametrize("name", GUIDERS)
def test_a_guider_run_twice_is_the_same(name):
    patched = stack(model(), "scheduled_cfg", "perpendicular", "partial", "mimic")
    guider = GUIDERS[name]()(patched)
    first, second = (sample(patched, guider=guider, steps=3) for _ in range(2))
    assert torch.equal(first, second) and torch.isfinite(first).all()
    assert distance(first, sample(model(), make=GUIDERS[name](), steps=3)) > 0.001


# ---- what adapters and models see


@pytest.mark.parametrize("make", [cfg_guider(), perp_neg(), dual("regular")], ids=["CFG", "Perp-Neg", "Dual"])
def test_adapters_see_a_further_negative_as_a_negative_and_the_hosts_own_as_they_were(make):
    def seen_by_models(patched):
        seen = []

        def look(executor, *args, **kwargs):
            options = next(a for a in (*args, *kwargs.values()) if isinstance(a, dict) and "cond_or_uncond" in a)
            seen.append(sorted(options["cond_or_uncond"]))
            return executor(*args, **kwargs)

        patched = patched.clone()
        patched.add_wrapper_with_key(WrappersMP.DIFFUSION_MODEL, "look", look)
        predict(patched, make=make)
        return seen

    theirs = seen_by_models(model())
    ours = seen_by_models(BY_NAME["compose"].on(model()))
    assert ours == [sorted([*theirs[0], 1])]
    assert seen_by_models(BY_NAME["scheduled_cfg"].on(model(), scale=3.0)) == theirs


@pytest.mark.parametrize("make", [perp_neg(1.0), dual("nested", cfg1=1.0)], ids=["Perp-Neg", "Dual nested"])
@pytest.mark.parametrize("name", ["adg", "apg", "tcfg", "partial", "adaptive"])
def test_at_weight_1_of_a_pair_that_is_made_all_the_same_a_rule_says_that_it_does_nothing(name, make, said):
    assert distance(sample(BY_NAME[name].on(model()), make=make, steps=2), sample(model(), make=make, steps=2)) < 1e-5
    assert [s for s in said() if "has no effect at weight 1, where the positive is all that counts" in s]


@pytest.mark.parametrize("make", [perp_neg(1.0), dual("nested", cfg1=1.0)], ids=["Perp-Neg", "Dual nested"])
@pytest.mark.parametrize("name", ["compose", "fdg", "beta_cfg_paper", "zero_star", "raag", "mimic"])
def test_at_weight_1_of_a_pair_that_is_made_all_the_same_what_acts_says_nothing_of_the_kind(name, make, said):
    assert distance(sample(BY_NAME[name].on(model()), make=make, steps=3), sample(model(), make=make, steps=3)) > 1e-3
    assert not [s for s in said() if "has no effect" in s]
