"""Compiled networks: whoever compiles one, and wherever it is wired, a stage does there what it does uncompiled."""

import functools
from types import SimpleNamespace

import comfy.ldm.modules.attention
import comfy.ldm.modules.diffusionmodules.mmdit
import comfy.model_management
import pytest
import torch
from architectures import dit
from azimuth.nodes.engine.networks.compiled import bare
from comfy.patcher_extension import WrappersMP
from comfy_api.torch_helpers import set_torch_compile_wrapper
from comfy_extras.nodes_torch_compile import TorchCompileModel, skip_torch_compile_dict
from methods import BY_NAME
from nag_networks import FLUX, SD3, UNET, Net
from tiny import architecture, distance, predict, run_node, sample, tensor, text

pytestmark = pytest.mark.filterwarnings("ignore:.*script_method:DeprecationWarning")  # torch's own, of its compiler


def by_node(patched):
    return run_node(TorchCompileModel, patched, "inductor")


def by_object_patch(patched):
    patched = patched.clone()
    patched.add_object_patch("diffusion_model", torch.compile(patched.get_model_object("diffusion_model")))
    return patched


WAYS = {"TorchCompileModel": by_node, "an object patch": by_object_patch}
ACTING = {
    "nag": {"scale": 4.0, "negative": text(3)},
    "pag": {"blocks": "auto"},
    "seg": {"blocks": "auto"},
    "slg": {"blocks": "1, middle 0"},
    "stg_a": {"blocks": "1, middle 0"},
    "s2": {"count": 1},
    "sag": {},
    "tpg": {"blocks": "auto"},
}
PLACES = [*((SD3, name) for name in ACTING), (UNET, "nag"), (UNET, "tpg")]
every_way = pytest.mark.parametrize("compiled", WAYS.values(), ids=WAYS)


@pytest.fixture
def uncompiled():
    """Torch wires all as compiled, and compiles nothing: an hour of compiling would not fit into a test."""
    with torch.compiler.set_stance("force_eager"):
        yield


@functools.cache
def as_written(net: Net, name):
    """What the stage makes of a network that nobody has compiled."""
    at = net.at(cfg=3.0)
    ours = predict(BY_NAME[name].on(net.get(), **ACTING[name]), **at)
    assert distance(ours, predict(net.get(), **at)) > 1e-3
    return ours


@every_way
@pytest.mark.parametrize("first", [True, False], ids=["compiled first", "compiled last"])
@pytest.mark.parametrize(("net", "name"), PLACES, ids=[f"{net.name} {name}" for net, name in PLACES])
def test_a_stage_reaches_a_network_that_is_compiled(net: Net, name, first, compiled, uncompiled, said):
    expected, before, on = as_written(net, name), len(said()), BY_NAME[name].on
    ours = on(compiled(net.get()), **ACTING[name]) if first else compiled(on(net.get(), **ACTING[name]))
    assert torch.equal(predict(ours, **net.at(cfg=3.0)), expected)
    assert not [s for s in said()[before:] if "no effect" in s or "OptimizedModule" in s]


def test_all_wrappers_are_taken_off():
    net = object()
    assert bare(SimpleNamespace(_orig_mod=SimpleNamespace(_orig_mod=net))) is net and bare(net) is net


# ---- really compiled


@pytest.fixture
def whole(monkeypatch):
    """The network is compiled in one piece, as on a GPU: on a CPU the host asks the system for memory in between."""
    monkeypatch.setattr(comfy.model_management, "get_free_memory", lambda device=None, torch_free_too=False: 2**33)
    in_one_piece = comfy.ldm.modules.attention.attention_pytorch
    monkeypatch.setattr(comfy.ldm.modules.diffusionmodules.mmdit, "optimized_attention", in_one_piece)
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


def really(patched):
    """As TorchCompileModel does it, but for the compiler's back end: the code is traced, and kept as it is traced."""
    patched = patched.clone()
    options = {"guard_filter_fn": skip_torch_compile_dict}
    set_torch_compile_wrapper(model=patched, backend="eager", options=options)
    return patched


def test_a_pass_that_is_changed_counts_in_a_network_that_is_really_compiled(whole):
    net, run = architecture(dit), {"x": tensor(4, 1, 16, 8, 8), "cfg": 1.0, "steps": 2}
    ours = BY_NAME["slg"].on(net, blocks="1")
    expected = sample(ours, **run)
    assert distance(expected, sample(net, **run)) > 1e-2
    assert torch.equal(sample(really(ours), **run), expected)


def test_torch_compiles_again_after_a_run():
    net = architecture(dit)
    predict(by_node(BY_NAME["nag"].on(net, **ACTING["nag"])), x=tensor(4, 1, 16, 8, 8), cfg=1.0)
    assert torch._dynamo.eval_frame._stance.stance == "default"


# ---- not known at all


class Unknown(torch.nn.Module):
    """A network that somebody has put round another one."""

    def __init__(self, inside):
        super().__init__()
        self.inside = inside

    def __getattr__(self, name):
        return super().__getattr__(name) if name in ("inside", "_modules") else getattr(self.inside, name)

    def forward(self, *args, **kwargs):
        return self.inside(*args, **kwargs)


def in_each_call(patched):
    """The MODEL with another network for the time of each call, put there as TorchCompileModel does it."""

    def put(executor, *args, **kwargs):
        host, net = executor.class_obj, executor.class_obj.diffusion_model
        host._modules["diffusion_model"] = Unknown(net)
        try:
            return executor(*args, **kwargs)
        finally:
            host._modules["diffusion_model"] = net

    patched = patched.clone()
    patched.add_wrapper_with_key(WrappersMP.APPLY_MODEL, "theirs", put)
    return patched


def for_good(patched):
    patched = patched.clone()
    patched.add_object_patch("diffusion_model", Unknown(patched.get_model_object("diffusion_model")))
    return patched


def test_an_unknown_network_in_a_call_is_named(said):
    at = FLUX.at()
    ours = BY_NAME["nag"].on(in_each_call(FLUX.get()), **ACTING["nag"])
    assert torch.equal(predict(ours, **at), predict(FLUX.get(), **at))
    assert said()[-1] == (
        "Normalized Attention Guidance (NAG) has no effect: it cannot reach the attention of this model (Unknown); use "
        "cfg above 1 and its negative."
    )


@pytest.mark.parametrize("name", ACTING)
def test_an_unknown_network_is_named(name, said):
    at = FLUX.at(cfg=3.0)
    assert torch.equal(predict(BY_NAME[name].on(for_good(FLUX.get()), **ACTING[name]), **at), predict(FLUX.get(), **at))
    assert [s for s in said() if "has no effect" in s and "this model (Unknown)" in s]
