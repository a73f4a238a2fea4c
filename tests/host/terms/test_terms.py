"""Added terms: each equals a literal computation, from a weaker model that the test makes by means of its own."""

import functools
import random

import comfy.ldm.audio.dit
import comfy.ldm.flux.math
import comfy.ldm.lightricks.av_model
import comfy.ldm.modules.attention
import comfy.ldm.modules.diffusionmodules.mmdit
import comfy.ldm.qwen_image.model
import comfy.ldm.wan.model
import comfy.supported_models
import node_helpers
import numpy
import pytest
import torch
import torch.nn.functional as F
from architectures import SMALL, TEXTS, chroma, dit, hunyuan, packed, qwen, video, without_a_middle
from attached import HALF, control_net, lora
from azimuth import guidance
from azimuth.nodes import host
from azimuth.nodes.engine import pipeline
from azimuth.nodes.look import report
from comfy_extras.nodes_pag import PerturbedAttentionGuidance
from comfy_extras.nodes_sag import SelfAttentionGuidance
from comfy_extras.nodes_slg import SkipLayerGuidanceDiT
from context_windows import FRAMES, windowed
from features import UNET_BLOCKS, need
from literal_sag import literal_sag
from methods import BY_NAME, stack
from packed_latents import pair, sample_pair
from ranks import RANKS, setting
from rows import weaker
from tiny import (
    alone,
    architecture,
    basic,
    count_passes,
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
    tensor,
    text,
    watch,
)
from unet_attention import MIDDLE, with_attention

W, S = 5.0, 2.0
EXACT = 1e-4
AT_DIT = {"sigma": 0.7, "x": torch.randn(2, 16, 8, 8, generator=torch.Generator().manual_seed(1))}


def pag(patched, **changes):
    return BY_NAME["pag"].on(patched, **changes)


def seg(patched, **changes):
    return BY_NAME["seg"].on(patched, **changes)


def slg(patched, **changes):
    return BY_NAME["slg"].on(patched, **changes)


def s2(patched, **changes):
    return BY_NAME["s2"].on(patched, **changes)


def hosts_pag(patched, scale=S):
    return PerturbedAttentionGuidance.execute(patched, scale).args[0]


def hosts_slg(patched, layers="0, 2", rescale=0.0):
    return SkipLayerGuidanceDiT.execute(patched, S, 0.0, 1.0, layers, "", rescale).args[0]


