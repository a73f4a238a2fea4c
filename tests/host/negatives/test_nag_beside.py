"""Normalized Attention Guidance beside everything else: guiders, regions, windows, controls, patches, other stages."""

import logging

import comfy.controlnet
import comfy.ldm.modules.attention
import comfy_extras.nodes_nag as host_nag
import node_helpers
import pytest
import torch
from attached import HALF, control_net, lora
from azimuth import guidance
from azimuth.nodes.engine.networks import attention_rows
from azimuth.nodes.look import report
from context_windows import windowed
from methods import BY_NAME
from nag_networks import ALPHA, EXACT, FEW, FLUX, HUNYUAN, LUMINA, SCALE, SD3, TAU, UNET, WAN, Z_IMAGE, every_net, on
from tiny import (
    basic,
    cfg_guider,
    count_passes,
    distance,
    dual,
    dual_model,
    model,
    passes,
    perp_neg,
    predict,
    run_node,
    sample,
    tensor,
    text,
    watch,
)
from unet_attention import with_attention

KINDS = pytest.mark.parametrize("net", [UNET, FLUX], ids=lambda net: net.name)


def guided(net, positive=None, **how):
    """D(x; positive) under NAG, evaluated by the host on its own."""
    return predict(on(net), **net.at(**({"positive": positive} if positive else {}), **how))


def plain(net, **how):
    return predict(net.get(), **net.at(**how))


def calls(net, patched, **how):
    """The rows that the network itself is called with, pass by pass, in a run."""
    found = []
    hook = net.get().model.diffusion_model.register_forward_pre_hook(lambda module, args: found.append(len(args[0])))
    try:
        sample(patched, **how)
    finally:
        hook.remove()
    return found


# ---- off, and costs


@FEW
@pytest.mark.parametrize("i", range(len(BY_NAME["nag"].neutral(1.0))))
def test_a_neutral_setting_changes_nothing_and_costs_nothing(net, i):
    neutral = on(net, **BY_NAME["nag"].neutral(1.0)[i])
    how = {"x": net.x, "positive": net.text(1), "negative": net.text(2)}
    for cfg in (1.0, 4.0):
        assert torch.equal(sample(neutral, cfg=cfg, **how), sample(net.get(), cfg=cfg, **how))
        assert calls(net, neutral, cfg=cfg, **how) == calls(net, net.get(), cfg=cfg, **how)


@every_net
def test_the_prompts_own_text_changes_nothing(net):
    same = predict(on(net, negative=net.text(1)), **net.at())
    assert distance(same, plain(net)) < 1e-5


@pytest.mark.parametrize(
    ("net", "rows"), [(UNET, 1), (WAN, 1), (FLUX, 2), (SD3, 2)], ids=["UNet", "Wan", "Flux", "SD3"]
)
def test_what_a_pass_costs(net, rows):
    how = {"x": net.x, "positive": net.text(1), "negative": net.text(2), "steps": 2}
    assert passes(on(net), cfg=1.0, **how) == [1] * 2
    assert calls(net, on(net), cfg=1.0, **how) == [rows] * 2
    assert passes(on(net), cfg=4.0, **how) == [2] * 2
    assert calls(net, on(net), cfg=4.0, **how) == [rows + 1] * 2  # the sampler's negative is not read twice


@FEW
def test_two_runs_are_one(net):
    patched, how = on(net), {"x": net.x, "positive": net.text(1), "negative": net.text(2), "cfg": 1.0, "steps": 3}
    first = sample(patched, **how)
    assert torch.equal(sample(patched, **how), first)
    assert not torch.equal(first, sample(net.get(), **how))


@FEW
def test_a_sample_does_not_depend_on_its_neighbours(net):
    x = torch.cat((net.x, net.x.flip(-1) * 0.7, net.x.roll(1, -1)))
    together = guided(net, x=x, cfg=4.0)
    for i in range(3):
        assert distance(together[i : i + 1], guided(net, x=x[i : i + 1], cfg=4.0)) < EXACT


# ---- guiders and cfg


@KINDS
def test_with_a_negative_of_the_sampler_it_guides_the_positive_alone(net):
    c, u = guided(net), plain(net, positive=net.text(2))
    assert distance(guided(net, cfg=4.0), u + 4.0 * (c - u)) < EXACT
    further = BY_NAME["compose"].on(on(net), negative=net.text(4), weight=1.5)
    n = plain(net, positive=net.text(4))
    assert distance(predict(further, **net.at(cfg=4.0)), u + 4.0 * (c - u) - 1.5 * (n - u)) < EXACT


