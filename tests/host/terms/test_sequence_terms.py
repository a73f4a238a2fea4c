"""Added terms on NextDiT (Lumina 2, Z-Image), whose blocks run over one sequence: text first, then the picture.

The weaker model is made by other means: a block's attention written out, with its map or its queries changed, or a
block that returns what it is given.
"""

import functools

import comfy.supported_models
import pytest
import torch
import torch.nn.functional as F
from architectures import lumina, z_image
from attached import HALF
from comfy.ldm.flux.math import apply_rope
from comfy.ldm.modules.attention import optimized_attention_masked
from literal_sag import literal_sag
from methods import BY_NAME
from other_nodes import after_blocks, by_return, in_place
from tiny import architecture, distance, passes, predict, sample, tensor, text

S = 2.0
EXACT = 1e-4
DEPTH = 4


def deeper_lumina():
    return comfy.supported_models.Lumina2({**lumina().unet_config, "n_layers": DEPTH})


def deeper_z_image():
    return comfy.supported_models.ZImage({**z_image().unet_config, "n_layers": DEPTH})


NETS = {"Lumina 2": (deeper_lumina, 6), "Z-Image": (deeper_z_image, 8)}  # and where the picture begins after 6 tokens
every_net = pytest.mark.parametrize(("build", "start"), NETS.values(), ids=NETS)
HEIGHT, WIDTH = 3, 5  # of the map of tokens: 15, which Z-Image fills up to 16
AT = {
    "sigma": 0.7,
    "x": tensor(1, 2, 16, 2 * HEIGHT, 2 * WIDTH),
    "positive": text(1, tokens=6),
    "negative": text(2, tokens=4),
}


def on(name, net, **changes):
    return BY_NAME[name].on(net, scale=S, **changes)


def layers(net):
    return net.model.diffusion_model.layers


# ---- weaker models


def same(t):
    return t


