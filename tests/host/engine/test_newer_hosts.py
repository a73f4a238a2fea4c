"""What newer hosts do otherwise, written out here: the tests run on none of them."""

import functools

import comfy.ldm.flux.math
import pytest
import torch
from architectures import dit
from comfy.ldm.modules.attention import optimized_attention
from methods import BY_NAME
from nag_networks import FLUX
from tiny import architecture, distance, initialise, passes, predict, tensor, text

S = 2.0

# ---- a single-stream transformer whose attention is closed over the options of the whole call


class Block(torch.nn.Module):
    def __init__(self, width):
        super().__init__()
        self.qkv, self.out = torch.nn.Linear(width, 3 * width), torch.nn.Linear(width, width)

    def forward(self, x, attend):
        return x + self.out(attend(*self.qkv(x).chunk(3, -1)))


class QwenImage21Transformer2DModel(torch.nn.Module):
    """Text and picture in one sequence, with blocks that can be replaced, under the name of the host's class."""

    def __init__(self, width=32):
        super().__init__()
        self.dtype = torch.float32
        self.img_in, self.txt_in = torch.nn.Linear(16, width), torch.nn.Linear(64, width)
        self.transformer_blocks = torch.nn.ModuleList(Block(width) for _ in range(3))
        self.proj_out = torch.nn.Linear(width, 16)

    def forward(self, x, timesteps, context, transformer_options, **kwargs):
        replaced = transformer_options.get("patches_replace", {}).get("dit", {})

        def attend(q, k, v):
            return optimized_attention(q, k, v, 2, transformer_options=transformer_options)

        t = torch.cat((self.txt_in(context), self.img_in(x.flatten(2).transpose(1, 2))), 1)
        for i, block in enumerate(self.transformer_blocks):

            def original(args, block=block):
                return {"img": block(args["img"], attend)}

            args = {"img": t, "transformer_options": transformer_options}
            run = replaced.get(("single_block", i))
            t = (run(args, {"original_block": original}) if run else original(args))["img"]
        return self.proj_out(t[:, context.shape[1] :]).transpose(1, 2).reshape(x.shape)


@functools.cache
def closed():
    patched = architecture(dit).clone()
    patched.add_object_patch("diffusion_model", initialise(QwenImage21Transformer2DModel()).eval())
    return patched


AT = {"x": tensor(5, 1, 16, 6, 6), "sigma": 0.6, "cfg": 3.0}


@pytest.mark.parametrize(("blocks", "indices"), [("1", [1]), ("single 0, 2", [0, 2])])
def test_blocks_can_be_left_out_of_it(blocks, indices):
    net = closed()
    with pytest.MonkeyPatch.context() as patch:
        for index in indices:
            block = net.get_model_object("diffusion_model").transformer_blocks[index]
            patch.setattr(block, "forward", lambda x, attend: x)
        bad = predict(net, **{**AT, "cfg": 1.0})
    c = predict(net, **{**AT, "cfg": 1.0})
    assert distance(bad, c) > 1e-2
    expected = predict(net, **AT) + S * (c - bad)
    assert distance(predict(BY_NAME["slg"].on(net, scale=S, blocks=blocks), **AT), expected) < 1e-4


@pytest.mark.parametrize("name", ["nag", "pag", "seg", "stg_a", "sag", "tpg"])
def test_its_attention_is_named_and_costs_no_pass(name, said):
    ours = BY_NAME[name].on(closed())
    assert torch.equal(predict(ours, **AT), predict(closed(), **AT))
    assert passes(ours, x=AT["x"], steps=2) == [2, 2]
    assert [s for s in said() if "has no effect" in s and "(QwenImage21Transformer2DModel)" in s]


@pytest.mark.parametrize("name", ["nag", "pag"])
def test_attention_that_a_known_network_hides_is_named(name, said, monkeypatch):
    def hidden(*args, transformer_options=None, **how):
        return optimized_attention(*args, **how)

    monkeypatch.setattr(comfy.ldm.flux.math, "optimized_attention", hidden)
    ours = BY_NAME[name].on(FLUX.get(), **({"negative": text(3)} if name == "nag" else {}))
    assert distance(predict(ours, **FLUX.at()), predict(FLUX.get(), **FLUX.at())) < 1e-5
    assert [s for s in said() if "has no effect" in s and ("never calls" in s or "no attention" in s)]


# ---- queries, keys and values in containers, for overrides with a `container_function` of their own


class Container:
    def __init__(self, tensor):
        self.tensor = tensor

    def take(self):
        tensor, self.tensor = self.tensor, None
        return tensor


def in_containers(*args, transformer_options=None, **how):
    """The host's attention, as newer hosts call it: it unpacks for an override that takes no containers."""
    override = (transformer_options or {}).get("optimized_attention_override")
    packed = [Container(t) for t in args[:3]]
    if hasattr(override, "container_function"):
        return override.container_function(*packed, *args[3:], transformer_options=transformer_options, **how)
    q, k, v = (one.take() for one in packed)
    if override:
        return override(optimized_attention, q, k, v, *args[3:], transformer_options=transformer_options, **how)
    return optimized_attention(q, k, v, *args[3:], **how)


def theirs(attention, *args, **how):
    how.pop("transformer_options", None)
    return attention(*args, **how) * 0.9


def theirs_packed(q, k, v, *args, **how):
    return theirs(optimized_attention, q.take(), k.take(), v.take(), *args, **how)


@pytest.mark.parametrize("name", ["nag", "pag", "seg"])
def test_an_override_that_takes_containers_keeps_its_effect_beside_ours(name, monkeypatch):
    override = functools.partial(theirs)
    net = FLUX.get().clone()
    net.model_options["transformer_options"]["optimized_attention_override"] = override
    changes = {"negative": text(3)} if name == "nag" else {}
    expected = predict(BY_NAME[name].on(net, **changes), **FLUX.at())
    assert distance(expected, predict(net, **FLUX.at())) > 1e-3
    override.container_function = theirs_packed
    monkeypatch.setattr(comfy.ldm.flux.math, "optimized_attention", in_containers)
    assert distance(predict(BY_NAME[name].on(net, **changes), **FLUX.at()), expected) < 1e-5