@pytest.mark.parametrize("tokens", [5, 7])
def test_it_holds_where_the_host_makes_a_pass_of_each_text(tokens):
    """The lengths cannot be put side by side, so positive and negative come in passes of their own."""
    negative = FLUX.text(2, tokens)
    c, u = guided(FLUX), plain(FLUX, positive=negative)
    assert passes(on(FLUX), x=FLUX.x, negative=negative, steps=1) == [1, 1]
    assert distance(guided(FLUX, negative=negative, cfg=4.0), u + 4.0 * (c - u)) < EXACT


@KINDS
def test_under_the_basic_guider(net):
    assert distance(guided(net, make=basic), guided(net)) < 1e-6


def test_under_the_other_guiders_it_guides_the_positive():
    c, at = guided(UNET), UNET.at()
    m, u, e = (plain(UNET, positive=text(i)) for i in (4, 2, 7))
    assert distance(predict(on(UNET), **{**at, "cfg": None}, make=cfg_guider(4.0)), u + 4.0 * (c - u)) < EXACT
    assert distance(predict(on(UNET), **at, make=dual("regular")), u + 5.0 * (m - u) + 4.0 * (c - m)) < EXACT
    assert distance(predict(on(UNET), **at, make=dual("nested")), u + 5.0 * (m + 4.0 * (c - m) - u)) < EXACT
    other = predict(model("v"), **{**at, "positive": text(2)})
    assert distance(predict(on(UNET), **at, make=dual_model(4.0)), other + 4.0 * (c - other)) < EXACT
    d, n = c - e, u - e
    perpendicular = n - (n * d).sum() / (d * d).sum() * d
    assert distance(predict(on(UNET), **at, make=perp_neg(5.0, 0.8)), e + 5.0 * (d - 0.8 * perpendicular)) < EXACT


# ---- what a run does with it


def test_a_schedule_and_a_window_follow_the_steps():
    seen, sigmas = [], torch.tensor([0.9, 0.6, 0.3, 0.1])
    patched = watch(on(FLUX, scale=guidance.Steps((3.0, 1.0, 6.0)), end=0.9), seen)
    sample(patched, x=FLUX.x, cfg=1.0, sigmas=sigmas)
    for args, scale in zip(seen, (3.0, 1.0, None), strict=True):
        at = {"x": args["input"], "sigma": args["sigma"][0].item(), "cfg": 1.0}
        expected = predict(on(FLUX, scale=scale) if scale else FLUX.get(), **at)
        assert distance(args["denoised"], expected) < 1e-6
    assert distance(seen[0]["denoised"], predict(FLUX.get(), x=FLUX.x, sigma=0.9, cfg=1.0)) > 1e-3


def test_a_negative_with_time_ranges_is_the_text_of_the_step(said):
    early, late = UNET.text(3, end_percent=0.5), UNET.text(4, start_percent=0.5, end_percent=0.8)
    seen, sigmas = [], torch.tensor([10.0, 0.8, 0.1, 0.0])
    sample(watch(on(UNET, negative=early + late), seen), x=UNET.x, cfg=1.0, sigmas=sigmas)
    for args, negative in zip(seen, (text(3), text(4), None), strict=True):
        at = UNET.at(x=args["input"], sigma=args["sigma"][0].item())
        expected = predict(on(UNET, negative=negative) if negative else model(), **at)
        assert distance(args["denoised"], expected) < 1e-6
    assert not any("reads one text" in sentence for sentence in said())


# ---- regions, windows, controls, hooks


@KINDS
def test_masked_prompts_are_guided_each(net):
    left, right = HALF, 1.0 - HALF
    prompts = net.text(1, mask=left) + net.text(4, mask=right)
    expected = left * guided(net) + right * guided(net, net.text(4))
    assert distance(guided(net, prompts), expected) < EXACT


def test_a_prompt_with_an_area_is_guided_there():
    prompts = UNET.text(1) + UNET.text(4, area=(8, 4, 0, 0))
    seen = guided(UNET, prompts)
    c, inside = guided(UNET), guided(UNET, UNET.text(4), x=UNET.x[..., :4])
    assert distance(seen[..., 4:], c[..., 4:]) < EXACT
    assert distance(seen[..., :1], (c[..., :1] + inside[..., :1]) / 2) < EXACT


@pytest.mark.parametrize("side", ["positive", "negative"])
def test_an_area_on_either_side_leaves_the_negative_as_it_is(side):
    """The host evaluates an area of one list for the other too, under one id."""
    prompts = UNET.text(1 if side == "positive" else 2) + UNET.text(4, area=(8, 4, 0, 0))
    seen = []
    for patched in (UNET.get(), on(UNET)):
        predict(watch(patched, seen), **UNET.at(**{"cfg": 5.0, side: prompts}))
    plain, ours = seen
    assert distance(ours["uncond_denoised"], plain["uncond_denoised"]) < EXACT
    for part in (slice(0, 4), slice(4, 8)):
        assert distance(ours["cond_denoised"][..., part], plain["cond_denoised"][..., part]) > 1e-3