def blurred(q, extra, sigma):
    """As in the authors' code, for a square map."""
    side = int(q.shape[1] ** 0.5)
    image = q.transpose(1, 2).reshape(q.shape[0], -1, side, side)
    if sigma > 9999:
        return q.mean(1, keepdim=True).expand_as(q)
    taps = min(int(numpy.ceil(6 * sigma)) + 1 - int(numpy.ceil(6 * sigma)) % 2, side - (side % 2 - 1))
    at = torch.linspace(-(taps - 1) / 2, (taps - 1) / 2, taps)
    line = torch.exp(-0.5 * (at / sigma) ** 2)
    line = line / line.sum()
    kernel = (line[:, None] * line[None, :]).expand(image.shape[1], 1, taps, taps)
    image = F.conv2d(F.pad(image, [taps // 2] * 4, mode="reflect"), kernel.to(image), groups=image.shape[1])
    return image.flatten(2).transpose(1, 2)


WEAKER = {
    "PAG": (pag, {}, lambda q, v, plain, extra: v),
    "SoftPAG": (pag, {"strength": 0.6}, lambda q, v, plain, extra: 0.4 * plain(q) + 0.6 * v),
    "SEG, mean": (seg, {"blur": 10000.0}, lambda q, v, plain, extra: plain(blurred(q, extra, 1e4))),
    "SEG, sigma 0.5": (seg, {"blur": 0.5}, lambda q, v, plain, extra: plain(blurred(q, extra, 0.5))),
    "SEG, sigma 4": (seg, {"blur": 4.0}, lambda q, v, plain, extra: plain(blurred(q, extra, 4.0))),
}


@pytest.mark.parametrize(("ours", "changes", "change"), WEAKER.values(), ids=WEAKER)
@pytest.mark.parametrize("cfg", [W, 1.0])
def test_a_changed_attention_of_a_unet(ours, changes, change, cfg):
    c, bad = alone(text(1)), alone(text(1), with_attention(change))
    assert distance(bad, c) > 1e-3
    expected = predict(model(), cfg=cfg) + S * (c - bad)
    assert distance(predict(ours(model(), scale=S, **changes), cfg=cfg), expected) < EXACT


@pytest.mark.parametrize("block", ["input 1", "output 2, 3"])
def test_other_blocks_of_a_unet(block):
    kind, *indices = block.replace(",", "").split()
    patched = model().clone()
    for index in indices:
        patched.set_model_attn1_replace(lambda q, k, v, extra: v, kind, int(index))
    c, bad = alone(text(1)), alone(text(1), patched)
    assert distance(predict(pag(model(), blocks=block)), predict(model()) + S * (c - bad)) < EXACT


@pytest.mark.parametrize("kind", ["eps", "v", "edm", "flow"])
def test_pag_is_the_hosts(kind):
    sigma = 0.7 if kind == "flow" else 3.0
    how = {"sigma": sigma, "x": noise(2) * sigma}
    assert distance(predict(pag(model(kind)), **how), predict(hosts_pag(model(kind)), **how)) < EXACT
    theirs = sample(hosts_pag(model(kind)), steps=3)
    assert distance(sample(pag(model(kind)), steps=3), theirs) < EXACT


# ---- transformers


def overridden(monkeypatch, module, call, change):
    """Have one of the calls of a module's attention, counted from here, give out change(v, out)."""
    original, counted = module.optimized_attention, []

    def attention(q, k, v, *args, **kwargs):
        counted.append(1)
        out = original(q, k, v, *args, **kwargs)
        if len(counted) - 1 != call:
            return out
        return change((v.transpose(1, 2) if kwargs.get("skip_reshape") else v).flatten(2), out)

    monkeypatch.setattr(module, "optimized_attention", attention)


# Where each transformer's attention is, which call of it is the middle block's to itself, and the latent's tokens.
TRANSFORMERS = {
    "audio, 3-D": (comfy.ldm.audio.dit, 2, 12),
    "image, 4-D": (comfy.ldm.modules.diffusionmodules.mmdit, 1, 16),
    "video, 5-D": (comfy.ldm.wan.model, 2, 12),
}


@RANKS
def test_pag_in_the_middle_block_of_a_transformer(kind, monkeypatch):
    patched, how = setting(kind)
    at = {**how, "sigma": 0.6}
    ours, plain = predict(pag(patched), **at), predict(patched, **at)
    c = predict(patched, cfg=1.0, **at)
    module, call, latent = TRANSFORMERS[kind]

    def passed_on(v, out):
        return torch.cat((out[:, :-latent], v[:, -latent:]), 1)

    with monkeypatch.context() as patch:
        overridden(patch, module, call, passed_on)
        bad = predict(patched, cfg=1.0, **at)
    assert distance(bad, c) > 1e-3
    assert distance(ours, plain + S * (c - bad)) < EXACT


def test_a_text_as_long_as_the_latent_is_not_taken_for_it():
    net, at = architecture(video), {"sigma": 0.6, "x": tensor(1, 1, 16, 3, 4, 4)}
    long = {**at, "positive": text(1, tokens=12), "negative": text(2, tokens=12)}
    other = {**at, "positive": text(1, tokens=11), "negative": text(2, tokens=11)}
    for how in (long, other):
        with_seg = seg(net, blocks="1", blur=10000.0)
        original, counted = comfy.ldm.wan.model.optimized_attention, []

        def attention(q, *args, counted=counted, original=original, **kwargs):
            counted.append(1)
            mean = q.unflatten(1, (3, 4)).mean(2, keepdim=True).expand(-1, -1, 4, -1).flatten(1, 2)
            return original(mean if len(counted) == 3 else q, *args, **kwargs)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(comfy.ldm.wan.model, "optimized_attention", attention)
            bad = predict(net, cfg=1.0, **how)
        expected = predict(net, **how) + S * (predict(net, cfg=1.0, **how) - bad)
        assert distance(predict(with_seg, **how), expected) < EXACT


def flux():
    size = {"in_channels": 16, "out_channels": 16, "patch_size": 2, "guidance_embed": False}
    return comfy.supported_models.Flux({"image_model": "flux", **SMALL, **TEXTS, **size})


# Where the attention of the blocks is, the shape of the latent, and the calls of the blocks that are named.
MORE_TRANSFORMERS = {
    "Flux, double": (flux, comfy.ldm.flux.math, "optimized_attention", (16, 6, 8), "1", 1),
    "Flux, single": (flux, comfy.ldm.flux.math, "optimized_attention", (16, 6, 8), "single 1", 3),
    "Chroma": (chroma, comfy.ldm.flux.math, "optimized_attention", (16, 6, 8), "single 0", 2),
    "Qwen": (qwen, comfy.ldm.qwen_image.model, "optimized_attention_masked", (16, 1, 6, 8), "1", 1),
    "HunyuanVideo": (hunyuan, comfy.ldm.flux.math, "optimized_attention", (16, 2, 6, 8), "single 0", 2),
}


@pytest.mark.parametrize("row", MORE_TRANSFORMERS.values(), ids=MORE_TRANSFORMERS)
def test_pag_seg_and_slg_on_more_transformers(row, monkeypatch):
    build, module, name, shape, block, call = row
    net, at = architecture(build), {"sigma": 0.7, "x": tensor(1, 2, *shape)}
    plain, c = predict(net, **at), predict(net, cfg=1.0, **at)
    latent = tensor(1, *shape).numel() // 16 // 4
    side = shape[-2] // 2, shape[-1] // 2

    def passed_on(q, v, attention):
        out = attention(q)
        return torch.cat((out[:, :-latent], v.transpose(1, 2).flatten(2)[:, -latent:]), 1)

    def mean(q, v, attention):
        frames = q[:, :, -latent:].unflatten(2, (-1, side[0] * side[1]))
        frames = frames.mean(3, keepdim=True).expand_as(frames).flatten(2, 3)
        return attention(torch.cat((q[:, :, :-latent], frames), 2))

    for ours, change in ((pag, passed_on), (seg, mean)):
        original, counted = getattr(module, name), []

        def attention(q, k, v, *args, original=original, counted=counted, change=change, **kwargs):
            counted.append(1)
            if len(counted) - 1 != call:
                return original(q, k, v, *args, **kwargs)
            return change(q, v, lambda q: original(q, k, v, *args, **kwargs))

        with monkeypatch.context() as patch:
            patch.setattr(module, name, attention)
            bad = predict(net, cfg=1.0, **at)
        assert distance(bad, c) > 1e-3
        assert distance(predict(ours(net, blocks=block), **at), plain + S * (c - bad)) < EXACT
    kind, _, index = block.rpartition(" ")
    theirs = SkipLayerGuidanceDiT.execute(net, S, 0.0, 1.0, *(("", index) if kind else (index, "")), 0.0).args[0]
    skipping = slg(net, blocks=block)
    assert distance(predict(skipping, **at), predict(theirs, **at)) < EXACT


def test_reference_pictures_in_the_sequence_are_left_alone(monkeypatch):
    net, original = architecture(flux), comfy.ldm.flux.math.optimized_attention
    at = {"sigma": 0.7, "x": tensor(1, 1, 16, 8, 8), "positive": text(1, reference_latents=[tensor(4, 1, 16, 8, 8)])}
    plain, c = predict(net, **at), predict(net, cfg=1.0, **at)
    ours = {sigma: predict(seg(net, blocks="1", blur=sigma), **at) for sigma in (0.7, 10000.0)}
    for sigma, result in ours.items():
        counted = []

        def attention(q, *args, counted=counted, sigma=sigma, **kwargs):
            counted.append(1)
            if len(counted) == 2:
                picture = q[:, :, 4:20].transpose(1, 2).flatten(2)
                picture = blurred(picture, {}, sigma).unflatten(2, (q.shape[1], -1)).transpose(1, 2)
                q = torch.cat((q[:, :, :4], picture, q[:, :, 20:]), 2)
            return original(q, *args, **kwargs)

        with monkeypatch.context() as patch:
            patch.setattr(comfy.ldm.flux.math, "optimized_attention", attention)
            bad = predict(net, cfg=1.0, **at)
        assert distance(bad, c) > 1e-3
        assert distance(result, plain + S * (c - bad)) < EXACT


@pytest.mark.parametrize("sigma", [0.7, 10000.0])
def test_seg_blurs_the_queries_of_the_picture_alone(sigma, monkeypatch):
    net, original = architecture(dit), comfy.ldm.modules.diffusionmodules.mmdit.optimized_attention
    ours, plain = predict(seg(net, blur=sigma), **AT_DIT), predict(net, **AT_DIT)
    counted = []

    def attention(q, *args, **kwargs):
        counted.append(1)
        if len(counted) == 2:
            q = torch.cat((q[:, :-16], blurred(q[:, -16:], {}, sigma)), 1)
        return original(q, *args, **kwargs)

    monkeypatch.setattr(comfy.ldm.modules.diffusionmodules.mmdit, "optimized_attention", attention)
    bad = predict(net, cfg=1.0, **AT_DIT)
    monkeypatch.undo()
    c = predict(net, cfg=1.0, **AT_DIT)
    assert distance(bad, c) > 1e-3
    assert distance(ours, plain + S * (c - bad)) < EXACT


def test_seg_blurs_the_frames_of_a_video_one_by_one():
    """Where all columns of every frame are alike, a blur along them alone is none."""
    queries = torch.arange(3.0).view(3, 1, 1).expand(3, 4, 4).reshape(1, 48, 1)
    assert torch.allclose(guidance.smooth_queries(queries, size=(3, 4, 4), sigma=1.0), queries)
    net, how = setting("video, 5-D")
    at = {**how, "sigma": 0.6}
    assert distance(predict(seg(net, blur=1.0), **at), predict(net, **at)) > 1e-4


# ---- skipped blocks


@pytest.mark.parametrize("cfg", [W, 1.0])
def test_slg_is_the_hosts(cfg):
    net = architecture(dit)
    theirs = predict(hosts_slg(net), cfg=cfg, **AT_DIT)
    ours = predict(slg(net, blocks="0, 2"), cfg=cfg, **AT_DIT)
    assert distance(theirs, predict(net, cfg=cfg, **AT_DIT)) > 1e-3
    assert distance(ours, theirs) < EXACT


def test_slg_rescales_every_sample_by_its_own_deviation():
    net, blocks = architecture(dit), "0, 2"
    for i in range(2):
        one = {**AT_DIT, "x": AT_DIT["x"][i : i + 1]}
        theirs = predict(hosts_slg(net, rescale=0.7), **one)
        assert distance(predict(slg(net, blocks=blocks, rescale=0.7), **one), theirs) < EXACT
    loud = {**AT_DIT, "x": AT_DIT["x"] * torch.tensor([1.0, 6.0]).view(2, 1, 1, 1)}
    together = predict(slg(net, blocks=blocks, rescale=0.7), **loud)
    apart = [predict(slg(net, blocks=blocks, rescale=0.7), **{**loud, "x": loud["x"][i : i + 1]}) for i in range(2)]
    assert distance(together, torch.cat(apart)) < EXACT
    assert distance(predict(hosts_slg(net, rescale=0.7), **loud), torch.cat(apart)) > 1e-3


def test_a_host_that_skips_no_block_of_a_unet_is_named(monkeypatch, said):
    monkeypatch.setattr(host, "skips_unet_blocks", lambda: False)
    for patched in (slg(model(), blocks="middle 0"), s2(model())):
        assert torch.equal(predict(patched), predict(model()))
        assert passes(patched, steps=2) == [2, 2]
    assert len([s for s in said() if "has no effect: this ComfyUI lets no node skip a block of a UNet" in s]) == 4
    assert distance(predict(slg(model(), skip="attention")), predict(model())) > 1e-3


def test_a_skipped_block_of_a_unet_hands_on_what_it_is_given(monkeypatch):
    need(UNET_BLOCKS)
    layer = model().model.diffusion_model.middle_block[1]
    ours, plain, c = (
        predict(slg(model(), blocks="middle 0")),
        predict(model()),
        alone(text(1)),
    )
    with monkeypatch.context() as patch:
        patch.setattr(layer, "forward", lambda x, *args, **kwargs: x)
        bad = alone(text(1))
    assert distance(bad, c) > 1e-3
    assert distance(ours, plain + S * (c - bad)) < EXACT


def test_a_skipped_attention_is_pag():
    changes = {"blocks": "middle 0", "skip": "attention"}
    assert torch.equal(predict(slg(model(), **changes)), predict(pag(model())))


def skipped_in(run_of, monkeypatch):
    """The names of the blocks that each pass of a run leaves out."""
    found = []
    original = pipeline.weak.patched

    def look(patch, chosen, *rest):
        found.append(list(chosen))
        return original(patch, chosen, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(pipeline.weak, "patched", look)
        run_of()
    return found


def test_random_blocks_are_others_in_every_call_the_same_in_every_run_and_never_the_first(monkeypatch):
    need(UNET_BLOCKS)
    patched = s2(model())
    how = {"steps": 8}
    first = skipped_in(lambda: sample(patched, **how), monkeypatch)
    assert first == skipped_in(lambda: sample(patched, **how), monkeypatch)
    assert len(first) == 8 and all(len(set(blocks)) == 2 for blocks in first)
    assert len({tuple(blocks) for blocks in first}) > 3
    assert ("input", 1) not in {block for blocks in first for block in blocks}
    other = s2(model(), seed=6)
    assert first != skipped_in(lambda: sample(other, **how), monkeypatch)
    linked = s2(model(), count=2.0, seed=5.0)
    assert first == skipped_in(lambda: sample(linked, **how), monkeypatch)


def test_random_blocks_leave_the_global_generators_alone():
    torch.manual_seed(1)
    random.seed(1)
    numpy.random.seed(1)
    before = torch.get_rng_state(), random.getstate(), numpy.random.get_state()[1].tolist()
    sample(s2(model()), steps=2)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert (random.getstate(), numpy.random.get_state()[1].tolist()) == before[1:]


# ---- what a term costs


TERMS = {"pag": pag, "seg": seg, "slg": slg, "s2": s2}
every_term = pytest.mark.parametrize("ours", TERMS.values(), ids=TERMS)


@every_term
def test_a_term_costs_one_pass_of_the_positive_where_it_counts(ours):
    if ours in (TERMS["slg"], TERMS["s2"]):
        need(UNET_BLOCKS)
    assert passes(ours(model())) == [2, 1] * 6
    assert passes(ours(model()), cfg=1.0) == [1, 1] * 6
    assert passes(ours(model(), start=0.2, end=0.7)) == [2, 2, 1, 2, 1, 2, 1, 2, 2]
    weights = guidance.Steps((0.0, 1.0, 0.0, 0.0, 2.0, 0.0))
    assert passes(ours(model(), scale=weights)) == [2, 2, 1, 2, 2, 2, 1, 2]


def test_a_term_does_not_evaluate_further_negatives_or_those_of_other_terms():
    assert passes(pag(BY_NAME["compose"].on(model()))) == [3, 1] * 6
    assert passes(seg(pag(model()))) == [2, 1, 1] * 6
    interval = BY_NAME["scheduled_cfg"].on(model(), scale=guidance.Interval(6.0, 1.0, 0.2, 0.7))
    assert passes(pag(interval)) == [1, 1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1]


def test_a_schedule_scales_the_term_step_by_step():
    scales, seen = (0.0, 1.0, 2.0, 0.0, 0.5, 3.0), []
    sample(watch(pag(model(), scale=guidance.Steps(scales)), seen))
    for args, scale in zip(seen, scales, strict=True):
        at = {"x": args["input"], "sigma": args["sigma"][0].item()}
        c, u = args["cond_denoised"], args["uncond_denoised"]
        bad = alone(text(1), with_attention(lambda q, v, plain, extra: v), **at)
        assert distance(args["denoised"], u + W * (c - u) + scale * (c - bad)) < EXACT


def test_the_report_counts_the_passes_of_a_term():
    words = report.report(pag(model(), start=0.0, end=0.5), 7.0, sigmas_of(model(), 6))
    assert "Added term:" in words and "Passes: 15 in place of 12" in words


def test_the_report_names_a_term_that_the_model_cannot_have():
    words = report.report(slg(model(), blocks="7-9"), 7.0, sigmas_of(model(), 6))
    assert "No effect on this model: Skip Layer Guidance (SLG, STG, S2)" in words
    assert "Passes: 12 in place of 12" in words


# ---- beside other stages and nodes


def test_terms_follow_the_combine_rule_and_precede_corrections():
    c, u = alone(text(1)), alone(text(2))
    bad = alone(text(1), with_attention(lambda q, v, plain, extra: v))
    combined = guidance.angle_domain(c, u, scale=W) + S * (c - bad)
    assert distance(predict(BY_NAME["adg"].on(pag(model()))), combined) < EXACT
    assert distance(predict(pag(BY_NAME["adg"].on(model()))), combined) < EXACT
    expected = guidance.dynamic_threshold(combined, percentile=0.99)
    assert distance(predict(stack(model(), "imagen", "pag", "adg")), expected) < EXACT


@pytest.mark.parametrize("before", [True, False], ids=["before ours", "after ours"])
def test_the_hosts_own_nodes_keep_working_beside_ours(before):
    def both(first, second, net):
        return second(first(net)) if before else first(second(net))

    at, net = AT_DIT, architecture(dit)
    for theirs, ours, patched, how in (
        (hosts_pag, pag, model(), {}),
        (hosts_pag, slg, model(), {}),
        (hosts_slg, pag, net, at),
        (hosts_slg, slg, net, at),
    ):
        plain = predict(patched, **how)
        added = predict(theirs(patched), **how) + predict(ours(patched), **how) - 2 * plain
        assert distance(predict(both(theirs, ours, patched), **how), plain + added) < EXACT


@pytest.mark.parametrize("before", [True, False], ids=["before ours", "after ours"])
def test_the_hosts_self_attention_guidance_keeps_working_beside_ours(before):
    def sag(patched):
        return SelfAttentionGuidance.execute(patched, 0.5, 2.0).args[0]

    x = {"x": noise(size=16) * 3.0}
    plain, c = predict(model(), **x), alone(text(1), **x)
    bad = alone(text(1), with_attention(lambda q, v, plain, extra: v), **x)
    ours = predict(pag(sag(model())) if before else sag(pag(model())), **x)
    assert distance(ours, predict(sag(model()), **x) + S * (c - bad)) < EXACT
    assert distance(ours, plain) > 1e-3


def test_a_pass_writes_into_no_option_of_the_host():
    kept = []

    def look(args):
        options = args["model_options"]
        kept.append((options, {k: dict(v) if isinstance(v, dict) else v for k, v in options.items()}))
        return args["denoised"]

    foreign = model().clone()
    foreign.set_model_attn1_replace(lambda q, k, v, extra: v * 0.5, "middle", 0, 0)
    foreign.set_model_sampler_post_cfg_function(look)
    patched = stack(foreign, "pag", "seg", "slg")
    replaced = patched.model_options["transformer_options"]["patches_replace"]["attn1"]
    before = dict(replaced)
    sample(patched, steps=2)
    assert replaced == before
    for options, copy in kept:
        assert {k: dict(v) if isinstance(v, dict) else v for k, v in options.items()} == copy
        attn1 = options["transformer_options"]["patches_replace"]["attn1"]
        assert attn1 == before and "wrappers" in options["transformer_options"]


def test_what_another_node_put_in_the_place_of_an_attention_is_what_is_perturbed():
    half = model().clone()
    half.set_model_attn1_replace(lambda q, k, v, extra: v * 0.5, "middle", 0, 0)
    bad = model().clone()
    bad.set_model_attn1_replace(lambda q, k, v, extra: v * (0.4 * 0.5 + 0.6), "middle", 0, 0)
    expected = predict(half) + S * (alone(text(1), half) - alone(text(1), bad))
    assert distance(predict(pag(half, strength=0.6)), expected) < EXACT


# ---- conditionings


POSITIVES = {
    "areas": [*text(1), *text(5, area=(4, 4, 2, 2))],
    "a mask": [*text(1, mask=HALF), *text(5, mask=1 - HALF)],
    "a LoRA hook": text(1, hooks=lora()),
    "a time range": [*text(1, start_percent=0.0, end_percent=0.5), *text(5, start_percent=0.5, end_percent=1.0)],
}


@pytest.mark.parametrize("positive", POSITIVES.values(), ids=POSITIVES)
def test_areas_hooks_and_time_ranges_count_as_they_do_for_the_hosts_own(positive):
    theirs = sample(hosts_pag(model()), positive=positive, steps=3)
    assert distance(sample(pag(model()), positive=positive, steps=3), theirs) < EXACT
    assert distance(sample(model(), positive=positive, steps=3), theirs) > 1e-3
    assert passes(pag(model()), positive=positive, steps=2) == passes(hosts_pag(model()), positive=positive, steps=2)


@pytest.mark.parametrize("before", [True, False], ids=["before ours", "after ours"])
def test_a_term_is_cut_into_the_same_context_windows(before):
    net = architecture(video)

    def skipping(patched):
        return slg(patched, blocks="1")

    ours = skipping(windowed(net)) if before else windowed(skipping(net))
    theirs = predict(hosts_slg(windowed(net), layers="1"), **FRAMES)
    assert distance(predict(ours, **FRAMES), theirs) < EXACT
    negatives = BY_NAME["compose"].on(ours)
    expected = theirs + predict(BY_NAME["compose"].on(windowed(net)), **FRAMES) - predict(windowed(net), **FRAMES)
    assert distance(predict(negatives, **FRAMES), expected) < EXACT


# ---- guiders


# Which prompt the term is made of, and by what it is multiplied on its way into the result.
GUIDERS = {
    "Basic Guider": (basic, 1, 1.0),
    "Perp-Neg Guider": (perp_neg(), 1, 1.0),
    "Dual CFG Guider": (dual("regular"), 4, 1.0),
    "Dual CFG Guider (nested)": (dual("nested"), 1, W),
    "Dual Model CFG Guider": (dual_model(), 1, 1.0),
}


@pytest.mark.parametrize(("make", "prompt", "factor"), GUIDERS.values(), ids=GUIDERS)
def test_a_term_acts_under_every_guider(make, prompt, factor):
    c, bad = alone(text(prompt)), alone(text(prompt), with_attention(lambda q, v, plain, extra: v))
    expected = predict(model(), make=make) + factor * S * (c - bad)
    assert distance(predict(pag(model()), make=make), expected) < EXACT


def test_under_a_basic_guider_a_window_and_a_schedule_follow_the_steps():
    assert passes(pag(model(), start=0.5, end=1.0), make=basic, steps=4) == [1, 1, 1, 1, 1, 1]
    off = guidance.Steps((0.0, 2.0, 0.0))
    assert passes(pag(model(), scale=off), make=basic, steps=3) == [1, 1, 1, 1]
    neutral = pag(model(), scale=0.0)
    assert torch.equal(sample(neutral, make=basic, steps=2), sample(model(), make=basic, steps=2))


def test_a_dual_model_at_weight_1_says_that_no_term_is_added(said):
    make = dual_model(cfg=1.0)
    assert torch.equal(sample(pag(model()), make=make, steps=2), sample(model(), make=make, steps=2))
    assert len([s for s in said() if "(PAG) has no effect at weight 1" in s]) == 1


@pytest.mark.parametrize("name", ["pag", "imagen", "tangential", "epsilon_scaling", "tsr"])
def test_dual_cfg_at_weights_of_1_says_that_it_has_nothing_to_add_to_or_to_correct(name, said):
    make, patched = dual("regular", 1.0, 1.0), BY_NAME[name].on(model())
    assert torch.equal(sample(patched, make=make, steps=2), sample(model(), make=make, steps=2))
    [node] = pipeline.stages.of(patched)
    assert len([s for s in said() if s.startswith(f"{node.node} has no effect at weights of 1")]) == 1


# ---- models that cannot


CANNOT = {
    "auto": (lambda: architecture(without_a_middle), pag, {}, "no block middle 0; it has input 1"),
    "too high": (model, pag, {"blocks": "7-9"}, "no block 7-9; it has input 1"),
    "of a transformer": (
        functools.partial(architecture, dit),
        seg,
        {"blocks": "middle 0"},
        "no block middle 0; it has double 0-2",
    ),
}


@pytest.mark.parametrize(("net", "ours", "changes", "why"), CANNOT.values(), ids=CANNOT)
def test_a_model_that_cannot_have_a_term_pays_nothing_and_is_told_why(net, ours, changes, why, said):
    how = {"x": AT_DIT["x"]} if "double" in why else {}
    patched = ours(net(), **changes)
    assert torch.equal(sample(patched, steps=2, **how), sample(net(), steps=2, **how))
    assert passes(patched, steps=2, **how) == passes(net(), steps=2, **how)
    found = [s for s in said() if "has no effect: the model has " + why in s]
    assert len(found) == 2 and len(set(found)) == 1  # once in each of the two runs


def test_an_architecture_without_patches_is_named(said, monkeypatch):
    monkeypatch.setattr(pipeline.weak.blocks, "TRANSFORMERS", {})
    net, how = architecture(dit), {"x": AT_DIT["x"], "steps": 2}
    patched = slg(pag(net), blocks="1")
    assert torch.equal(sample(patched, **how), sample(net, **how))
    assert passes(patched, **how) == [4, 4] == passes(net, **how)
    assert [s for s in said() if "(PAG) has no effect" in s and "cannot reach the attention" in s]
    assert [s for s in said() if "S2) has no effect" in s and "cannot reach the blocks" in s]


def test_blocks_that_the_model_lacks_are_named_and_the_others_used(said):
    net = architecture(dit)
    ours = predict(slg(net, blocks="1-4"), **AT_DIT)
    assert [s for s in said() if "the model has no block double 3, 4; the others are used" in s]
    assert distance(ours, predict(hosts_slg(net, layers="1, 2"), **AT_DIT)) < EXACT


def test_an_attention_that_is_never_called_costs_one_pass_and_is_named(said, monkeypatch):
    block = model().model.diffusion_model.middle_block[1]
    monkeypatch.setattr(block, "forward", lambda x, *args, **kwargs: x)
    batches = passes(pag(model()), steps=3)
    assert batches == [2, 1, 2, 2]
    assert len([s for s in said() if "never calls anything in middle 0" in s]) == 1


def test_a_term_that_is_not_finite_is_left_out_of_its_own_sample_and_named(said):
    def break_one(apply_model, args):
        out = apply_model(args["input"], args["timestep"], **args["c"])
        if len(args["cond_or_uncond"]) == 1:
            out = out.clone()
            out[1, 0, 0, 0] = float("nan")
        return out

    broken = model().clone()
    broken.set_model_unet_function_wrapper(break_one)
    how = {"x": noise(3), "steps": 1}
    ours, without, whole = sample(pag(broken), **how), sample(model(), **how), sample(pag(model()), **how)
    assert distance(ours[1], without[1]) < 1e-5
    assert torch.equal(ours[0], whole[0]) and torch.equal(ours[2], whole[2])
    assert len([s for s in said() if "NaN or infinity" in s]) == 1


# ---- several latents in one


def test_the_parts_of_a_packed_latent_are_rescaled_on_their_own():
    seen = []
    patched = pag(architecture(packed), rescale=0.7)
    sample_pair(watch(patched, seen), steps=1)
    plain = []
    sample_pair(watch(pag(architecture(packed)), plain), steps=1)
    split = functools.partial(comfy.utils.unpack_latents, latent_shapes=[part.shape for part in pair().unbind()])
    parts = zip(split(seen[0]["denoised"]), split(plain[0]["denoised"]), split(plain[0]["cond_denoised"]), strict=True)
    for rescaled, unscaled, cond in parts:
        assert distance(rescaled, unscaled * (1 + 0.7 * (cond.std() / unscaled.std() - 1))) < EXACT


# ---- self-attention guidance


def hosts_sag(patched, scale=0.7, sigma=2.0):
    return SelfAttentionGuidance.execute(patched, scale, sigma).args[0]


def sag(patched, **changes):
    return BY_NAME["sag"].on(patched, **changes)


LARGE = {"x": noise(2, size=16) * 3.0}


def test_sag_is_the_hosts_where_that_is_right():
    theirs = predict(hosts_sag(model()), **LARGE)
    assert distance(theirs, predict(model(), **LARGE)) > 1e-3
    assert distance(predict(sag(model()), **LARGE), theirs) < EXACT
    assert passes(sag(model()), x=noise(size=16)) == [2, 1] * 6


@pytest.mark.parametrize("kind", ["eps", "flow"])
@pytest.mark.parametrize("cfg", [W, 1.0])
def test_sag_keeps_the_noise_of_either_family_and_needs_no_negative(kind, cfg):
    sigma = 0.7 if kind == "flow" else 3.0
    at = {"sigma": sigma, "x": noise(2, size=16) * sigma}
    term = literal_sag(text(2 if cfg == W else 1), model(kind), 1 - sigma if kind == "flow" else 1.0, **at)
    expected = predict(model(kind), cfg=cfg, **at) + 0.7 * term
    assert distance(predict(sag(model(kind)), cfg=cfg, **at), expected) < EXACT
    if kind == "flow" and cfg == W:
        assert distance(predict(hosts_sag(model(kind)), **at), expected) > 1e-3


SAG_GUIDERS = {
    "Basic Guider": (basic, 1, 1.0),
    "Perp-Neg Guider": (perp_neg(), 7, 1.0),
    "Dual CFG Guider": (dual("regular"), 2, 1.0),
    "Dual CFG Guider (nested)": (dual("nested"), 4, W),
    "Dual Model CFG Guider": (dual_model(), 1, 1.0),
}


@pytest.mark.parametrize(("make", "prompt", "factor"), SAG_GUIDERS.values(), ids=SAG_GUIDERS)
def test_sag_finds_the_right_attention_under_every_guider(make, prompt, factor):
    at = {"sigma": 3.0, **LARGE}
    expected = predict(model(), make=make, **at) + 0.7 * factor * literal_sag(text(prompt), model(), **at)
    assert distance(predict(sag(model()), make=make, **at), expected) < EXACT


def test_sag_finds_it_beside_further_negatives_and_other_terms():
    at = {"sigma": 3.0, **LARGE}
    term = 0.7 * literal_sag(text(2), model(), **at)
    for others in (BY_NAME["compose"].on, pag, hosts_pag):
        expected = predict(others(model()), **at) + term
        assert distance(predict(sag(others(model())), **at), expected) < EXACT
        assert distance(predict(others(sag(model())), **at), expected) < EXACT


def test_sag_leaves_the_first_pass_as_it_is():
    seen, plain = [], []
    sample(watch(sag(model()), seen), steps=1)
    sample(watch(model(), plain), steps=1)
    for name in ("cond_denoised", "uncond_denoised"):
        assert torch.equal(seen[0][name], plain[0][name])


def test_sag_on_a_transformer():
    net = architecture(dit)
    ours = predict(sag(net), **AT_DIT)
    assert torch.isfinite(ours).all() and distance(ours, predict(net, **AT_DIT)) > 1e-4
    assert passes(sag(net), x=AT_DIT["x"], steps=2) == [4, 2] * 2


def test_sag_says_where_it_cannot_see_the_attention(said):
    areas = {"positive": text(1), "negative": [*text(2, mask=HALF), *text(5, mask=1 - HALF)]}
    assert torch.equal(sample(sag(model()), steps=2, **areas), sample(model(), steps=2, **areas))
    assert len([s for s in said() if "(SAG) has no effect: its attention cannot be seen" in s]) == 1
    net, how = setting("video, 5-D")
    assert torch.equal(sample(sag(net), steps=2, **how), sample(net, steps=2, **how))
    assert [s for s in said() if "(SAG) has no effect: it works on single pictures" in s]


# ---- autoguidance


def worse(kind="eps"):
    return weaker(model(kind))


def autoguided(patched, **changes):
    return BY_NAME["autoguidance"].on(patched, **changes)


@pytest.mark.parametrize("kind", ["eps", "flow"])
@pytest.mark.parametrize("cfg", [W, 1.0])
def test_autoguidance_is_the_formula(kind, cfg):
    sigma = 0.7 if kind == "flow" else 3.0
    at = {"sigma": sigma, "x": noise(2) * sigma}
    c, bad = alone(text(1), patched=model(kind), **at), alone(text(1), patched=worse(kind), **at)
    assert distance(bad, c) > 1e-2
    expected = predict(model(kind), cfg=cfg, **at) + S * (c - bad)
    assert distance(predict(autoguided(model(kind)), cfg=cfg, **at), expected) < EXACT


def test_autoguidance_alone_is_the_papers_extrapolation():
    c, bad = alone(text(1)), alone(text(1), patched=worse())
    ours = predict(autoguided(model(), scale=1.05), cfg=1.0)
    assert distance(ours, torch.lerp(bad, c, 2.05)) < EXACT


@RANKS
def test_autoguidance_at_every_rank(kind):
    patched, how = setting(kind)
    at = {**how, "sigma": 0.6}
    c, bad = (predict(net, cfg=1.0, **at) for net in (patched, weaker(patched)))
    assert distance(predict(autoguided(patched), **at), predict(patched, **at) + S * (c - bad)) < EXACT


@pytest.mark.parametrize(("make", "prompt", "factor"), GUIDERS.values(), ids=GUIDERS)
def test_autoguidance_under_every_guider(make, prompt, factor):
    c, bad = alone(text(prompt)), alone(text(prompt), patched=worse())
    expected = predict(model(), make=make) + factor * S * (c - bad)
    assert distance(predict(autoguided(model()), make=make), expected) < EXACT


def test_the_weaker_model_costs_one_pass_where_it_counts_and_is_not_loaded_where_it_never_does(monkeypatch):
    counted, loaded = [], []
    second = count_passes(worse(), counted)
    original = comfy.model_management.load_models_gpu
    monkeypatch.setattr(
        comfy.model_management, "load_models_gpu", lambda m, **how: (loaded.append(list(m)), original(m, **how))
    )
    windowed_term = autoguided(model(), weak_model=second, start=0.2, end=0.7)
    assert passes(windowed_term) == [2] * 6 and counted == [1] * 3
    assert [second in models for models in loaded] == [True]
    assert all(len(models) == 2 for models in loaded)
    counted.clear(), loaded.clear()
    for off in ({"scale": 0.0}, {"start": 0.4, "end": 0.4}):
        sample(autoguided(model(), weak_model=second, **off), steps=2)
    assert not counted and [len(models) for models in loaded] == [1, 1]


def test_the_weaker_model_is_released_after_the_run_and_after_an_error():
    second = worse()
    patched = autoguided(model(), weak_model=second)
    sample(patched, steps=1)
    assert second.model.current_patcher is None

    def fail(apply_model, args):
        raise RuntimeError("out of memory")

    failing = second.clone()
    failing.set_model_unet_function_wrapper(fail)
    with pytest.raises(RuntimeError, match="out of memory"):
        sample(autoguided(model(), weak_model=failing), steps=1)
    assert second.model.current_patcher is None and model().model.current_patcher is None
    assert torch.equal(sample(patched, steps=1), sample(autoguided(model()), steps=1))


def test_the_weaker_model_keeps_its_own_patches():
    second = worse().clone()
    second.set_model_attn1_replace(lambda q, k, v, extra: v, *MIDDLE)
    c, bad = alone(text(1)), alone(text(1), patched=second)
    assert distance(bad, alone(text(1), patched=worse())) > 1e-3
    expected = predict(model()) + S * (c - bad)
    assert distance(predict(autoguided(model(), weak_model=second)), expected) < EXACT


@pytest.mark.parametrize("build", [worse, lambda: model().clone()], ids=["another model", "the model itself"])
def test_the_weaker_model_sees_the_sigmas_of_the_run(build):
    seen = []

    def note(apply_model, args):
        seen.append(args["c"]["transformer_options"]["sample_sigmas"])
        return apply_model(args["input"], args["timestep"], **args["c"])

    second = build().clone()
    second.set_model_unet_function_wrapper(note)
    sigmas = sigmas_of(model(), 5)[:4]
    sample(autoguided(model(), weak_model=second), sigmas=sigmas)
    assert len(seen) == 3 and all(torch.equal(of_call.cpu(), sigmas) for of_call in seen)


def test_the_model_itself_with_other_patches_is_not_loaded_twice():
    second = model().clone()
    second.set_model_attn1_replace(lambda q, k, v, extra: v, *MIDDLE)
    assert distance(predict(autoguided(model(), weak_model=second)), predict(pag(model()))) < EXACT
    same = autoguided(model(), weak_model=model())
    assert distance(predict(same), predict(model())) < 1e-5
    hooked = text(1, hooks=lora())
    expected = predict(pag(model()), positive=hooked)
    assert distance(predict(autoguided(model(), weak_model=second), positive=hooked), expected) < EXACT


def test_areas_and_controls_reach_the_weaker_model():
    control = control_net().set_cond_hint(tensor(8, 1, 3, 64, 64), 0.3)
    positive = node_helpers.conditioning_set_values([*text(1), *text(5, area=(4, 4, 2, 2))], {"control": control})
    c, bad = (predict(net, cfg=1.0, positive=positive) for net in (model(), worse()))
    assert distance(bad, predict(worse(), cfg=1.0, positive=text(1))) > 1e-2
    expected = predict(model(), positive=positive) + S * (c - bad)
    assert distance(predict(autoguided(model()), positive=positive), expected) < EXACT


def test_the_weaker_model_is_cut_into_the_same_context_windows():
    net = architecture(video)
    c, bad = (alone(text(1), patched=windowed(patched), **FRAMES) for patched in (net, weaker(net)))
    expected = predict(windowed(net), **FRAMES) + S * (c - bad)
    for ours in (autoguided(windowed(net)), windowed(autoguided(net))):
        assert distance(predict(ours, **FRAMES), expected) < EXACT


def test_a_lora_hook_acts_on_the_first_model_alone():
    positive = text(1, hooks=lora())
    c, bad = predict(model(), cfg=1.0, positive=positive), alone(text(1), patched=worse())
    expected = predict(model(), positive=positive) + S * (c - bad)
    assert distance(predict(autoguided(model()), positive=positive), expected) < EXACT


def test_stages_on_the_weaker_model_are_named(said):
    sample(autoguided(model(), weak_model=pag(worse())), steps=1)
    assert len([s for s in said() if "(PAG) on the weak_model of Autoguidance has no effect" in s]) == 1


def lowered(patched):
    key = "diffusion_model.middle_block.1.transformer_blocks.0.attn2.to_v.weight"
    patched = patched.clone()
    patched.add_patches({key: ("diff", (tensor(78, *model().model.state_dict()[key].shape),))}, 0.1)
    return patched


@pytest.mark.parametrize(
    ("second", "why"),
    [
        (lambda: lowered(model()), "is the model itself under other LoRAs.*copy of the file"),
        (lambda: model("flow"), "in another way than the model.*same family"),
        (lambda: architecture(dit), "SD3 latents.*same family"),
    ],
    ids=["LoRA", "flow", "latents"],
)
def test_a_weaker_model_that_does_not_go_with_the_model_is_refused(second, why):
    patched = autoguided(model(), weak_model=second())
    with pytest.raises(ValueError, match=f"Autoguidance, input weak_model: .*{why}"):
        sample(patched, steps=1)
    assert torch.equal(sample(model(), steps=1), sample(autoguided(model(), scale=0.0), steps=1))
