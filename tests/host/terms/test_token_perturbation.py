"""Token Perturbation Guidance: each pass is that of a network whose layers are written by hand, token by token."""

import contextlib
import dataclasses
import functools
import random
from collections.abc import Callable
from dataclasses import dataclass

import comfy.samplers
import comfy.supported_models
import numpy
import pytest
import torch
from architectures import (
    audio,
    chroma,
    dit,
    flux,
    hunyuan,
    lumina,
    packed,
    qwen,
    sdxl,
    video,
    without_a_middle,
    z_image,
)
from attached import HALF, lora
from azimuth import guidance
from azimuth.nodes.engine import pipeline
from azimuth.nodes.terms import token_perturbation
from comfy.ldm.modules.attention import BasicTransformerBlock
from context_windows import FRAMES, windowed
from methods import BY_NAME, stack
from other_nodes import after_blocks, by_return, in_place
from packed_latents import pair, sample_pair
from tiny import alone, architecture, distance, model, noise, passes, predict, sample, tensor, text

W, S = 5.0, 2.0
EXACT = 1e-4
SEED = 3  # of the runs that tiny.py makes


def tpg(patched, **changes):
    return BY_NAME["tpg"].on(patched, **{"scale": S, **changes})


def order(place, count, call=1, seed=SEED):
    return token_perturbation.order(seed, call, place, count).tolist()


# ---- the order


def test_an_order_holds_every_token_once_and_is_another_for_any_other_key():
    first = order(("middle", 0, 0), 64)
    assert sorted(first) == list(range(64))
    assert first == order(("middle", 0, 0), 64)
    others = [order(place, 64) for place in (("middle", 0, 1), ("middle", 1, 0), ("output", 0, 0))]
    others += [order(("middle", 0, 0), 64, call=2), order(("middle", 0, 0), 64, seed=4)]
    assert all(a != b for a in [first, *others] for b in others if a is not b)


def test_over_many_calls_a_token_comes_to_every_place():
    counts = numpy.zeros((6, 6))
    for call in range(3000):
        counts[range(6), order(("double", 1, 0), 6, call=call)] += 1
    assert (abs(counts - 500) < 110).all()  # 5 deviations


# ---- UNets


def with_layers(net, chosen, call=1):
    """For a while the layers of these blocks of a UNet get their tokens in another order, as in the paper's code."""
    unet, patch = net.model.diffusion_model, pytest.MonkeyPatch()
    parts = {"input": unet.input_blocks, "middle": [unet.middle_block], "output": unet.output_blocks}
    for kind, index in chosen:
        layers = [m for m in parts[kind][index].modules() if isinstance(m, BasicTransformerBlock)]
        assert layers
        for number, layer in enumerate(layers):

            def forward(x, *args, place=(kind, index, number), original=layer.forward, **how):
                shuffled = torch.stack([x[:, i] for i in order(place, x.shape[1], call)], 1)
                return original(shuffled, *args, **how)

            patch.setattr(layer, "forward", forward)
    return undone(patch)


@contextlib.contextmanager
def undone(patch):
    try:
        yield
    finally:
        patch.undo()


MIDDLE, LAST_INPUTS = [("middle", 0)], [("input", 1), ("input", 3)]
UNETS = {
    "SD1.5, auto": (model, "auto", LAST_INPUTS),
    "SD1.5, the middle": (model, "middle 0", MIDDLE),
    "SD1.5, several": (model, "input 1, middle 0, output 2, 3", [("input", 1), *MIDDLE, ("output", 2), ("output", 3)]),
    "SDXL, auto": (lambda: architecture(sdxl), "auto", [("input", 3)]),
    "SDXL, two layers in the middle": (lambda: architecture(sdxl), "middle 0", MIDDLE),
}


@pytest.mark.parametrize(("net", "blocks", "chosen"), UNETS.values(), ids=UNETS)
@pytest.mark.parametrize("cfg", [W, 1.0])
def test_the_layers_of_a_unet_get_their_tokens_in_another_order(net, blocks, chosen, cfg):
    net, at = net(), {"x": noise(2) * 3.0, "sigma": 3.0}
    c = predict(net, cfg=1.0, **at)
    with with_layers(net, chosen):
        bad = predict(net, cfg=1.0, **at)
    assert distance(bad, c) > 1e-3
    expected = predict(net, cfg=cfg, **at) + S * (c - bad)
    assert distance(predict(tpg(net, blocks=blocks), cfg=cfg, **at), expected) < EXACT


