"""What holds for the formulas of every specimen."""

import re
import sys
import weakref
from dataclasses import astuple
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode

import guidance as g
import specimens
from guidance.tensors.reduce import wide_dtype
from specimens.kinds import Formula
from specimens.predictions import Predictions

DTYPES = [torch.float16, torch.bfloat16, torch.float32, torch.float64]
# Relative to the largest magnitude in the sample; for the halves it is the rounding of the result.
TOLERANCE = {torch.float16: 2e-3, torch.bfloat16: 1.6e-2, torch.float32: 2e-5}

METHODS = specimens.found("FORMULAS")
every_method = pytest.mark.parametrize("method", METHODS, ids=lambda m: m.name)

shapes = st.integers(3, 5).flatmap(
    lambda rank: st.tuples(st.integers(1, 3), st.integers(1, 4), *[st.integers(1, 5)] * (rank - 2))
)
dtypes = st.sampled_from(DTYPES)
seeds = st.integers(0, 2**31)
magnitudes = st.sampled_from([1e-2, 1.0, 300.0])
unit = st.floats(0, 1).map(lambda f: round(f, 3))


def predictions(shape, dtype, device, seed, magnitude=1.0) -> Predictions:
    generator = torch.Generator().manual_seed(seed)
    drawn = (torch.randn(4, *shape, generator=generator) * magnitude).to(device, dtype)
    return Predictions(*(t.clone() for t in drawn))


def scale_in(method: Formula, fraction: float) -> float:
    low, high = method.scales
    return low + (high - low) * fraction


def scale_per_sample(method: Formula, batch: int) -> torch.Tensor:
    low, high = method.scales
    return torch.linspace(low, high, batch + 2, dtype=torch.float64)[1:-1]


def same_bits(a: torch.Tensor, b: torch.Tensor) -> bool:
    """Equal, NaN equal to NaN, a zero equal to either zero."""
    return a.dtype == b.dtype and a.shape == b.shape and bool(((a == b) | (a.isnan() & b.isnan())).all())


@every_method
@given(shape=shapes, dtype=dtypes, seed=seeds, magnitude=magnitudes, fraction=unit)
def test_equals_its_formula(method, device, shape, dtype, seed, magnitude, fraction):
    p = predictions(shape, dtype, device, seed, magnitude)
    per_sample = scale_per_sample(method, shape[0])
    for scale in (scale_in(method, fraction), per_sample, per_sample.to(device, torch.float32)):
        got = method.call(p, scale)
        assert got.dtype == (dtype if method.result == "latent" else wide_dtype(p.cond))
        assert got.device.type == device
        if method.result == "latent":
            assert got.shape == p.cond.shape
        for i in range(shape[0]):
            w = float(scale[i]) if isinstance(scale, torch.Tensor) else scale
            sample = p.map(lambda t: t[i].double().cpu().numpy())  # noqa: B023
            expected = np.asarray(method.oracle(sample, w))
            size = max(np.abs(expected).max(), magnitude)
            error = np.abs(got[i].double().cpu().numpy() - expected).max() / size
            # A float32 scale is itself rounded.
            exact = method.exact if scale is not per_sample and isinstance(scale, float) else 1e-6
            assert error <= TOLERANCE.get(dtype, exact), (i, w, error)


IDENTITIES = [(m, w, expected) for m in METHODS for w, expected in m.at]
REDUCTIONS = [(m, name, ours, expected) for m in METHODS for name, ours, expected in m.reductions]


@pytest.mark.parametrize("method,w,expected", IDENTITIES, ids=lambda v: getattr(v, "name", None))
@given(shape=shapes, dtype=dtypes, seed=seeds, magnitude=magnitudes)
def test_identity_settings_bit_for_bit(method, device, w, expected, shape, dtype, seed, magnitude):
    p = predictions(shape, dtype, device, seed, magnitude)
    for scale in (w, int(w), torch.full((shape[0],), w), torch.full((shape[0],), w, dtype=torch.float64)):
        assert same_bits(method.call(p, scale), expected(p))


@pytest.mark.parametrize("method,name,ours,expected", REDUCTIONS, ids=lambda v: getattr(v, "name", None))
@given(shape=shapes, dtype=dtypes, seed=seeds, magnitude=magnitudes, fraction=unit)
def test_reductions_bit_for_bit(method, device, name, ours, expected, shape, dtype, seed, magnitude, fraction):
    p = predictions(shape, dtype, device, seed, magnitude)
    for scale in (scale_in(method, fraction), scale_per_sample(method, shape[0])):
        assert same_bits(ours(p, scale), expected(p, scale))


LAWS = [(m, name, law) for m in METHODS for name, law in m.laws]


