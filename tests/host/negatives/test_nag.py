"""Normalized Attention Guidance inside the host's networks, against the same written out in their attention."""

import dataclasses

import comfy.ldm.audio.dit
import comfy.ldm.cosmos.predict2
import comfy.ldm.flux.math
import comfy.ldm.lumina.model
import comfy.ldm.modules.attention
import comfy.ldm.modules.diffusionmodules.mmdit
import comfy.ldm.qwen_image.model
import comfy.ldm.wan.model
import pytest
import torch
from architectures import (
    video_from_picture,
)
from nag_networks import (
    ALPHA,
    EXACT,
    FLUX,
    LTX,
    LUMINA,
    NETS,
    QWEN,
    SCALE,
    TAU,
    UNET,
    VIDEO,
    Z_IMAGE,
    Net,
    every_net,
    on,
)
from tiny import (
    built,
    distance,
    predict,
    tensor,
)

# ---- the reference: two rows, of which one reads the other text, and attention written out


def written_out(lengths, net, scale=SCALE, tau=TAU, alpha=ALPHA, norm=1):
    """Attention over rows of which the first half read the prompt and the second the negative, of these lengths."""
    longest = max(lengths)
    start = -(-longest // net.step) * net.step if net.tokens else 0

    def attention(q, k, v, heads, mask=None, skip_reshape=False, **how):
        if not skip_reshape:
            q, k, v = (t.flatten(2).unflatten(-1, (heads, -1)).transpose(1, 2) for t in (q, k, v))
        k, v = (t.repeat_interleave(heads // t.shape[1], dim=1) for t in (k, v))
        keys, queries, rows = k.shape[-2], q.shape[-2], len(q)
        guides = keys == start + net.tokens if net.tokens else keys == longest and queries != keys
        logits = q.double() @ k.double().transpose(-1, -2) / q.shape[-1] ** 0.5
        if mask is not None:
            logits = logits + mask.double().reshape(rows, 1, -1, keys)
        for row in range(rows if guides or keys == start else 0):
            logits[row, :, :, lengths[row >= rows // 2] : longest] = -torch.inf
        z = (logits.softmax(-1) @ v.double()).transpose(1, 2).flatten(2)
        for row in range(rows // 2 if guides else 0):
            for token in range(start, queries):
                ours, other = z[row, token].clone(), z[row + rows // 2, token].clone()
                pushed = scale * ours - (scale - 1) * other
                ratio = pushed.norm(p=norm) / ours.norm(p=norm)
                capped = pushed * min(ratio, tau) / ratio
                z[row, token] = z[row + rows // 2, token] = alpha * capped + (1 - alpha) * ours
        return z.to(v.dtype)

    return attention


def called_with(net, positive, **how):
    """What the host calls the model with for a conditioning."""
    seen = []

    def note(apply_model, args):
        seen.append(args)
        return apply_model(args["input"], args["timestep"], **args["c"])

    patched = net.get().clone()
    patched.set_model_unet_function_wrapper(note)
    predict(patched, **net.at(positive=positive, **how))
    return seen[0]


def reference(net, monkeypatch, positive, negative, **how):
    knobs = {key: how.pop(key) for key in ("scale", "tau", "alpha", "norm") if key in how}
    own, other = (called_with(net, conditioning, **how) for conditioning in (positive, negative))
    texts = [args["c"]["c_crossattn"] for args in (own, other)]
    lengths = [t.shape[1] for t in texts]
    texts = [torch.nn.functional.pad(t, (0, 0, 0, max(lengths) - t.shape[1])) for t in texts]
    rows = {k: torch.cat((v, v)) if torch.is_tensor(v) else v for k, v in own["c"].items()}
    if net.masked:
        masks = [args["c"]["attention_mask"] for args in (own, other)]
        rows["attention_mask"] = torch.cat([torch.nn.functional.pad(m, (0, max(lengths) - m.shape[1])) for m in masks])
    monkeypatch.setattr(net.module, net.attention, written_out(lengths, net, **knobs))
    with torch.no_grad():
        x, t = (torch.cat((v, v)) for v in (own["input"], own["timestep"]))
        out = net.get().model.apply_model(x, t, **{**rows, "c_crossattn": torch.cat(texts)})
    monkeypatch.undo()
    ours, theirs = out.chunk(2)
    assert distance(ours, theirs) < EXACT  # both go on with the same picture
    return ours.cpu()


def assert_written_out(net, monkeypatch, tokens, seed=3):
    positive, negative = net.text(1), net.text(seed, tokens)
    expected = reference(net, monkeypatch, positive, negative)
    got = predict(on(net, negative=negative), **net.at(positive=positive))
    assert distance(got, expected) < EXACT
    assert distance(got, predict(net.get(), **net.at())) > 0.01


@every_net
def test_a_pass_is_what_is_written_out(net, monkeypatch):
    assert_written_out(net, monkeypatch, 4)


@pytest.mark.parametrize(("net", "tokens"), [(LTX, 4), (QWEN, 4), (QWEN, 7)], ids=lambda v: getattr(v, "name", v))
def test_a_mask_of_either_text_is_heeded(net, tokens, monkeypatch):
    assert_written_out(dataclasses.replace(net, masked=True), monkeypatch, tokens, seed=4)


@pytest.mark.parametrize("net", NETS, ids=lambda net: net.name)
@pytest.mark.parametrize("tokens", [3, 9])
def test_a_text_of_another_length_is_read_as_it_is(net, tokens, monkeypatch):
    assert_written_out(net, monkeypatch, tokens)


@pytest.mark.parametrize("net", [LUMINA, Z_IMAGE], ids=lambda net: net.name)
@pytest.mark.parametrize(("prompt", "negative"), [(9, 9), (9, 3), (6, 5), (4, 1)])
def test_one_sequence_of_text_and_picture(net, prompt, negative, monkeypatch):
    positive, other = net.text(1, prompt), net.text(3, negative)
    expected = reference(net, monkeypatch, positive, other)
    got = predict(on(net, negative=other), **net.at(positive=positive))
    assert distance(got, expected) < EXACT
    assert distance(got, predict(net.get(), **net.at(positive=positive))) > 0.01


PRESETS = {
    "Flux, video": {"tau": 2.5, "alpha": 0.25},
    "SD3.5": {"tau": 2.5, "alpha": 0.125},
    "SD1.5, SDXL": {"tau": 2.5, "alpha": 0.5},
    "Flux, as in the authors' code": {"tau": 2.5, "alpha": 0.25, "norm": 2},
}


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("net", [UNET, FLUX], ids=lambda net: net.name)
def test_the_presets_are_the_published_numbers(net, preset, monkeypatch):
    expected = reference(net, monkeypatch, net.text(1), net.text(3), scale=20.0, **PRESETS[preset])
    assert distance(predict(on(net, scale=20.0, preset={"preset": preset}), **net.at()), expected) < EXACT


def test_the_picture_that_a_wan_model_reads_beside_its_text_is_left_as_it_is(monkeypatch):
    """An image-to-video model attends to its first frame and to its text apart."""
    net = Net("Wan, from a picture", built(video_from_picture), VIDEO, comfy.ldm.wan.model)
    seen = tensor(41, 1, 5, 1280)

    def with_picture(apply_model, args):
        rows = seen.repeat(len(args["input"]), 1, 1)
        frame = torch.zeros_like(args["input"]).repeat(1, 2, 1, 1, 1)[:, :20]
        return apply_model(args["input"], args["timestep"], **{**args["c"], "clip_fea": rows, "c_concat": frame})

    patched = net.get().clone()
    patched.set_model_unet_function_wrapper(with_picture)
    free = predict(patched, **net.at())
    assert distance(predict(on(net, patched, negative=net.text(1)), **net.at()), free) < 1e-5
    [[prompt, options]] = net.text(1)
    twice = [[prompt.repeat(1, 2, 1), options]]
    assert distance(predict(on(net, patched, negative=twice), **net.at()), free) < 1e-4
    got = predict(on(net, patched), **net.at())
    assert distance(got, free) > 1e-3
    own = called_with(net, net.text(1))
    other = called_with(net, net.text(3))
    rows = {"c_crossattn": torch.cat([args["c"]["c_crossattn"] for args in (own, other)])}
    rows |= {"clip_fea": seen.repeat(2, 1, 1), "c_concat": torch.zeros(2, 20, *VIDEO.shape[2:])}
    rows["transformer_options"] = own["c"]["transformer_options"]
    monkeypatch.setattr(net.module, net.attention, written_out((4, 4), net))
    with torch.no_grad():
        out = net.get().model.apply_model(own["input"].repeat(2, 1, 1, 1, 1), own["timestep"].repeat(2), **rows)
    assert distance(got, out[:1].cpu()) < EXACT