def narrow_sdxl():
    """SDXL's UNet with all its blocks and layers."""
    depths = {"transformer_depth": [0, 0, 2, 2, 10, 10], "transformer_depth_middle": 10}
    depths |= {"transformer_depth_output": [0, 0, 0, 2, 2, 2, 10, 10, 10], "num_res_blocks": [2, 2, 2]}
    return comfy.supported_models.SDXL({**sdxl().unet_config, **depths, "channel_mult": [1, 2, 4]})


def test_auto_is_the_last_two_blocks_of_the_input_side_as_in_the_papers_code():
    net, at = architecture(narrow_sdxl), {"x": noise(1) * 3.0, "sigma": 3.0}
    c = predict(net, cfg=1.0, **at)
    with with_layers(net, [("input", 7), ("input", 8)]):
        bad = predict(net, cfg=1.0, **at)
    assert distance(bad, c) > 1e-3
    assert distance(predict(tpg(net), **at), predict(net, **at) + S * (c - bad)) < EXACT


def test_a_unet_without_attention_on_its_input_side_is_shuffled_in_the_middle(monkeypatch):
    own = pipeline.weak.blocks.UNET.blocks
    monkeypatch.setattr(
        type(pipeline.weak.blocks.UNET), "blocks", lambda self, net: [b for b in own(net) if b.kind != "input"]
    )
    assert torch.equal(predict(tpg(model())), predict(tpg(model(), blocks="middle 0")))


def test_auto_does_without_a_middle():
    net = architecture(without_a_middle)
    assert distance(predict(tpg(net)), predict(net)) > 1e-3


def test_the_tokens_of_another_node_between_the_attentions_are_shuffled_too():
    """As they would be if its layer had been given shuffled ones."""

    def marked(patched):
        patched = patched.clone()
        patched.model_options["transformer_options"].setdefault("patches", {})["middle_patch"] = [
            lambda x, extra: x + torch.linspace(-1, 1, x.shape[1], device=x.device)[:, None]
        ]
        return patched

    c = predict(marked(model()), cfg=1.0)
    with with_layers(model(), MIDDLE):
        bad = predict(marked(model()), cfg=1.0)
    expected = predict(marked(model())) + S * (c - bad)
    assert distance(predict(tpg(marked(model()), blocks="middle 0")), expected) < EXACT


# ---- transformers


@dataclass(frozen=True)
class Net:
    """Where a transformer's blocks are, and how one is called.

    blocks, chosen  what the node is told, and which these are, of the lists at these paths
    given           the number or the name of the argument that holds the picture's tokens, the text's before them
    made            the place of the same in what comes out, None if it is all
    tokens          how many of them are the picture's; 0 for all
    """

    build: Callable
    x: tuple
    blocks: str
    chosen: list
    lists: dict
    given: int | str = 0
    made: int | None = None
    tokens: int = 12


DOUBLE, LAYERS = {"double": "double_blocks", "single": "single_blocks"}, {"double": "transformer_blocks"}
NETS = {
    "SD3": Net(dit, (16, 6, 8), "auto", [("double", 1)], {"double": "joint_blocks"}, 1, 1),
    "SD3, the last": Net(dit, (16, 6, 8), "2", [("double", 2)], {"double": "joint_blocks"}, 1, 1),
    "SD3, two": Net(dit, (16, 6, 8), "0-1", [("double", 0), ("double", 1)], {"double": "joint_blocks"}, 1, 1),
    "Flux, double": Net(flux, (16, 6, 8), "0", [("double", 0)], DOUBLE, "img", 0),
    "Flux, single": Net(flux, (16, 6, 8), "single 0", [("single", 0)], DOUBLE),
    "Flux, odd sides": Net(flux, (16, 5, 7), "single 0", [("single", 0)], DOUBLE),
    "Chroma, single": Net(chroma, (16, 6, 8), "single 1", [("single", 1)], DOUBLE),
    "Chroma, double": Net(chroma, (16, 6, 8), "1", [("double", 1)], DOUBLE, "img", 0),
    "Qwen": Net(qwen, (16, 1, 6, 8), "1", [("double", 1)], LAYERS, "hidden_states", 1),
    "HunyuanVideo, double": Net(hunyuan, (16, 2, 6, 8), "1", [("double", 1)], DOUBLE, "img", 0, tokens=24),
    "HunyuanVideo, single": Net(hunyuan, (16, 2, 6, 8), "single 0", [("single", 0)], DOUBLE, tokens=24),
    "Wan": Net(video, (16, 3, 4, 4), "auto", [("double", 1)], {"double": "blocks"}),
    "Stable Audio": Net(audio, (64, 12), "0", [("double", 0)], {"double": "transformer.layers"}),
}