@pytest.mark.parametrize("method,name,law", LAWS, ids=lambda v: getattr(v, "name", None))
@given(shape=shapes, seed=seeds, magnitude=magnitudes, fraction=unit)
def test_laws_of_angles_and_lengths(method, device, name, law, shape, seed, magnitude, fraction):
    p = predictions(shape, torch.float64, device, seed, magnitude)
    for scale in (scale_in(method, fraction), scale_per_sample(method, shape[0]).to(device)):
        assert (law(p, scale, method.call(p, scale)).abs() < 1e-9).all(), name


@every_method
@given(shape=shapes.map(lambda s: (3, *s[1:])), dtype=dtypes, seed=seeds)
def test_a_sample_never_depends_on_its_neighbours(method, device, shape, dtype, seed):
    p = predictions(shape, dtype, device, seed)
    scale = scale_per_sample(method, 3)
    whole = method.call(p, scale)
    order = torch.tensor([2, 0, 1])
    assert same_bits(method.call(p.map(lambda t: t[order]), scale[order]), whole[order])
    for i in range(3):
        assert same_bits(method.call(p.map(lambda t: t[i : i + 1]), scale[i : i + 1]), whole[i : i + 1])  # noqa: B023


@every_method
def test_a_large_sample_never_depends_on_its_neighbours(method, device):
    p = predictions((3, 2, 7, 61, 83), torch.float32, device, seed=3)  # 70,882 values: odd, and long enough to filter
    scale = scale_per_sample(method, 3)
    whole = method.call(p, scale)
    for i in range(3):
        assert same_bits(method.call(p.map(lambda t: t[i : i + 1]), scale[i : i + 1]), whole[i : i + 1])  # noqa: B023


@every_method
@given(
    shape=shapes.map(lambda s: (3, *s[1:])),
    dtype=dtypes,
    seed=seeds,
    bad=st.sampled_from([float("inf"), float("-inf"), float("nan")]),
    victim=st.integers(0, 2),
    role=st.integers(0, 3),
    everywhere=st.booleans(),
)
def test_a_bad_sample_stays_alone(method, device, shape, dtype, seed, bad, victim, role, everywhere):
    clean = predictions(shape, dtype, device, seed)
    names = ("cond", "uncond", "first", "second")
    broken = {name: getattr(clean, name).clone() for name in names}
    broken[names[role]][victim].view(-1)[slice(None) if everywhere else slice(1)] = bad
    others = [i for i in range(3) if i != victim]
    for scale in (scale_in(method, 0.5), scale_per_sample(method, 3)):
        got = method.call(Predictions(**broken), scale)[others]
        assert same_bits(got, method.call(clean, scale)[others])
        assert got.isfinite().all()


@every_method
@given(shape=shapes, dtype=dtypes, seed=seeds, fraction=unit)
def test_writes_into_no_argument(method, device, shape, dtype, seed, fraction):
    p = predictions(shape, dtype, device, seed)
    before = p.map(torch.clone)
    for scale in (scale_in(method, fraction), 1.0, 0.0, scale_per_sample(method, shape[0]).to(device)):
        if not isinstance(scale, torch.Tensor) and not method.scales[0] <= scale <= method.scales[1]:
            continue
        scale_before = scale.clone() if isinstance(scale, torch.Tensor) else None
        out = method.call(p, scale)
        for name in ("cond", "uncond", "first", "second"):
            t = getattr(p, name)
            assert torch.equal(t, getattr(before, name)) and t._version == 0
            assert out.data_ptr() != t.data_ptr() or out.numel() == 0
        assert scale_before is None or torch.equal(scale, scale_before)


@every_method
@given(
    shape=shapes,
    dtype=dtypes,
    fraction=unit,
    seed=seeds,
    case=st.sampled_from(["zeros", "equal", "opposite"]),
)
def test_degenerate_predictions_stay_finite(method, device, shape, dtype, fraction, seed, case):
    p = predictions(shape, dtype, device, seed)
    made = {
        "zeros": lambda: p.map(torch.zeros_like),
        "equal": lambda: p.map(lambda t: p.cond.clone()),
        "opposite": lambda: Predictions(p.cond, -p.cond, -p.cond, p.cond),
    }
    for scale in (scale_in(method, fraction), scale_per_sample(method, shape[0])):
        assert method.call(made[case](), scale).isfinite().all()


@every_method
def test_memory_layout_does_not_matter(method, device):
    p = predictions((2, 3, 4, 5, 6), torch.float32, device, seed=1)
    strided = p.map(lambda t: t.permute(4, 3, 0, 2, 1).contiguous().permute(2, 4, 3, 1, 0))
    assert not strided.cond.is_contiguous()
    scale = scale_in(method, 0.6)
    torch.testing.assert_close(method.call(strided, scale), method.call(p, scale))


@every_method
def test_spatial_order_does_not_matter(method, device):
    p = predictions((2, 3, 4, 5, 6), torch.float64, device, seed=2)
    scale = scale_in(method, 0.6)

    def turned(t):
        return t.transpose(3, 4).flip(3) if method.pictures else t.permute(0, 1, 4, 2, 3).flip(2)

    expected = method.call(p, scale)
    expected = turned(expected) if method.result == "latent" else expected
    torch.testing.assert_close(method.call(p.map(turned), scale), expected)


