"""The weaker MODEL of Autoguidance: it hears what the first one hears, and does nothing where it is the first one."""

import pytest
import torch
from architectures import flux, lumina
from comfy.patcher_extension import WrappersMP
from methods import BY_NAME, stack
from rows import weaker
from tiny import architecture, basic, cfg_guider, distance, dual, model, noise, perp_neg, sample, tensor, text

OFF = "Autoguidance has no effect: the weak_model is the model itself; connect a weaker model."
IDENTITY = 1e-5


def autoguided(patched, weak_model):
    return BY_NAME["autoguidance"].on(patched, weak_model=weak_model)


@pytest.fixture
def listen():
    """listen(MODEL) is a list of what its network is from now on called with: (texts, guidance embeddings)."""
    hooks = []

    def to(patched):
        heard = []

        def note(net, args, kwargs):
            texts = kwargs["context"] if "context" in kwargs else args[2]
            heard.append((texts.clone(), kwargs.get("guidance")))

        hooks.append(patched.model.diffusion_model.register_forward_pre_hook(note, with_kwargs=True))
        return heard

    yield to
    for hook in hooks:
        hook.remove()


# ---- what it hears

# Which prompt the term is made of.
GUIDERS = {
    "CFG Guider": (cfg_guider(), 1),
    "Perp-Neg Guider": (perp_neg(), 1),
    "Dual CFG Guider": (dual("regular"), 4),
    "Dual CFG Guider (nested)": (dual("nested"), 1),
    "Basic Guider": (basic, 1),
}


@pytest.mark.parametrize(("make", "prompt"), GUIDERS.values(), ids=GUIDERS)
@pytest.mark.parametrize("batch", [1, 2])
def test_it_hears_the_annealed_text_of_the_positive(make, prompt, batch, listen):
    second = weaker(model())
    firsts, seconds = listen(model()), listen(second)
    sample(BY_NAME["cads"].on(autoguided(model(), second)), x=noise(batch), make=make)
    clean = text(prompt)[0][0]
    annealed = []
    for (texts, _), (bad, _) in zip(firsts, seconds, strict=True):
        assert any(torch.equal(part, bad) for part in texts.split(batch))
        annealed.append(not torch.equal(bad.cpu(), clean.expand_as(bad)))
    assert annealed == [True] * 2 + [False] * 4


def embeddings(heard):
    return [None if numbers is None else [round(number, 3) for number in numbers.tolist()] for _, numbers in heard]


PICTURE = {"x": tensor(1, 1, 16, 8, 8), "cfg": 1.0, "steps": 3}


def test_it_hears_the_guidance_embedding_of_the_step(listen):
    net = architecture(flux)
    second = weaker(net)
    firsts, seconds = listen(net), listen(second)
    sample(BY_NAME["distilled"].on(autoguided(net, second)), **PICTURE)
    assert embeddings(firsts) == embeddings(seconds) == [[5.0], [3.5], [2.0]]


def test_it_hears_what_a_pair_gives_the_positive(listen):
    net = architecture(flux)
    second = weaker(net)
    firsts, seconds = listen(net), listen(second)
    patched = BY_NAME["distilled_pair"].on(autoguided(net, second), high=4.0, end=0.5)
    sample(BY_NAME["distilled"].on(patched), **PICTURE)
    assert [sorted(numbers) for numbers in embeddings(firsts)] == [[1.5, 4.0], [3.5], [2.0]]
    assert embeddings(seconds) == [[4.0], [3.5], [2.0]]


@pytest.mark.parametrize(("first", "second"), [(flux, lumina), (lumina, flux)], ids=["the second", "the first"])
def test_a_model_without_an_embedding_hears_none(first, second, listen):
    first, second = architecture(first), architecture(second)
    of_first, of_second = listen(first), listen(second)
    sample(BY_NAME["distilled"].on(autoguided(first, second)), **PICTURE)
    if first is architecture(lumina):
        assert embeddings(of_first) == [None] * 3 and embeddings(of_second) == [[3.5]] * 3
    else:
        assert embeddings(of_first) == [[5.0], [3.5], [2.0]] and embeddings(of_second) == [None] * 3


def test_what_it_is_conditioned_with_is_not_written_to(listen):
    """Twice the same run, and then one without the annealing: nothing of it stays."""
    second = weaker(model())
    patched = autoguided(model(), second)
    plain = sample(patched, steps=3)
    first, again = (sample(BY_NAME["cads"].on(patched), steps=3) for _ in range(2))
    assert torch.equal(first, again) and distance(first, plain) > 1e-3
    assert torch.equal(sample(patched, steps=3), plain)


# ---- where it is the model itself


def ours_alone(patched):
    return stack(patched, "apg", "compose", "cads")


def with_post_function(patched):
    patched = patched.clone()
    patched.set_model_sampler_post_cfg_function(lambda args: args["denoised"])
    return patched


@pytest.mark.parametrize("same", [lambda p: p, lambda p: p.clone(), ours_alone, with_post_function])
@pytest.mark.parametrize("cfg", [5.0, 1.0])
def test_the_model_itself_makes_no_pass_and_is_named(same, cfg, listen, said):
    heard = listen(model())
    plain = sample(model(), cfg=cfg, steps=3)
    made = len(heard)
    assert torch.equal(sample(autoguided(model(), same(model())), cfg=cfg, steps=3), plain)
    assert len(heard) == 2 * made and said() == [OFF]


def test_the_same_patches_on_both_are_no_difference(said):
    first = model().clone()
    attention_replaced(first)
    second = first.clone()
    with_option(first), with_option(second)
    plain = sample(first, steps=2)
    assert torch.equal(sample(autoguided(first, second), steps=2), plain)
    assert said() == [OFF]


def test_one_patch_more_is_a_difference(said):
    first = model().clone()
    attention_patched(first)
    second = first.clone()
    attention_patched(second)
    assert distance(sample(autoguided(first, second), steps=2), sample(first, steps=2)) > 1e-3
    assert not said()


def attention_replaced(patched):
    patched.set_model_attn1_replace(lambda q, k, v, extra: v, "middle", 0)


def attention_patched(patched):
    patched.set_model_attn1_patch(lambda q, k, v, extra: (q, k, 2.0 * v))


def wrapped(patched):
    patched.set_model_unet_function_wrapper(
        lambda model, args: 0.9 * model(args["input"], args["timestep"], **args["c"])
    )


def with_wrapper(patched):
    patched.add_wrapper_with_key(
        WrappersMP.APPLY_MODEL, "theirs", lambda executor, *args, **how: 0.9 * executor(*args, **how)
    )


def with_option(patched):
    patched.model_options["transformer_options"]["rope_options"] = {
        "scale_x": float("2")
    }  # a number of its own each time


@pytest.mark.parametrize("patch", [attention_replaced, attention_patched, wrapped, with_wrapper, with_option])
@pytest.mark.parametrize("on_the_first", [False, True])
def test_other_patches_make_it_another_model(patch, on_the_first, listen, said):
    other = model().clone()
    patch(other)
    first, second = (other, model()) if on_the_first else (model(), other)
    heard = listen(model())
    plain = sample(first, steps=2)
    ours = sample(autoguided(first, second), steps=2)
    assert len(heard) == 2 + 4 and not said()
    assert (distance(ours, plain) > 1e-3) == (patch is not with_option)  # which this network does not read


def test_another_model_with_the_same_patches_is_another_model(said):
    assert distance(sample(autoguided(model(), weaker(model())), steps=2), sample(model(), steps=2)) > 1e-3
    assert not said()