def test_context_windows_cut_the_video_and_not_the_text():
    x = tensor(5, 1, 16, 8, 4, 4)
    for patched in (windowed(on(WAN)), on(WAN, windowed(WAN.get()))):
        seen = []
        patched = count_passes(patched, seen)
        got = predict(patched, **WAN.at(x=x))
        assert seen == [1] * 3 and distance(got, predict(windowed(WAN.get()), **WAN.at(x=x))) > 0.01
        first = predict(on(WAN), **WAN.at(x=x[:, :, :4]))
        assert distance(got[:, :, :2], first[:, :, :2]) < EXACT  # frames that one window alone sees


class FluxControl(comfy.controlnet.ControlBase):
    """What a ControlNet hands to Flux, for every row of a batch of two."""

    def get_control(self, x, t, cond, batched, options):
        rows = tensor(31, 2, 16, 64)
        return {"input": [rows], "output": [rows * 0.5, None]}

    def get_models(self):
        return []


def test_a_control_reaches_both_rows():
    positive = FLUX.text(1, control=FluxControl())
    free = on(FLUX, negative=FLUX.text(1))
    two = {"x": torch.cat((FLUX.x, FLUX.x * 0.8)), "positive": positive}
    controlled = plain(FLUX, **two)
    assert distance(predict(free, **FLUX.at(**two)), controlled) < 1e-5
    assert distance(controlled, plain(FLUX, x=two["x"])) > 0.01
    assert distance(guided(FLUX, **two), controlled) > 0.01


def test_a_controlnet_and_a_lora_hook_of_the_prompt_stay_with_it(said):
    control = control_net().set_cond_hint(tensor(8, 1, 3, 64, 64), 0.3)
    positive = node_helpers.conditioning_set_values(text(1, hooks=lora()), {"control": control})
    free = on(UNET, negative=text(1))
    controlled = plain(UNET, positive=positive)
    assert distance(predict(free, **UNET.at(positive=positive)), controlled) < 1e-5
    assert distance(controlled, plain(UNET)) > 0.01
    assert distance(guided(UNET, positive), controlled) > 0.01
    assert not any("reads one text" in sentence for sentence in said())


def test_of_its_own_conditioning_the_text_alone_counts(said):
    control = control_net().set_cond_hint(tensor(8, 1, 3, 64, 64), 0.3)
    negative = text(3, area=(4, 4, 0, 0), mask=HALF, control=control, hooks=lora()) + text(4)
    assert torch.equal(predict(on(UNET, negative=negative), **UNET.at()), guided(UNET))
    assert any("NAG) reads one text of its negative" in sentence for sentence in said())


# ---- other stages and other nodes


@pytest.mark.parametrize("net", [UNET, FLUX, LUMINA, Z_IMAGE], ids=lambda net: net.name)
def test_a_term_sees_the_guided_model(net):
    """The weaker model is the guided one with its attention perturbed, so that the term is about that alone."""
    patched = BY_NAME["pag"].on(on(net), scale=2.0)
    c = guided(net)
    terms = []
    predict(watch(patched, terms), **net.at())
    expected = c + 2.0 * (c - guided_pag(net))
    assert distance(terms[0]["denoised"], expected) < EXACT


def guided_pag(net):
    if net is UNET:
        return predict(on(net, with_attention(lambda q, v, plain, extra: v)), **net.at())
    one = predict(BY_NAME["pag"].on(on(net), scale=1.0), **net.at())
    free = predict(BY_NAME["pag"].on(on(net, negative=net.text(1)), scale=1.0), **net.at())
    assert distance(free, predict(BY_NAME["pag"].on(net.get(), scale=1.0), **net.at())) < EXACT
    return 2.0 * guided(net) - one


def test_both_passes_of_a_distilled_pair_are_guided():
    low, high = (guided(FLUX, FLUX.text(1, guidance=g)) for g in (1.5, 3.5))
    expected = low + (4.0 - 1.5) / (3.5 - 1.5) * (high - low)
    assert distance(predict(BY_NAME["distilled_pair"].on(on(FLUX)), **FLUX.at()), expected) < EXACT