def at_of(net):
    width = 768 if net.build is audio else 64
    return {
        "x": tensor(1, 2, *net.x),
        "sigma": 0.6,
        "positive": text(1, width=width),
        "negative": text(2, width=width),
    }


def moved(before, after, start, count, place):
    """What a block adds to the tokens from `start` on, token by token at another's place."""
    made = after.clone()
    for to, taken in enumerate(order(place, count)):
        made[:, start + to] = before[:, start + to] + (after[:, start + taken] - before[:, start + taken])
    return made


def by_hand(patch, block, place, given, made, count, start=None):
    original = block.forward

    def forward(*args, **how):
        before = (how if isinstance(given, str) else args)[given].clone()
        out = original(*args, **how)
        after = out if made is None else out[made]
        length = count or before.shape[1]
        result = moved(before, after, before.shape[1] - length if start is None else start, length, place)
        return result if made is None else tuple(result if i == made else part for i, part in enumerate(out))

    patch.setattr(block, "forward", forward)


def block_of(patched, path, index):
    found = patched.model.diffusion_model
    for name in path.split("."):
        found = getattr(found, name)
    return found[index]


@contextlib.contextmanager
def with_blocks(patched, net, **where):
    with pytest.MonkeyPatch.context() as patch:
        for kind, index in net.chosen:
            block = block_of(patched, net.lists[kind], index)
            by_hand(patch, block, (kind, index, 0), net.given, net.made, net.tokens, **where)
        yield


@pytest.mark.parametrize("net", NETS.values(), ids=NETS)
@pytest.mark.parametrize("cfg", [W, 1.0])
def test_what_a_block_of_a_transformer_adds_comes_to_other_tokens(net, cfg):
    patched, at = architecture(net.build), at_of(net)
    c = predict(patched, cfg=1.0, **at)
    with with_blocks(patched, net):
        bad = predict(patched, cfg=1.0, **at)
    assert distance(bad, c) > 1e-3
    expected = predict(patched, cfg=cfg, **at) + S * (c - bad)
    assert distance(predict(tpg(patched, blocks=net.blocks), cfg=cfg, **at), expected) < EXACT


# ---- departures


def test_departure_shuffled_tokens_themselves_would_be_the_prediction_in_another_order():
    """SD3 knows a token's place from the token alone, so that what comes out stands where what goes in stood."""
    patched, at = architecture(dit), at_of(NETS["SD3"])
    block = patched.model.diffusion_model.joint_blocks[1]
    original, places = block.forward, order(("double", 1, 0), 12)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(block, "forward", lambda text, x, *args, **how: original(text, x[:, places], *args, **how))
        bad = predict(patched, cfg=1.0, **at)
    plain, shuffled = ((at["x"] - d).unfold(2, 2, 2).unfold(3, 2, 2) for d in (predict(patched, cfg=1.0, **at), bad))
    assert distance(shuffled.flatten(2, 3), plain.flatten(2, 3)[:, :, places]) < EXACT


def test_in_a_transformer_of_one_layer_of_a_unet_both_forms_are_the_same():
    layer, at = model().model.diffusion_model.middle_block[1], {"x": noise(2) * 3.0, "sigma": 3.0}
    original = layer.forward

    def forward(x, *args, **how):
        before, after = (t.flatten(2).transpose(1, 2) for t in (x, original(x, *args, **how)))
        made = moved(before, after, 0, before.shape[1], ("middle", 0, 0))
        return made.transpose(1, 2).view_as(x)

    with with_layers(model(), MIDDLE):
        first = predict(model(), cfg=1.0, **at)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(layer, "forward", forward)
        second = predict(model(), cfg=1.0, **at)
    assert distance(first, second) < EXACT
    assert distance(first, predict(model(), cfg=1.0, **at)) > 1e-3


# ---- what lies beside a picture


@pytest.mark.parametrize("block", ["0", "single 0"])
def test_reference_pictures_stay_where_they_are(block):
    net, patched = NETS["Flux, single" if " " in block else "Flux, double"], architecture(flux)
    at = {**at_of(net), "positive": text(1, reference_latents=[tensor(4, 1, 16, 4, 8)])}
    c, start = predict(patched, cfg=1.0, **at), 4 if " " in block else 0
    with with_blocks(patched, net, start=start):
        bad = predict(patched, cfg=1.0, **at)
    assert distance(bad, c) > 1e-3
    expected = predict(patched, **at) + S * (c - bad)
    assert distance(predict(tpg(patched, blocks=block), **at), expected) < EXACT


