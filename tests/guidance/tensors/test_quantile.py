"""abs_quantile against numpy.quantile."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import guidance as g
from guidance.tensors.reduce import wide_dtype


def reference(t, q, rows):
    return np.quantile(t.double().abs().cpu().numpy().reshape(rows, -1), q, axis=1)


@given(
    shape=st.tuples(st.integers(1, 3), st.integers(1, 3), st.integers(1, 12), st.integers(1, 12)),
    q=st.one_of(st.floats(0, 1), st.sampled_from([0.0, 0.5, 0.75, 1.0])),
    dtype=st.sampled_from([torch.float16, torch.bfloat16, torch.float32, torch.float64]),
    per_channel=st.booleans(),
    ties=st.booleans(),
)
def test_equals_numpy(device, shape, q, dtype, per_channel, ties):
    t = torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)), dtype=torch.float64) * 3
    t = (t.round() if ties else t).to(device, dtype)
    got = g.abs_quantile(t, q, per_channel=per_channel)
    rows = shape[0] * shape[1] if per_channel else shape[0]
    assert got.shape == (shape[0], shape[1] if per_channel else 1, 1, 1) and got.dtype == wide_dtype(t)
    near = 1e-14 if dtype == torch.float64 else 1e-7
    np.testing.assert_allclose(got.flatten().cpu(), reference(t, q, rows), rtol=3 * near, atol=near)


@pytest.mark.parametrize("q", [0.0, 0.001, 0.3, 0.5, 0.74, 0.76, 0.9, 0.95, 0.995, 0.9999, 1.0])
@pytest.mark.parametrize("per_channel", [False, True])
@pytest.mark.parametrize("dtype", [torch.float16, torch.float32], ids=str)
def test_equals_numpy_on_long_rows(device, q, per_channel, dtype):
    t = torch.randn(2, 2, 3, 211, 173, generator=torch.Generator().manual_seed(7)).to(device, dtype)
    got = g.abs_quantile(t, q, per_channel=per_channel)
    np.testing.assert_allclose(got.flatten().cpu(), reference(t, q, 4 if per_channel else 2), rtol=2e-7)


def misleading(n, stride):
    """Large only where a regular sample of the row does not look, or only where it does."""
    row = torch.linspace(0.1, 1.0, n)
    hidden, shown = row.clone(), row.clone()
    hidden[1::stride] += 10.0
    shown[::stride] += 10.0
    return {
        "hidden": hidden,
        "shown": shown,
        "constant": torch.ones(n),
        "ascending": row,
        "mostly 0": row * (row > 0.99),
    }


@pytest.mark.parametrize("pattern", ["hidden", "shown", "constant", "ascending", "mostly 0"])
@pytest.mark.parametrize("q", [0.001, 0.3, 0.5, 0.8, 0.99, 0.9999])
def test_no_pattern_misleads_it(device, pattern, q):
    n = 1 << 18
    row = misleading(n, n >> 12)[pattern].to(device)
    got = g.abs_quantile(row.view(1, 1, -1), q)
    np.testing.assert_allclose(got.item(), np.quantile(row.cpu().double().numpy(), q), rtol=2e-7)


def test_more_values_than_torch_quantile_takes(device):
    n = (1 << 24) + 12345
    t = torch.empty(1, 1, n).uniform_(-1, 1, generator=torch.Generator().manual_seed(1)).to(device)
    with pytest.raises(RuntimeError):
        torch.quantile(t.abs(), 0.5)
    for q, expected in zip((0.5, 0.995), np.quantile(t.abs().cpu().numpy(), (0.5, 0.995)), strict=True):
        assert g.abs_quantile(t, q).item() == pytest.approx(float(expected), rel=3e-7)


def test_infinities_and_nan():
    t = torch.tensor([[1.0, -math.inf, 2.0, 3.0, 4.0], [1.0, math.nan, 2.0, 3.0, 4.0], [5.0, 1.0, 2.0, 3.0, 4.0]])
    for q, expected in (
        (0.5, [3.0, math.nan, 3.0]),
        (0.75, [4.0, math.nan, 4.0]),
        (0.8, [math.inf, math.nan, 4.2]),
    ):
        np.testing.assert_allclose(g.abs_quantile(t.view(3, 1, 5), q).flatten(), expected, rtol=1e-6)
    assert g.abs_quantile(t.view(3, 1, 5)[:1], 1.0).item() == math.inf
    assert g.abs_quantile(torch.full((1, 1, 4), math.inf), 0.4).item() == math.inf


@pytest.mark.parametrize("q", [-0.1, 1.1, math.nan])
def test_refuses_what_is_no_quantile(q):
    with pytest.raises(ValueError, match="between 0 and 1"):
        g.abs_quantile(torch.ones(1, 1, 3), q)
