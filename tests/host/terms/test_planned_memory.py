"""Memory that the host plans block by block: what was made in a block is written over after it.

Newer hosts do so on a GPU. Here a block writes over it itself.
"""

import contextlib

import comfy.supported_models
import pytest
import torch
from architectures import lumina
from azimuth.nodes import host
from methods import BY_NAME
from tiny import architecture, distance, model, noise, predict, tensor, text


def deeper():
    return comfy.supported_models.Lumina2({**lumina().unet_config, "n_layers": 4})


AT = {"x": tensor(1, 2, 16, 6, 6), "sigma": 0.7, "positive": text(1, tokens=6), "negative": text(2, tokens=6)}
NAN = float("nan")
EVERY = {
    "slg, the first and others": ("slg", {"blocks": "0, 2-3"}),
    "slg, the last": ("slg", {"blocks": "3"}),
    "tpg": ("tpg", {"blocks": "0, 2-3"}),
}


@contextlib.contextmanager
def written_over(blocks, attentions):
    """While it lasts, a block writes over what its attention made, and over what the block before it gave out."""
    made = []

    def keep(module, args, out):
        made.append(out)

    def end(module, args, out):
        for t in made:
            t.fill_(NAN)
        made[:] = [out]

    hooks = [block.register_forward_hook(end) for block in blocks]
    hooks += [part.register_forward_hook(keep) for attention in attentions for part in attention]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


@pytest.mark.parametrize(("name", "changes"), EVERY.values(), ids=EVERY)
def test_a_term_on_one_sequence_keeps_no_memory_of_a_block(name, changes):
    net = architecture(deeper)
    layers = net.model.diffusion_model.layers
    ours = BY_NAME[name].on(net, **changes)
    expected = predict(ours, **AT)
    assert distance(expected, predict(net, **AT)) > 1e-3
    with written_over(layers, [[layer.attention.qkv] for layer in layers]):
        assert torch.equal(predict(ours, **AT), expected)


def test_sag_keeps_no_memory_of_a_block():
    net = model()
    (block,) = net.model.diffusion_model.middle_block[1].transformer_blocks
    ours, at = BY_NAME["sag"].on(net), {"x": noise() * 3.0, "sigma": 3.0}
    expected = predict(ours, **at)
    with written_over([block], [[block.attn1.to_q, block.attn1.to_k, block.attn1.to_v]]):
        assert torch.equal(predict(ours, **at), expected)


def test_what_is_kept_is_copied_while_the_plan_is_paused(monkeypatch):
    paused = []

    @contextlib.contextmanager
    def pause():
        paused.append(True)
        yield
        paused.append(False)

    monkeypatch.setattr(host, "unplanned", pause)
    t = torch.ones(3)
    copy = host.kept(t)
    assert paused == [True, False] and torch.equal(copy, t) and copy.data_ptr() != t.data_ptr()
    predict(BY_NAME["slg"].on(architecture(deeper), blocks="2"), **AT)
    assert paused == [True, False] * 3  # and the picture and the text before the third block