def test_a_video_and_its_sound_are_shuffled_each_on_its_own():
    net, counts = architecture(packed), (8, 4)
    block = net.model.diffusion_model.transformer_blocks[1]
    original, plain = block.forward, sample_pair(net, steps=1)

    def forward(streams, *args, **how):
        before = [t.clone() for t in streams]
        after = original(streams, *args, **how)
        assert [t.shape[1] for t in after] == list(counts)
        return tuple(moved(before[i], after[i], 0, counts[i], ("double", 1, i)) for i in range(2))

    def literal(patched):
        """The same term, from the second pass of each step by hand."""
        c = alone_pair(patched)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(block, "forward", forward)
            bad = alone_pair(patched)
        return [p + S * (a - b) for p, a, b in zip(plain.unbind(), c.unbind(), bad.unbind(), strict=True)]

    ours = sample_pair(tpg(net, blocks="1"), steps=1)
    for a, b, p in zip(ours.unbind(), literal(net), plain.unbind(), strict=True):
        assert distance(a, p) > 1e-3
        assert distance(a, b) < EXACT


def alone_pair(patched):
    """The last prediction of the positive alone, which is where a run of one step ends."""
    x = pair()
    empty = type(x)([torch.zeros_like(part) for part in x.unbind()])
    how = {"positive": text(1, width=128), "negative": text(2, width=128)}
    return sample(patched, x=x, latent=empty, steps=1, cfg=1.0, **how)


# ---- one sequence


def deeper(build, kind):
    return lambda: kind({**build().unet_config, "n_layers": 4})


SEQUENCES = {
    "Lumina 2": (deeper(lumina, comfy.supported_models.Lumina2), 6),
    "Z-Image": (deeper(z_image, comfy.supported_models.ZImage), 8),  # six tokens of text, filled up
}
BUILDS = {name: build for name, (build, _) in SEQUENCES.items()}
AT = {"sigma": 0.7, "x": tensor(1, 2, 16, 6, 10), "positive": text(1, tokens=6), "negative": text(2, tokens=4)}


@pytest.mark.parametrize("name", SEQUENCES)
@pytest.mark.parametrize(("blocks", "indices"), [("auto", [2]), ("0", [0]), ("0-1", [0, 1]), ("1, 3", [1, 3])])
def test_what_a_block_of_one_sequence_adds_comes_to_other_tokens(name, blocks, indices):
    net, start = architecture(BUILDS[name]), SEQUENCES[name][1]
    c = predict(net, cfg=1.0, **AT)
    with pytest.MonkeyPatch.context() as patch:
        for index in indices:
            by_hand(patch, net.model.diffusion_model.layers[index], ("double", index, 0), 0, None, 15, start)
        bad = predict(net, cfg=1.0, **AT)
    assert distance(bad, c) > 1e-3
    assert distance(predict(tpg(net, blocks=blocks), **AT), predict(net, **AT) + S * (c - bad)) < EXACT


@pytest.mark.parametrize("theirs", [by_return, in_place])
@pytest.mark.parametrize("before", [True, False], ids=["before ours", "after ours"])
def test_what_another_node_does_after_a_block_it_does_after_one_that_is_shuffled(theirs, before):
    net = architecture(BUILDS["Lumina 2"])

    patched = functools.partial(after_blocks, theirs=theirs)
    with pytest.MonkeyPatch.context() as patch:
        for index in (1, 2):
            by_hand(patch, net.model.diffusion_model.layers[index], ("double", index, 0), 0, None, 15, 6)
        bad = predict(patched(net), cfg=1.0, **AT)
    ours = tpg(patched(net), blocks="1, 2") if before else patched(tpg(net, blocks="1, 2"))
    expected = predict(patched(net), **AT) + S * (predict(patched(net), cfg=1.0, **AT) - bad)
    assert distance(predict(ours, **AT), expected) < EXACT


# ---- seeds, neighbours, noise


def run(patched, seed, x=None, **how):
    """A run of three steps under a seed."""
    return sample(patched, x=noise() if x is None else x, guider=Seeded(patched, seed, **how), steps=3)