@every_method
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_half_precision_does_not_overflow(method, device, dtype):
    # The squared norm of this sample is 4e9, far beyond float16.
    p = predictions((1, 4, 128, 128), dtype, device, seed=5, magnitude=250.0)
    w = min(method.scales[1], 3.0)
    got = method.call(p, w)
    expected = np.asarray(method.oracle(p.map(lambda t: t[0].double().cpu().numpy()), w))
    error = np.abs(got[0].double().cpu().numpy() - expected).max() / np.abs(expected).max()
    assert error < TOLERANCE[dtype]


class LivingBytes(TorchDispatchMode):
    """Counts the bytes of storages that were made inside and are still alive, and remembers the most."""

    def __init__(self):
        super().__init__()
        self.now = self.peak = 0
        self.known = set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        made = out if isinstance(out, (tuple, list)) else (out,)
        arguments = {t.untyped_storage()._cdata for t in args if isinstance(t, torch.Tensor)}
        for t in made:
            if not isinstance(t, torch.Tensor):
                continue
            storage = t.untyped_storage()
            if storage._cdata in arguments or storage._cdata in self.known:
                continue
            self._add(t, storage)
        return out

    def _add(self, t, storage):
        self.known.add(storage._cdata)
        self.now += storage.nbytes()
        self.peak = max(self.peak, self.now)
        weakref.finalize(storage, self._drop, storage._cdata, storage.nbytes())

    def _drop(self, key, size):
        self.known.discard(key)
        self.now -= size


@every_method
def test_needs_at_most_three_latents_of_memory_beside_its_result(method):
    p = predictions((1, 16, 5, 128, 128), torch.float32, "cpu", seed=4)
    with LivingBytes() as memory:
        result = method.call(p, scale_in(method, 0.9))
    assert memory.peak - result.nbytes <= 3.0 * p.cond.nbytes


@pytest.mark.skipif(not torch.cuda.is_available(), reason="counts device synchronisations, needs a GPU")
@every_method
def test_never_waits_for_the_device(method):
    p = predictions((2, 4, 32, 32), torch.float16, "cuda", seed=4)
    scales = (scale_in(method, 0.7), scale_per_sample(method, 2).to("cuda"))
    for scale in scales:
        method.call(p, scale)
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        for scale in scales:
            method.call(p, scale)
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.parametrize("shape", [(2, 3, 4, 5), (1, 4, 64, 1100)], ids=["small", "in pieces"])
@every_method
def test_what_autograd_follows_is_guided_as_anything_else(method, shape, monkeypatch):
    monkeypatch.setattr(sys.modules["guidance.tensors.reduce"], "_PIECE", 1 << 18)
    p = predictions(shape, torch.float32, "cpu", seed=5)
    w = scale_in(method, 0.4)
    followed = method.call(p.map(lambda t: t.clone().requires_grad_()), w).detach()
    assert torch.allclose(followed, method.call(p, w), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("shape", [(2, 3, 4, 5), (1, 4, 64, 1100)], ids=["small", "in pieces"])
@every_method
def test_gradients_are_those_of_the_function(method, shape, monkeypatch):
    monkeypatch.setattr(sys.modules["guidance.tensors.reduce"], "_PIECE", 1 << 18)
    p, way = (predictions(shape, torch.float64, "cpu", seed=seed) for seed in (6, 7))
    w = scale_in(method, 0.45)

    def value(h: float | torch.Tensor) -> torch.Tensor:
        moved = Predictions(*(t + h * d for t, d in zip(astuple(p), astuple(way), strict=True)))
        result = method.call(moved, w + h)
        return (result * torch.linspace(1.0, 2.0, result.numel(), dtype=result.dtype).view_as(result)).mean()

    h = torch.zeros((), dtype=torch.float64, requires_grad=True)
    (found,) = torch.autograd.grad(value(h), h)
    step = 1e-7
    assert found.item() == pytest.approx(((value(step) - value(-step)) / (2 * step)).item(), rel=1e-4, abs=1e-6)


def test_every_public_function_is_a_formula_or_a_helper():
    named = {m.name.split()[0].rstrip(",") for m in METHODS}
    helpers = {helper.name for helper in specimens.found("HELPERS")}
    assert {name for name in g.__all__ if name[0].islower()} == named | helpers
    assert named & helpers == set()


TESTS = "\n".join(path.read_text(encoding="utf-8") for path in sorted(Path(__file__).parent.rglob("test_*.py")))


@pytest.mark.parametrize("name", [helper.name for helper in specimens.found("HELPERS")])
def test_every_helper_has_a_test(name):
    assert re.search(rf"\bg\.{name}\b", TESTS)