def attend(attention, queries, attention_map, x, mask, freqs_cis, transformer_options):
    """The attention of a block, written out: queries (B, heads, N, D) and map (B, heads, N, N) can be changed."""
    sizes = [count * attention.head_dim for count in (attention.n_local_heads, *[attention.n_local_kv_heads] * 2)]
    q, k, v = (t.unflatten(-1, (-1, attention.head_dim)) for t in attention.qkv(x).split(sizes, -1))
    q, k = apply_rope(attention.q_norm(q), attention.k_norm(k), freqs_cis)
    q, k, v = (t.repeat_interleave(attention.n_local_heads // t.shape[2], 2).transpose(1, 2) for t in (q, k, v))
    a = (queries(q) @ k.transpose(2, 3) / attention.head_dim**0.5).softmax(-1)
    return attention.out((attention_map(a) @ v).transpose(1, 2).flatten(2))


def look_at_themselves(strength, start, a):
    """The map with the rows of the picture's own tokens (nearly) those of the identity."""
    a = a.clone()
    rows = slice(start, start + HEIGHT * WIDTH)
    a[:, :, rows] = (1 - strength) * a[:, :, rows] + strength * torch.eye(a.shape[-1])[rows]
    return a


def blur(sigma, q):
    """The tokens of a map (B, heads, height x width, D), as in the authors' code but with taps for either side."""
    if sigma > 9999:
        return q.mean(2, keepdim=True).expand_as(q)
    image = q.permute(0, 1, 3, 2).reshape(-1, 1, HEIGHT, WIDTH)
    for side, turned in ((HEIGHT, (0, 1)), (WIDTH, (1, 0))):
        most = -int(-6 * sigma // 1)
        taps = min(most + 1 - most % 2, side + 1 - side % 2)
        at = torch.arange(taps) - taps // 2
        line = torch.exp(-0.5 * (at / sigma) ** 2)
        pad = [taps // 2 * t for t in turned for _ in range(2)]
        kernel = (line / line.sum()).view(1, 1, *((taps, 1) if turned == (0, 1) else (1, taps)))
        image = F.conv2d(F.pad(image, pad, mode="reflect"), kernel)
    return image.view(*q.shape[:2], q.shape[3], -1).transpose(2, 3)


def blurred(sigma, start, q):
    q, tokens = q.clone(), slice(start, start + HEIGHT * WIDTH)
    q[:, :, tokens] = blur(sigma, q[:, :, tokens])
    return q


def weaker(net, indices, start, queries=None, attention_map=None, **at):
    """D of the positive where the attention of these blocks is written out with a change."""
    found = queries and functools.partial(queries, start), attention_map and functools.partial(attention_map, start)
    with pytest.MonkeyPatch.context() as patch:
        for index in indices:
            attention = layers(net)[index].attention
            patch.setattr(attention, "forward", functools.partial(attend, attention, *(c or same for c in found)))
        return predict(net, cfg=1.0, **at)


def without(net, indices, **at):
    """D of the positive where these blocks return what they are given."""
    with pytest.MonkeyPatch.context() as patch:
        for index in indices:
            patch.setattr(layers(net)[index], "forward", lambda x, *args, **how: x)
        return predict(net, cfg=1.0, **at)


def adds_the_term(ours, net, bad, cfg=5.0, at=AT):
    c = predict(net, cfg=1.0, **at)
    assert distance(bad, c) > 1e-3
    expected = predict(net, cfg=cfg, **at) + S * (c - bad)
    assert distance(predict(ours, cfg=cfg, **at), expected) < EXACT


# ---- the terms


@every_net
def test_the_attention_written_out_is_the_hosts(build, start):
    net = architecture(build)
    assert distance(weaker(net, range(DEPTH), start, **AT), predict(net, cfg=1.0, **AT)) < 1e-5


@every_net
@pytest.mark.parametrize("cfg", [5.0, 1.0])
@pytest.mark.parametrize(("blocks", "indices"), [("auto", [2]), ("0", [0]), ("1, 3", [1, 3])])
@pytest.mark.parametrize("strength", [1.0, 0.6])
def test_pag_has_the_picture_look_at_itself(build, start, cfg, blocks, indices, strength):
    net = architecture(build)
    bad = weaker(net, indices, start, attention_map=functools.partial(look_at_themselves, strength), **AT)
    adds_the_term(on("pag", net, blocks=blocks, strength=strength), net, bad, cfg)


@every_net
@pytest.mark.parametrize(("blocks", "indices"), [("auto", [2]), ("0, 1", [0, 1])])
@pytest.mark.parametrize("sigma", [0.5, 4.0, 10000.0])
def test_seg_blurs_the_queries_of_the_picture(build, start, blocks, indices, sigma):
    net = architecture(build)
    bad = weaker(net, indices, start, queries=functools.partial(blurred, sigma), **AT)
    adds_the_term(on("seg", net, blocks=blocks, blur=sigma), net, bad)


SKIPS = {"the first": "0", "one": "2", "the last": "3", "some": "0, 2", "neighbours": "0-2", "all": "0-3"}


@every_net
@pytest.mark.parametrize("cfg", [5.0, 1.0])
@pytest.mark.parametrize("blocks", SKIPS.values(), ids=SKIPS)
def test_slg_leaves_blocks_out(build, start, cfg, blocks):
    net = architecture(build)
    first, _, last = blocks.partition("-")
    indices = range(int(first), int(last) + 1) if last else [int(i) for i in blocks.split(",")]
    adds_the_term(on("slg", net, blocks=blocks), net, without(net, indices, **AT), cfg)


@every_net
def test_slg_of_the_attention_alone_is_pag(build, start):
    net = architecture(build)
    assert torch.equal(
        predict(on("slg", net, blocks="1", skip="attention"), **AT), predict(on("pag", net, blocks="1"), **AT)
    )


@every_net
def test_s2_leaves_out_any_block_but_the_first(build, start):
    net = architecture(build)
    skipped = [without(net, [i], **AT) for i in range(DEPTH)]
    c, plain = predict(net, cfg=1.0, **AT), predict(net, **AT)
    found = set()
    for seed in range(12):
        bad = c - (predict(on("s2", net, count=1, seed=seed), **AT) - plain) / S
        found |= {i for i, candidate in enumerate(skipped) if distance(bad, candidate) < EXACT}
    assert found == {1, 2, 3}


@every_net
def test_sag_sees_what_the_picture_attends_to(build, start):
    net, side = architecture(build), 9
    at, negative = {"x": tensor(6, 2, 16, 2 * side, 2 * side), "sigma": 0.7}, text(2, tokens=6)

    def mass_of(prompt, patched, **how):
        kept, picture = [], slice(start, start + side**2)

        def keep(start, a):
            kept.append(a[:, :, picture, picture].mean(1).sum(1))
            return a

        d = weaker(patched, [2], start, attention_map=keep, **{**how, "positive": prompt})
        return d, kept[0] / kept[0].mean(1, keepdim=True)

    expected = predict(net, **at, negative=negative) + 0.7 * literal_sag(negative, net, 0.3, seen=mass_of, **at)
    assert distance(predict(BY_NAME["sag"].on(net), **at, negative=negative), expected) < EXACT


# ---- what it costs, and what it leaves behind


TERMS = {"pag": {}, "seg": {}, "slg": {"blocks": "0, 2"}, "s2": {}}
every_term = pytest.mark.parametrize(("name", "changes"), TERMS.items(), ids=TERMS)
RUN = {"x": AT["x"], "positive": AT["positive"], "negative": text(2, tokens=6), "steps": 3}


@every_net
@every_term
def test_a_term_costs_one_pass_of_the_positive_and_nothing_where_it_is_off(build, start, name, changes):
    net = architecture(build)
    assert passes(on(name, net, **changes), **RUN) == [4, 2] * 3
    off = [{"scale": 0.0}, *({"pag": [{"strength": 0.0}], "seg": [{"blur": 0.0}]}.get(name, []))]
    for neutral in off:
        patched = BY_NAME[name].on(net, **{"scale": S, **changes, **neutral})
        assert passes(patched, **RUN) == [4] * 3
        assert torch.equal(sample(patched, **RUN), sample(net, **RUN))


@every_net
@every_term
def test_a_sample_does_not_depend_on_its_neighbours_nor_a_run_on_the_last(build, start, name, changes):
    net = architecture(build)
    patched, plain = on(name, net, **changes), sample(net, **RUN)
    first = sample(patched, **RUN)
    assert distance(first, plain) > 1e-3
    assert torch.equal(sample(patched, **RUN), first) and torch.equal(sample(net, **RUN), plain)
    apart = [sample(patched, **{**RUN, "x": RUN["x"][i : i + 1]}) for i in range(2)]
    assert distance(first, torch.cat(apart)) < EXACT


@every_net
@every_term
def test_a_pass_writes_into_no_option_and_no_tensor_of_the_host(build, start, name, changes):
    kept, net = [], architecture(build).clone()
    net.set_model_double_block_patch(lambda args: {})

    def look(args):
        kept.append(
            (args["cond_denoised"], args["cond_denoised"].clone(), args["model_options"]["transformer_options"])
        )
        return args["denoised"]

    net.set_model_sampler_post_cfg_function(look)
    sample(on(name, net, **changes), **RUN)
    for cond, copy, options in kept:
        assert torch.equal(cond, copy)
        assert len(options["patches"]["double_block"]) == 1 and "noise_refiner" not in options["patches"]
        assert "optimized_attention_override" not in options
        assert "azimuth_blocks" not in options["wrappers"]["apply_model"]


@pytest.mark.parametrize("name", ["pag", "seg", "slg"])
def test_blocks_that_the_model_lacks_are_named(name, said):
    net = architecture(deeper_lumina)
    assert torch.equal(sample(on(name, net, blocks="4-6"), **RUN), sample(net, **RUN))
    assert passes(on(name, net, blocks="4-6"), **RUN) == [4] * 3
    assert [s for s in said() if "has no effect: the model has no block 4-6; it has double 0-3" in s]
    assert torch.equal(predict(on(name, net, blocks="3-5"), **AT), predict(on(name, net, blocks="3"), **AT))
    assert [s for s in said() if "the model has no block double 4, 5; the others are used" in s]


@pytest.mark.parametrize("name", ["pag", "slg"])
def test_a_host_that_offers_neither_patch_nor_number_is_named(name, said, monkeypatch):
    """As one that forgot its patches, or to say which block it is in."""
    net = architecture(deeper_lumina)
    forward = type(net.model.diffusion_model)._forward

    def hidden(self, *args, transformer_options, **how):
        class Forgetful(dict):
            def __setitem__(self, key, value):
                pass

        return forward(self, *args, transformer_options=Forgetful(transformer_options, patches={}), **how)

    monkeypatch.setattr(type(net.model.diffusion_model), "_forward", hidden)
    patched = on(name, net, blocks="1")
    assert torch.equal(sample(patched, **RUN), sample(net, **RUN))
    assert [s for s in said() if "has no effect: the model never calls anything in double 1" in s]


# ---- several calls of the model in a pass, other sizes, references


CALLS = {
    "areas": {"positive": [*text(1, tokens=6), *text(5, tokens=6, area=(4, 4, 0, 2))]},
    "a mask": {"positive": [*text(1, tokens=6, mask=HALF), *text(5, tokens=5, mask=1 - HALF)]},
}


@every_net
@pytest.mark.parametrize("conds", CALLS.values(), ids=CALLS)
def test_slg_counts_in_every_call_of_a_pass(build, start, conds):
    net, at = architecture(build), {**AT, **conds}
    adds_the_term(on("slg", net, blocks="0, 2"), net, without(net, [0, 2], **at), at=at)


@every_net
def test_pag_counts_in_every_call_of_a_pass(build, start):
    net, at = architecture(build), {**AT, **CALLS["a mask"]}

    def of_any_text(start, a):  # six tokens of the one and five of the other
        filled_up = 16 if start == 8 else 15
        return look_at_themselves(1.0, a.shape[-1] - filled_up, a)

    adds_the_term(on("pag", net), net, weaker(net, [2], start, attention_map=of_any_text, **at), at=at)


@every_net
def test_a_latent_of_odd_sides(build, start):
    net, at = architecture(build), {**AT, "x": tensor(3, 1, 16, 2 * HEIGHT - 1, 2 * WIDTH - 1)}
    bad = weaker(net, [2], start, queries=functools.partial(blurred, 4.0), **at)
    adds_the_term(on("seg", net, blur=4.0), net, bad, at=at)


def z_image_of_pixels():
    """Z-Image's transformer over pixels, with a small network for what lies inside a patch."""
    inside = {"decoder_hidden_size": 32, "decoder_num_res_blocks": 1, "decoder_max_freqs": 4, "use_x0": True}
    own = {"image_model": "zimage_pixel", "in_channels": 3, "patch_size": 4, "n_layers": DEPTH}
    return comfy.supported_models.ZImagePixelSpace({**z_image().unet_config, **own, **inside})


def test_a_model_of_pixels():
    net, at = architecture(z_image_of_pixels), {**AT, "x": tensor(5, 2, 3, 4 * HEIGHT, 4 * WIDTH)}
    for name, how in (
        ("pag", {"attention_map": functools.partial(look_at_themselves, 1.0)}),
        ("seg", {"queries": functools.partial(blurred, 10000.0)}),
    ):
        adds_the_term(on(name, net), net, weaker(net, [2], 8, **how, **at), at=at)
    adds_the_term(on("slg", net, blocks="0-2"), net, without(net, range(3), **at), at=at)


REFERENCE = {**AT, "positive": text(1, tokens=6, reference_latents=[tensor(4, 1, 16, 4, 8)])}


def test_reference_pictures_are_left_alone():
    net = architecture(deeper_z_image)
    change = functools.partial(look_at_themselves, 1.0)
    # a text of the reference's own, filled up, and its 8 tokens come before the picture
    bad = weaker(net, [2], 4 + 8 + 8, attention_map=change, **REFERENCE)
    adds_the_term(on("pag", net), net, bad, at=REFERENCE)
    adds_the_term(on("slg", net, blocks="1, 2"), net, without(net, [1, 2], **REFERENCE), at=REFERENCE)


def test_the_first_block_stays_beside_reference_pictures(said):
    net = architecture(deeper_z_image)
    assert torch.equal(predict(on("slg", net, blocks="0, 1"), **REFERENCE), predict(net, **REFERENCE))
    assert [s for s in said() if "has no effect: the prompt has reference pictures, beside which the first block" in s]


# ---- other nodes


@every_net
@pytest.mark.parametrize("theirs", [by_return, in_place])
@pytest.mark.parametrize("before", [True, False], ids=["before ours", "after ours"])
def test_what_another_node_does_after_a_block_it_does_after_one_that_is_left_out(build, start, theirs, before):
    net, blocks = architecture(build), "0-2"

    patched = functools.partial(after_blocks, theirs=theirs)
    ours = on("slg", patched(net), blocks=blocks) if before else patched(on("slg", net, blocks=blocks))
    adds_the_term(ours, patched(net), without(patched(net), [0, 1, 2], **AT))


@every_net
def test_an_attention_in_the_patch_of_another_node_is_not_the_blocks(build, start):
    def attentive(args):
        t = torch.cat((args["txt"], args["img"]), 1).unflatten(-1, (2, -1)).transpose(1, 2)
        out = optimized_attention_masked(
            t, t, t, 2, None, skip_reshape=True, transformer_options=args["transformer_options"]
        )
        return {"img": args["img"] + out[:, -args["img"].shape[1] :]}

    net = architecture(build).clone()
    net.set_model_double_block_patch(attentive)
    bad = weaker(net, [2], start, attention_map=functools.partial(look_at_themselves, 1.0), **AT)
    adds_the_term(on("pag", net), net, bad)


@every_net
def test_what_another_node_made_of_the_attention_is_what_is_perturbed(build, start):
    def halved(attention, *args, **how):
        return attention(*args, **how) * 0.5

    net = architecture(build).clone()
    net.model_options["transformer_options"]["optimized_attention_override"] = halved

    def mixed(start, a):
        return look_at_themselves(0.6, start, a * 0.5)

    bad = weaker(net, [2], start, attention_map=mixed, **AT)
    adds_the_term(on("pag", net, strength=0.6), net, bad)


@every_net
@pytest.mark.parametrize("tokens", [6, 4])
def test_terms_see_the_model_that_another_text_guides(build, start, tokens):
    """The last block's text, which is written out as if both were equally long, goes nowhere."""
    net, at = architecture(build), {**AT, "cfg": 1.0}
    guided = BY_NAME["nag"].on(net, negative=text(3, tokens=tokens))
    c = predict(guided, **at)
    assert distance(c, predict(net, **at)) > 1e-3
    last = weaker(guided, [3], start, attention_map=functools.partial(look_at_themselves, 1.0), **AT)
    for ours, bad in (
        (on("pag", guided, blocks="3"), last),
        (on("slg", guided, blocks="0, 2"), without(guided, [0, 2], **AT)),
    ):
        assert distance(bad, c) > 1e-3
        assert distance(predict(ours, **at), c + S * (c - bad)) < EXACT