class Seeded:
    def __init__(self, patched, seed, positive=None):
        self.guider = comfy.samplers.CFGGuider(patched)
        self.guider.set_conds(positive or text(1), text(2))
        self.guider.set_cfg(W)
        self.seed = seed

    def sample(self, *args, seed=None, **how):
        return self.guider.sample(*args, seed=self.seed, **how)


KINDS = {
    "SD1.5": (model, lambda: noise(3)),
    "SD3": (lambda: architecture(dit), lambda: tensor(1, 3, 16, 8, 8)),
    "Lumina 2": (lambda: architecture(BUILDS["Lumina 2"]), lambda: tensor(1, 3, 16, 6, 10)),
}
every_kind = pytest.mark.parametrize(("net", "x"), KINDS.values(), ids=KINDS)


@every_kind
def test_a_seed_is_a_picture_and_another_seed_is_another(net, x):
    patched, x = tpg(net()), x()[:1]
    first = run(patched, 7, x)
    assert torch.equal(run(patched, 7, x), first)
    assert distance(run(patched, 8, x), first) > 1e-3
    assert torch.equal(run(net(), 8, x), run(net(), 7, x))  # without the node the seed counts for nothing here


@every_kind
def test_a_sample_does_not_depend_on_its_neighbours(net, x):
    patched, x = tpg(net()), x()
    whole = run(patched, 7, x)
    apart = [run(patched, 7, x[i : i + 1]) for i in range(3)]
    assert distance(whole, torch.cat(apart)) < EXACT
    turned = run(patched, 7, x.flip(0)).flip(0)
    assert distance(whole, turned) < EXACT


def test_all_samples_of_a_batch_are_put_into_the_same_order(monkeypatch):
    drawn = []
    monkeypatch.setattr(
        token_perturbation.draws, "generator", lambda *key: drawn.append(key) or torch.Generator().manual_seed(1)
    )
    predict(tpg(model(), blocks="middle 0"), x=noise(3))
    assert drawn == [(SEED, 1, "middle", 0, 0)]


def test_nor_on_how_the_host_batches(monkeypatch):
    """Areas whose passes the host makes one by one where memory is short."""
    positive = [*text(1, mask=HALF), *text(5, mask=1 - HALF)]
    how = {"positive": positive, "steps": 3}
    patched = tpg(model())
    together, counted = sample(patched, **how), passes(patched, **how)
    monkeypatch.setattr(type(model().model), "memory_required", lambda *args, **kwargs: 1e18)
    assert passes(patched, **how) != counted
    assert distance(sample(patched, **how), together) < EXACT


def test_the_orders_are_others_in_every_call():
    seen = []
    patched = tpg(model(), blocks="middle 0").clone()
    patched.set_model_sampler_post_cfg_function(lambda args: seen.append(args) or args["denoised"])
    sample(patched, steps=3)
    for call, args in enumerate(seen, 1):
        at = {"x": args["input"], "sigma": args["sigma"][0].item()}
        with with_layers(model(), MIDDLE, call):
            bad = alone(text(1), **at)
        c, u = args["cond_denoised"], args["uncond_denoised"]
        assert distance(args["denoised"], u + W * (c - u) + S * (c - bad)) < EXACT


@pytest.mark.parametrize("sampler", ["euler_ancestral", "dpmpp_2s_ancestral"])
def test_the_noise_of_the_sampler_stays_as_it_is(sampler, monkeypatch):
    """It is the same, and the generators that all share are where a run without the node leaves them."""
    draw, found = torch.randn, {}
    for name, patched in (("plain", model()), ("ours", tpg(model()))):
        drawn = []

        def kept(*args, drawn=drawn, **how):
            drawn.append(draw(*args, **how))
            return drawn[-1]

        torch.manual_seed(1)
        random.seed(1)
        numpy.random.seed(1)
        with monkeypatch.context() as patch:
            patch.setattr(torch, "randn", kept)
            sample(patched, sampler=sampler, steps=3)
        assert drawn
        found[name] = [*drawn, torch.get_rng_state(), torch.tensor(random.getstate()[1])]
        found[name].append(torch.tensor(numpy.random.get_state()[1].tolist()))
    assert all(torch.equal(a, b) for a, b in zip(found["ours"], found["plain"], strict=True))


# ---- cost and neutral settings