def test_what_another_node_put_in_the_place_of_a_cross_attention_is_guided():
    def theirs(q, k, v, extra):
        assert len(q) == len(k) == len(extra["cond_or_uncond"]) == len(extra["uuids"])
        return 0.5 * comfy.ldm.modules.attention.attention_basic(q, k, v, heads=extra["n_heads"]) + 0.01

    def once_more(func, q, k, v, *args, **how):
        out = func(q, k, v, *args, **how)
        return 0.5 * out + 0.01 if k.shape[1] == 4 else out

    replaced, overridden = model().clone(), model().clone()
    for block in (("input", 1), ("input", 3), ("middle", 0), *(("output", i) for i in range(4))):
        replaced.set_model_attn2_replace(theirs, *block)
    overridden.model_options["transformer_options"]["optimized_attention_override"] = once_more
    for cfg in (1.0, 4.0):
        ours = predict(on(UNET, replaced), **UNET.at(cfg=cfg))
        assert distance(ours, predict(on(UNET, overridden), **UNET.at(cfg=cfg))) < EXACT
        assert distance(ours, guided(UNET, cfg=cfg)) > 1e-3


def test_what_another_node_does_to_the_text_of_a_cross_attention_it_does_to_both():
    def longer(n, context, value, extra):
        assert len(n) == len(context) == len(extra["cond_or_uncond"])
        return n, torch.cat((context, context * 0.5), 1), torch.cat((value, value * 0.5), 1)

    patched = model().clone()
    patched.set_model_attn2_patch(longer)
    texts = [[[torch.cat((c, c * 0.5), 1), options]] for [[c, options]] in (text(1), text(3, 6))]
    expected = predict(on(UNET, negative=texts[1]), **UNET.at(positive=texts[0]))
    assert distance(predict(on(UNET, patched, negative=text(3, 6)), **UNET.at()), expected) < EXACT


@KINDS
def test_no_tensor_of_an_attention_is_written_to(net):
    held = []

    def override(func, q, k, v, *args, **how):
        out = func(q, k, v, *args, **how)
        held.extend((t, t._version) for t in (q, k, v, out))
        return out

    patched = net.get().clone()
    patched.model_options["transformer_options"]["optimized_attention_override"] = override
    with torch.no_grad():
        predict(on(net, patched), **net.at())
    written = [t for t, version in held if t._version != version]
    assert held and not written


def test_image_adapters_are_told_of_both_rows():
    """They take the copy of a positive for one: it has the same picture."""
    told = []

    def override(func, q, *args, **how):
        options = how["transformer_options"]
        told.append((len(q), sorted(options["cond_or_uncond"]), len(set(options["uuids"]))))
        return func(q, *args, **how)

    patched = FLUX.get().clone()
    patched.model_options["transformer_options"]["optimized_attention_override"] = override
    predict(on(FLUX, patched), **FLUX.at(cfg=4.0))
    assert told and all(call == (3, [0, 0, 1], 3) for call in told)


# ---- the host's own node


def hosts(net):
    return run_node(host_nag.NAGuidance, net.get(), SCALE, ALPHA, TAU)


def pooled(conditioning):
    return [[conditioning[0][0], {**conditioning[0][1], "pooled_output": FLUX.text(1)[0][1]["pooled_output"]}]]


def test_on_flux_it_is_the_hosts_where_that_is_right():
    negative = pooled(FLUX.text(3))
    ours = guided(FLUX)
    assert distance(predict(hosts(FLUX), **FLUX.at(negative=negative)), ours) < EXACT
    assert distance(ours, plain(FLUX)) > 0.01


def test_departures_from_the_hosts_node(said):
    ours = guided(FLUX)
    # The host's picture drifts apart where the negative's pooled text modulates the second row.
    assert distance(predict(hosts(FLUX), **FLUX.at(negative=FLUX.text(3))), ours) > 1e-3
    # It does nothing, and says nothing, where the texts do not fit into one batch,
    assert distance(predict(hosts(FLUX), **FLUX.at(negative=FLUX.text(3, 5))), plain(FLUX)) < 1e-5
    assert distance(guided(FLUX, negative=FLUX.text(3, 5)), ours) < 1e-5
    # nor without a negative of the sampler,
    assert distance(predict(hosts(FLUX), **FLUX.at(), make=basic), plain(FLUX)) < 1e-5
    # and makes the negative's pass at scale 1 too.
    off = run_node(host_nag.NAGuidance, FLUX.get(), 1.0, ALPHA, TAU)
    assert passes(off, x=FLUX.x, cfg=1.0, steps=1) == [2]
    # In a UNet it guides what the picture's tokens see of each other, not what they read.
    unet = predict(hosts(UNET), **UNET.at(negative=text(3)))
    assert distance(unet, plain(UNET)) > 1e-3 and distance(unet, guided(UNET)) > 1e-3
    # Wan and SD3 never call it.
    for net in (WAN, SD3):
        assert distance(predict(hosts(net), **net.at(negative=net.text(3))), plain(net)) < 1e-5
    # It writes into the model's own tensor.
    patch = hosts(FLUX).model_options["transformer_options"]["patches"]["attn1_output_patch"][0]
    out, before = tensor(1, 2, 6, 8).clone(), tensor(1, 2, 6, 8)
    assert patch(out, {"cond_or_uncond": [0, 1], "img_slice": [2, 6]}) is out and not torch.equal(out, before)


