"""Every reduction against torch's own sums in float64, on short samples and on those that are taken piece by piece."""

import pytest
import torch

from guidance.tensors import reduce

from ..drawing import drawn

# What each is for one sample, as one vector per argument; the last of some is a number.
LITERAL = {
    "dot": lambda a, b: a @ b,
    "norm": lambda a: a.norm(),
    "mean_abs": lambda a: a.abs().mean(),
    "distance": lambda a, b: (a - b).norm(),
    "norm_of_sum": lambda a, b, k: (a + k * b).norm(),
    "spread": lambda a: (a - a.mean()).norm(),
    "distances": lambda a, b, c: ((a - b).norm(), (a - c).norm()),
    "spreads_of_sums": lambda a, b, c, k: tuple((s - s.mean()).norm() for s in (a + k * b, a + k * c)),
    "products": lambda a, b, c: (a @ a, a @ b, a @ c),
    "products_along": lambda o, a, b, c: ((a - o) @ (a - o), (a - o) @ (b - o), (a - o) @ (c - o)),
    "dot_difference": lambda a, b, c: a @ (b - c),
    "products_with_difference": lambda a, b: (b @ b, b @ (a - b), (a - b) @ (a - b)),
    "products_from": lambda o, a, b: ((a - o) @ (a - o), (a - o) @ (b - o), (b - o) @ (b - o)),
    "products_of_residuals": lambda o, a, b, k: (
        (o - k * a) @ (o - k * a),
        (o - k * a) @ (o - k * b),
        (o - k * b) @ (o - k * b),
    ),
}
WITH_NUMBER = ("norm_of_sum", "spreads_of_sums", "products_of_residuals")
# Where the number does not come last.
CALLS = {"spreads_of_sums": lambda a, b, c, k: reduce.spreads_of_sums(a, k, b, c)}
SHAPES = [(3, 2, 5), (3, 4, 5, 6), (2, 3, 2, 210, 211)]  # of the last, 265,860 values are two pieces


@pytest.fixture(autouse=True)
def short_pieces(monkeypatch):
    monkeypatch.setattr(reduce, "_PIECE", 1 << 18)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("shape", SHAPES, ids=len)
@pytest.mark.parametrize("name", LITERAL)
def test_a_reduction_is_its_formula(name, shape, dtype):
    f = LITERAL[name]
    count = f.__code__.co_argcount - (name in WITH_NUMBER)
    drift = torch.linspace(0.5, 2.0, torch.Size(shape[1:]).numel()).view(shape[1:])  # the pieces must differ
    generator = torch.Generator().manual_seed(0)
    tensors = [((torch.randn(shape, generator=generator) + i) * drift).to(dtype) for i in range(count)]
    each = torch.linspace(0.3, 1.7, shape[0], dtype=torch.promote_types(dtype, torch.float32))
    numbers = [each.view(-1, *[1] * (len(shape) - 1))] if name in WITH_NUMBER else []
    before = [t.clone() for t in tensors]
    got = CALLS.get(name, getattr(reduce, name))(*tensors, *numbers)
    for values in got if isinstance(got, tuple) else [got]:
        assert values.dtype == each.dtype and values.shape == (shape[0], *[1] * (len(shape) - 1))
    rows = [[t[i].flatten().double() for t in tensors] for i in range(shape[0])]
    literal = [f(*row, *(k[i].double().view(()) for k in numbers)) for i, row in enumerate(rows)]
    expected = torch.tensor(literal, dtype=torch.float64)
    result = torch.stack([values.flatten() for values in (got if isinstance(got, tuple) else [got])], 1).double()
    error = (result.view_as(expected) - expected).abs().max() / expected.abs().max()
    assert error < (1e-12 if dtype == torch.float64 else 1e-5)
    assert all(torch.equal(t, old) for t, old in zip(tensors, before, strict=True))


@pytest.mark.parametrize("share", [0.7, 0.0])
def test_one_share_for_all_residuals(share):
    o, a, b = drawn(3, 2, 4, 5)
    shares = torch.full((2, 1, 1), share, dtype=torch.float64)
    for one, each in zip(
        reduce.products_of_residuals(o, a, b, share), reduce.products_of_residuals(o, a, b, shares), strict=True
    ):
        torch.testing.assert_close(one, each)


def test_what_is_too_small_to_divide_by_becomes_1():
    assert [reduce.safe(value) for value in (0.0, 1e-40, 2.0)] == [1.0, 1.0, 2.0]
    assert reduce.safe(torch.tensor([0.0, 1e-40, 2.0])).tolist() == [1.0, 1.0, 2.0]
    assert reduce.safe(torch.tensor([0.0, 1e-40], dtype=torch.float64)).tolist() == [1.0, 1.0]


@pytest.mark.parametrize("shape", [(2, 16, 128, 128), (2, 128, 16, 128)], ids=str)
def test_a_latent_that_is_not_contiguous_is_reduced_as_its_copy(shape):
    t = torch.randn(shape, generator=torch.Generator().manual_seed(0)).transpose(1, -1)
    assert not t.is_contiguous()
    for f in (reduce.norm, reduce.spread):
        assert torch.allclose(f(t), f(t.contiguous()), rtol=1e-5)


@pytest.mark.parametrize("value", [0.1, 0.7, 1.3, 2.9])
def test_the_spread_of_equal_values_is_none_though_their_mean_is_rounded(monkeypatch, value):
    exact = reduce.mean
    monkeypatch.setattr(reduce, "mean", lambda t: exact(t) * (1.0 + 1e-6))
    t = torch.full((1, 4, 3, 400, 300), value)
    assert 0.0 <= reduce.spread(t) < 1e-5 * reduce.norm(t)