@every_kind
def test_it_costs_one_pass_of_the_positive_and_nothing_where_it_is_off(net, x):
    net, how = net(), {"x": x()[:1], "steps": 3}
    assert passes(tpg(net), **how) == [2, 1] * 3
    assert passes(tpg(net), cfg=1.0, **how) == [1, 1] * 3
    for changes in BY_NAME["tpg"].neutral(W):
        changes = {**changes, "scale": changes.get("scale", S)}
        if isinstance(changes["scale"], guidance.Steps):
            changes["scale"] = guidance.Steps((0.0,) * 3)
        assert passes(tpg(net, **changes), **how) == [2] * 3
        assert torch.equal(sample(tpg(net, **changes), **how), sample(net, **how))


def test_the_model_stays_as_it_was():
    plain = sample(model(), steps=2)
    sample(tpg(model()), steps=2)
    assert torch.equal(sample(model(), steps=2), plain)


def test_a_pass_writes_into_no_option_of_the_host():
    kept, foreign = [], model().clone()
    foreign.model_options["transformer_options"]["patches"] = {"middle_patch": [lambda x, extra: x]}
    foreign.set_model_sampler_post_cfg_function(lambda args: kept.append(args["model_options"]) or args["denoised"])
    patched = stack(foreign, "tpg", "pag")
    sample(patched, steps=2)
    assert kept and all(len(o["transformer_options"]["patches"]["middle_patch"]) == 1 for o in kept)
    assert len(patched.model_options["transformer_options"]["patches"]["middle_patch"]) == 1


def test_areas_and_hooks_count_in_its_pass():
    for positive in ([*text(1), *text(5, area=(4, 4, 2, 2))], text(1, hooks=lora())):
        how = {"positive": positive}
        c = predict(model(), cfg=1.0, **how)
        with with_layers(model(), LAST_INPUTS):
            bad = predict(model(), cfg=1.0, **how)
        assert distance(predict(tpg(model()), **how), predict(model(), **how) + S * (c - bad)) < EXACT


def test_the_windows_of_a_long_video_are_shuffled_alike():
    net = architecture(video)
    all_tokens = dataclasses.replace(NETS["Wan"], tokens=0)  # later windows begin with a frame more
    c = predict(windowed(net), cfg=1.0, **FRAMES)
    with with_blocks(net, all_tokens):
        bad = predict(windowed(net), cfg=1.0, **FRAMES)
    expected = predict(windowed(net), **FRAMES) + S * (c - bad)
    assert distance(predict(tpg(windowed(net)), **FRAMES), expected) < EXACT


# ---- models that cannot


CANNOT = {
    "too high": (model, "7-9", noise, "the model has no block 7-9; it has input 1"),
    "of a transformer": (
        KINDS["SD3"][0],
        "middle 0",
        KINDS["SD3"][1],
        "the model has no block middle 0; it has double",
    ),
    "of one sequence": (KINDS["Lumina 2"][0], "4-6", KINDS["Lumina 2"][1], "the model has no block 4-6; it has double"),
}


@pytest.mark.parametrize(("net", "blocks", "x", "why"), CANNOT.values(), ids=CANNOT)
def test_blocks_that_the_model_lacks_are_named_and_nothing_is_paid(net, blocks, x, why, said):
    patched, how = tpg(net(), blocks=blocks), {"x": x()[:1], "steps": 2}
    assert torch.equal(sample(patched, **how), sample(net(), **how))
    assert passes(patched, **how) == [2, 2]
    [sentence] = {s for s in said() if "has no effect" in s}
    assert (
        sentence.startswith(f"{token_perturbation.NAME} has no effect: {why}") and "so name some of those" in sentence
    )


def test_an_architecture_that_cannot_be_reached_is_named_with_a_remedy(said, monkeypatch):
    monkeypatch.setattr(pipeline.weak.blocks, "TRANSFORMERS", {})
    net, how = architecture(dit), {"x": tensor(1, 1, 16, 8, 8), "steps": 2}
    assert torch.equal(sample(tpg(net), **how), sample(net, **how))
    assert passes(tpg(net), **how) == [2, 2]
    [sentence] = {s for s in said() if "has no effect" in s}
    assert sentence.endswith(
        "cannot reach the attention of this model (OpenAISignatureMMDITWrapper); choose another term."
    )


def test_layers_that_are_never_called_cost_one_pass_and_are_named(said, monkeypatch):
    monkeypatch.setattr(model().model.diffusion_model.middle_block[1], "forward", lambda x, *args, **kwargs: x)
    assert passes(tpg(model(), blocks="middle 0"), steps=3) == [2, 1, 2, 2]
    assert len([s for s in said() if "never calls anything in middle 0" in s]) == 1