# ---- never silent


def warnings(caplog):
    return [r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING and r.name.startswith("azimuth")]


def test_a_model_that_it_cannot_reach_is_named(caplog, monkeypatch):
    monkeypatch.delitem(attention_rows.WAYS, "UNetModel")
    assert torch.equal(guided(UNET), plain(UNET))
    assert len(warnings(caplog)) == 1
    assert "NAG) has no effect on this model (UNetModel), whose attention it cannot reach; use" in warnings(caplog)[0]
    assert "no effect on this model" in report.report(on(UNET), 1.0)


@pytest.mark.parametrize(
    ("net", "positive", "negative", "why"),
    [
        (HUNYUAN, {}, {"tokens": 6}, "the prompt has 4 tokens and the negative 6, which this model cannot read"),
        (LUMINA, {}, {"tokens": 6}, "a longer text would move the picture; shorten the negative"),
        (Z_IMAGE, {"reference_latents": [tensor(1, 1, 16, 4, 4)]}, {}, "the prompt has reference pictures"),
        (HUNYUAN, {"attention_mask": torch.tensor([[1, 1, 1, 0]])}, {}, "has a masked or a second text"),
    ],
    ids=["another length", "longer", "references", "mask"],
)
def test_texts_that_a_model_cannot_read_side_by_side_are_named(net, positive, negative, why, caplog):
    how = {"steps": 2, "x": net.x, "cfg": 1.0, "negative": net.text(2), "positive": net.text(1, **positive)}
    expected = sample(net.get(), **how)
    assert torch.equal(sample(on(net, negative=net.text(3, **negative)), **how), expected)
    assert len(warnings(caplog)) == 1 and "NAG) has no effect: " in warnings(caplog)[0] and why in warnings(caplog)[0]


def test_a_node_that_makes_the_predictions_itself_is_found_out(caplog):
    patched = model().clone()
    patched.model_options["sampler_calc_cond_batch_function"] = lambda args: [args["input"] for _ in args["conds"]]
    sample(on(UNET, patched), steps=2)
    assert len(warnings(caplog)) == 1
    assert "NAG) has no effect: no attention of the model was reached" in warnings(caplog)[0]


def test_a_node_that_hides_the_text_from_the_model_is_found_out(caplog):
    def hidden(apply_model, args):
        c = {**args["c"], "transformer_options": {}}
        return apply_model(args["input"], args["timestep"], **c)

    patched = on(UNET)
    patched.set_model_unet_function_wrapper(hidden)
    sample(patched, steps=1)
    assert any("no attention of the model was reached" in sentence for sentence in warnings(caplog))


def test_the_run_says_what_it_does_once(said):
    sample(on(FLUX, end=0.5), x=FLUX.x, cfg=1.0, steps=4)
    assert [s for s in said() if "NAG" in s] == [
        "Normalized Attention Guidance (NAG): scale 4, tau 2, alpha 0.5, L1 while progress is 0 to 0.5 (2 of 4 steps)."
    ]


def test_two_on_one_model_are_refused():
    with pytest.raises(ValueError, match=r"NAG\): the MODEL already carries .*one negative and bypass one"):
        on(UNET, on(UNET))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"preset": None}, "input preset: got no option that it knows; choose one of Flux, video, SD3.5"),
        ({"preset": {"preset": "custom", "tau": 0.5, "alpha": 0.5, "norm": "L1"}}, "input tau: 0.5 is out of range"),
        ({"preset": {"preset": "custom", "tau": 2.0, "alpha": 0.5, "norm": "L3"}}, "input norm: there is no 'L3'"),
        ({"scale": float("nan")}, "input scale: got nan"),
        ({"negative": []}, "input negative: the conditioning is empty"),
        ({"start": 0.8, "end": 0.2}, "input start: the window starts at 0.8"),
    ],
)
def test_errors_name_the_input(changes, message):
    with pytest.raises(ValueError, match=r"^Normalized Attention Guidance \(NAG\), ") as error:
        on(UNET, **changes)
    assert message in str(error.value)
