"""Schedules: values, binding to a run, words, and what they refuse."""

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import guidance as g

RUN = tuple(float(s) for s in np.linspace(14.6, 0.0, 9))  # 8 steps
FLOW = tuple(float(t) for t in np.linspace(1.0, 0.0, 9))
progresses = st.floats(0, 1)


def area(y, x):
    """Under straight lines through the points."""
    y = np.asarray(y)
    return ((y[1:] + y[:-1]) / 2 * np.diff(x)).sum()


EXAMPLES = [
    g.Constant(7.5),
    g.Linear(7.0, 1.0),
    g.Cosine(1.0, 9.0),
    g.Power(1.0, 9.0, 2.0),
    g.Interval(7.0, start=0.2, end=0.8),
    g.SigmaInterval(7.0),
    g.Triangle(5.0),
    g.Beta(6.0),
    g.Exponential(5.0, 0.7),
    g.Compressed(7.0, 0.5, 2.0),
    g.Steps((1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0)),
    g.Curve(((0.0, 1.0), (0.5, 0.2), (1.0, 0.0))),
]
every_schedule = pytest.mark.parametrize("schedule", EXAMPLES, ids=lambda s: type(s).__name__)


@every_schedule
def test_is_a_small_value(schedule):
    twin = dataclasses.replace(schedule)
    assert twin == schedule and hash(twin) == hash(schedule) and isinstance(schedule, g.Schedule)
    assert eval(repr(schedule), {type(schedule).__name__: type(schedule), "inf": math.inf}) == schedule  # noqa: S307
    with pytest.raises(dataclasses.FrozenInstanceError):
        schedule.low = 3.0


def test_weights_are_floats_whatever_came_in():
    ranges = [g.Linear(7, 7), g.Interval(7, 1), g.SigmaInterval(7, 1, 0, 5), g.Beta(7, 1, 1)]
    ranges += [g.Exponential(7, 0), g.Compressed(7, 1)]
    lists = [g.Steps([7]), g.Curve([(0, 1), (1, 1)], 1, 7), g.Curve([[0, 1]], 1, 7, smooth=False)]
    for schedule in [g.Constant(7), *ranges, *lists]:
        weight = schedule.weight(0.5, 2)
        assert type(weight) is float and weight == 7.0


@pytest.mark.parametrize("sigmas", [(), (3.0,)], ids=len)
@every_schedule
def test_a_run_without_steps_is_no_error(schedule, sigmas):
    for kind in ("ve", "flow"):
        assert schedule.for_run(sigmas, kind).weight(0.0, 0.5) >= 0.0


@every_schedule
@pytest.mark.parametrize("kind,sigmas", [("ve", RUN), ("flow", FLOW), ("ve", RUN[::-1]), ("flow", FLOW[::-1])])
@given(p=progresses, sigma=st.floats(0, 1))
def test_every_progress_has_a_finite_weight(schedule, kind, sigmas, p, sigma):
    bound = schedule.for_run(sigmas, kind)
    for s in (schedule, bound):
        weight = s.weight(p, sigma)
        assert type(weight) is float and math.isfinite(weight)
    assert bound.for_run(sigmas, kind) == bound  # binding twice is binding once
    assert hash(bound) == hash(dataclasses.replace(bound)) and str(bound)


@pytest.mark.parametrize(
    "schedule,words",
    [
        (g.Constant(7.5), "7.5"),
        (g.Linear(7.0, 1.0), "linear 7 to 1"),
        (g.Cosine(1.0, 9.0), "cosine 1 to 9"),
        (g.Power(1.0, 9.0, 2.0), "1 to 9 with power 2"),
        (g.Interval(7.0, start=0.2, end=0.8), "7 for progress in [0.2, 0.8), 1 elsewhere"),
        (g.Interval(7.0, start=0.2), "7 for progress in [0.2, 1], 1 elsewhere"),
        (g.SigmaInterval(16.0), "16 for EDM sigma in (0.28, 5.42], 1 elsewhere"),
        (
            g.SigmaInterval(16.0, sigma_high=math.inf, units="host"),
            "16 for sigma in (0.28, inf], 1 elsewhere",
        ),
        (g.Triangle(5.0), "stage-wise 1 up and back with mean 5"),
        (g.Triangle(5.0, over="time"), "stage-wise 1 up and back with mean 5 in the model's time"),
        (g.Beta(6.0), "6 times Beta(2, 3), at least 1"),
        (g.Exponential(5.0, 0.7), "5 times exp(0.7 (1 - t of the noise level))"),
        (g.Exponential(5.0, 0.7, units="host"), "5 times exp(0.7 (1 - t))"),
        (g.Compressed(7.0, 0.5, 2.0), "7 compressed into 0.5 of the steps with power 2, 1 elsewhere"),
        (g.Steps((1, 2.5)), "per step 1, 2.5"),
        (g.Curve(((0, 1), (1, 0))), "smooth curve between 1 and 7 through (0, 1), (1, 0)"),
        (g.Curve(((0, 1), (1, 0)), smooth=False), "line between 1 and 7 through (0, 1), (1, 0)"),
    ],
    ids=str,
)
def test_says_what_it_does(schedule, words):
    assert str(schedule) == words


@given(p=progresses, a=st.floats(-20, 20), b=st.floats(-20, 20), k=st.floats(0.1, 5))
def test_ramps(p, a, b, k):
    assert g.Constant(a).weight(p, 1.0) == a
    assert g.Linear(a, b).weight(p, 1.0) == pytest.approx(a + (b - a) * p, abs=1e-12)
    assert g.Cosine(a, b).weight(p, 1.0) == pytest.approx(a + (b - a) * (1 - math.cos(math.pi * p)) / 2, abs=1e-12)
    assert g.Power(a, b, k).weight(p, 1.0) == pytest.approx(a + (b - a) * p**k, abs=1e-12)
    for ramp in (g.Linear(a, b), g.Cosine(a, b), g.Power(a, b, k)):
        assert ramp.weight(0.0, 1.0) == a and ramp.weight(1.0, 1.0) == b
    for flat in (g.Linear(a, a), g.Cosine(a, a), g.Power(a, a, k)):
        assert flat.weight(p, 1.0) == a


@pytest.mark.parametrize("mean", [2.0, 7.5])
def test_ramps_keep_the_mean_of_the_paper(mean):
    p = np.linspace(0, 1, 2001)
    for schedule in (g.Linear(0.0, 2 * mean), g.Cosine(0.0, 2 * mean), g.Linear(2 * mean, 0.0)):
        assert area([schedule.weight(x, 1.0) for x in p], p) == pytest.approx(mean, rel=1e-6)


def test_interval_edges():
    window = g.Interval(7.0, outside=2.0, start=0.25, end=0.5)
    assert [window.weight(p, 1.0) for p in (0.0, 0.249, 0.25, 0.4, 0.499, 0.5, 1.0)] == [2, 2, 7, 7, 7, 2, 2]
    to_the_end = g.Interval(7.0, start=0.5)
    assert [to_the_end.weight(p, 1.0) for p in (0.49, 0.5, 1.0)] == [1, 7, 7]
    never = g.Interval(7.0, start=0.5, end=0.5)
    assert {never.weight(p / 100, 1.0) for p in range(101)} == {1.0}
    last = g.Interval(7.0, start=1.0)
    assert last.weight(0.999, 1.0) == 1 and last.weight(1.0, 1.0) == 7


def test_sigma_interval_edges_are_those_of_the_paper():
    window = g.SigmaInterval(16.0, sigma_low=0.28, sigma_high=5.42)
    assert [window.weight(0.5, s) for s in (0.0, 0.28, 0.2801, 5.42, 5.4201, math.inf)] == [
        1,
        1,
        16,
        16,
        1,
        1,
    ]
    assert g.SigmaInterval(7.0, sigma_low=0.0, sigma_high=math.inf).weight(0.0, 1e9) == 7
    assert window.for_run(RUN, "ve") == window


def test_sigma_interval_on_the_sdxl_grid_of_the_paper():
    # 32 Heun steps on a Karras grid with rho 3 from 14.6: steps 10 to 25 are guided.
    top, low = 14.61 ** (1 / 3), 0.0292 ** (1 / 3)
    grid = [(top + i / 31 * (low - top)) ** 3 for i in range(32)]
    guided = [i for i, s in enumerate(grid) if g.SigmaInterval(16.0).weight(i / 31, s) == 16]
    assert guided == list(range(10, 26))


def test_sigma_interval_moves_to_flow_levels_of_equal_signal_to_noise():
    bound = g.SigmaInterval(16.0).for_run(FLOW, "flow")
    assert (bound.sigma_low, bound.sigma_high) == pytest.approx((0.219, 0.844), abs=5e-4)
    for low, high in ((0.28, 5.42), (0.0, math.inf), (1.0, 1.0)):
        bound = g.SigmaInterval(16.0, sigma_low=low, sigma_high=high).for_run(FLOW, "flow")
        for t in np.linspace(0.001, 0.999, 200):
            assert bound.weight(0.0, t) == (16.0 if low < t / (1 - t) <= high else 1.0)
    open_window = g.SigmaInterval(16.0, sigma_high=math.inf).for_run(FLOW, "flow")
    assert open_window.weight(0.0, 1.0) == 16.0 and open_window.weight(0.0, 1.0000001) == 16.0
    native = g.SigmaInterval(16.0, sigma_low=0.2, sigma_high=0.8, units="host")
    assert native.for_run(FLOW, "flow") == native and native.for_run(RUN, "ve") == native


def ddpm_times(sigmas):
    """Where the sigmas lie among the 1000 levels that Stable Diffusion was trained on."""
    betas = np.linspace(0.00085**0.5, 0.012**0.5, 1000) ** 2
    signal = np.cumprod(1 - betas)
    trained = np.log(np.sqrt((1 - signal) / signal))
    return np.interp(np.log(np.maximum(sigmas, 1e-9)), trained, np.arange(1000))


def triangle_oracle(mean, low, sigmas, flow, times=None):
    """The published construction: two linspaces over the step index, then the mean over the run restored."""
    n, high = len(sigmas) - 1, 2 * mean - low
    if n % 2 == 0:
        rising = np.linspace(low, high, n // 2, endpoint=False)
        raw = np.concatenate([rising, np.linspace(high, low, n // 2)])
    else:
        half = (n + 1) // 2
        raw = np.concatenate([np.linspace(low, high, half), np.linspace(high, low, half)[1:]])
    t = np.asarray(sigmas) if flow else np.linspace(1, 0, n + 1)
    t = t if times is None else times
    dt = (t[:-1] - t[1:]) / (t[0] - t[-1])
    return raw * mean / (raw * dt).sum(), dt


def weights_of(schedule, sigmas, kind):
    bound, n = schedule.for_run(tuple(sigmas), kind), len(sigmas) - 1
    return np.array([bound.weight(i / max(n - 1, 1), sigmas[i]) for i in range(n)])


@given(
    n=st.integers(2, 41),
    mean=st.floats(1.0, 15.0),
    low=st.sampled_from([0.5, 1.0]),
    shift=st.sampled_from([1.0, 3.0]),
    end=st.sampled_from([0.0, 0.3]),
    upwards=st.booleans(),
)
def test_triangle_is_the_published_one(n, mean, low, shift, end, upwards):
    t = np.linspace(1.0, end, n + 1)
    t = t * shift / (1 + (shift - 1) * t)
    t = t[::-1] if upwards else t
    for kind in ("flow", "ve"):
        expected, dt = triangle_oracle(mean, low, t, kind == "flow")
        got = weights_of(g.Triangle(mean, low), t, kind)
        np.testing.assert_allclose(got, expected, rtol=1e-12)
        assert (got * dt).sum() == pytest.approx(mean, rel=1e-12)


def test_triangle_example_of_the_paper():
    raw = np.array([1, 2.6, 4.2, 5.8, 7.4, 9, 7, 5, 3, 1])
    uniform = np.linspace(1, 0, 11)
    np.testing.assert_allclose(weights_of(g.Triangle(5.0), uniform, "flow") / raw, 1.08696, rtol=1e-5)
    timesteps = np.linspace(1.0, 1e-3, 10)  # SD3: shift 3 over 1000 training steps
    shifted = np.append(3 * timesteps / (1 + 2 * timesteps), 0.0)
    np.testing.assert_allclose(weights_of(g.Triangle(5.0), shifted, "flow") / raw, 0.9841, atol=1e-4)


def karras(steps):
    ramp = np.linspace(0, 1, steps)
    return np.append((14.614642 ** (1 / 7) + ramp * (0.0291672 ** (1 / 7) - 14.614642 ** (1 / 7))) ** 7, 0.0)


def exponential(steps):
    return np.append(np.exp(np.linspace(math.log(14.614642), math.log(0.0291672), steps)), 0.0)


@pytest.mark.parametrize("scheduler,before", [(karras, 9.63), (exponential, 8.67)])
@pytest.mark.parametrize("steps", [20, 7])
def test_the_mean_of_a_triangle_is_kept_in_the_models_time(scheduler, before, steps):
    sigmas = scheduler(steps)
    times = ddpm_times(sigmas)
    expected, dt = triangle_oracle(7.5, 1.0, sigmas, False, times)
    got = weights_of(g.Triangle(7.5, over="time"), sigmas, "ve")
    np.testing.assert_allclose(got, expected, rtol=1e-9)
    assert (got * dt).sum() == pytest.approx(7.5)
    in_steps = weights_of(g.Triangle(7.5), sigmas, "ve")
    assert in_steps.mean() == pytest.approx(7.5)
    if steps == 20:
        assert (in_steps * dt).sum() == pytest.approx(before, abs=0.01)


def test_the_time_of_a_flow_model_is_its_sigma_in_both_ways():
    bound = g.Triangle(5.0, over="time").for_run(FLOW, "flow")
    assert bound.values == g.Triangle(5.0).for_run(FLOW, "flow").values


def test_triangle_of_short_runs_and_degenerate_means():
    assert weights_of(g.Triangle(5.0), [1.0, 0.0], "flow").tolist() == [5.0]
    assert weights_of(g.Triangle(5.0, low=0.0), [1.0, 0.0], "flow").tolist() == [5.0]
    assert weights_of(g.Triangle(0.0, low=0.0), [1.0, 0.5, 0.0], "flow").tolist() == [0.0, 0.0]
    assert weights_of(g.Triangle(1.0), FLOW, "flow").tolist() == pytest.approx([1.0] * 8)
    assert weights_of(g.Triangle(4.0), [2.0, 2.0, 2.0], "flow").mean() == pytest.approx(4.0)
    raw = g.Triangle(5.0)
    assert [raw.weight(p, 1.0) for p in (0.0, 0.25, 0.5, 1.0)] == [1, 5, 9, 1]


def test_triangle_takes_the_nearest_step_between_steps():
    bound = g.Triangle(5.0).for_run(FLOW, "flow")
    assert bound.weight(0.44, 0.5) == bound.weight(3 / 7, 0.5) == bound.values[3]


@given(a=st.floats(1, 6), b=st.floats(1, 6))
def test_beta_is_a_density(a, b):
    p = np.linspace(0, 1, 4001)
    density = np.array([g.Beta(1.0, a, b, 0.0).weight(x, 1.0) for x in p])
    assert area(density, p) == pytest.approx(1.0, abs=2e-3)
    floored = np.array([g.Beta(3.0, a, b, 1.0).weight(x, 1.0) for x in p])
    np.testing.assert_allclose(floored, np.maximum(1.0, 3 * density))


def test_beta_values():
    assert g.Beta(1.0, 2, 3).weight(0.5, 1.0) == pytest.approx(1.5)
    for p in (0.0, 1.0):
        assert g.Beta(6.0, floor=0.0).weight(p, 1.0) == 0.0 and g.Beta(6.0).weight(p, 1.0) == 1.0
    assert g.Beta(6.0, 1, 1).weight(0.3, 1.0) == pytest.approx(6.0)


@given(scale=st.floats(0, 20), rate=st.floats(-2, 3), t=st.floats(0, 1))
def test_exponential_is_c2fg(scale, rate, t):
    flow = g.Exponential(scale, rate).for_run(FLOW, "flow")
    assert flow.weight(0.5, t) == pytest.approx(scale * math.exp(rate * (1 - t)))
    assert flow.weight(0.5, 1.0) == scale
    ve = g.Exponential(scale, rate).for_run(RUN, "ve")
    if t < 1:  # of equal signal-to-noise ratio
        assert ve.weight(0.5, t / (1 - t)) == pytest.approx(flow.weight(0.5, t), rel=1e-9)
    assert ve.weight(0.5, math.inf) == scale


def test_exponential_rises_towards_the_data_and_looks_at_the_noise_alone():
    weights = weights_of(g.Exponential(4.0, math.log(2.0)), FLOW, "flow")
    assert (np.diff(weights) > 0).all() and weights[0] == 4.0
    assert weights_of(g.Exponential(4.0, 0.0), RUN, "ve").tolist() == [4.0] * 8
    later = weights_of(g.Exponential(4.0, math.log(2.0)), FLOW[4:], "flow")  # image to image
    np.testing.assert_array_equal(later, weights[4:])


@given(
    n=st.integers(1, 60),
    scale=st.floats(1.0, 15.0),
    share=st.floats(0.01, 1.0),
    k=st.sampled_from([0.5, 1.0, 1.5, 2.0, 3.0]),
)
def test_compressed_keeps_the_whole_of_the_guidance(n, scale, share, k):
    sigmas = np.linspace(1.0, 0.0, n + 1)
    weights = weights_of(g.Compressed(scale, share, k), sigmas, "flow")
    assert (weights - 1).sum() == pytest.approx(n * (scale - 1), abs=1e-9)
    count = max(1, round(share * n))
    expected = {min(math.floor(n / count**k * i**k + 1e-9), n - 1) for i in range(count)}
    if scale > 1.01:
        assert set(np.flatnonzero(weights != 1.0)) == expected
        assert len(set(weights)) <= 2


def test_compressed_steps_of_the_paper():
    def guided(n, share, k):
        return np.flatnonzero(weights_of(g.Compressed(3.0, share, k), np.linspace(1, 0, n + 1), "ve") != 1.0).tolist()

    assert guided(10, 0.5, 1.0) == [0, 2, 4, 6, 8]
    assert guided(10, 0.3, 1.0) == [0, 3, 6]
    assert guided(30, 0.2, 2.0) == [0, 3, 7, 13, 20]  # 0, 0.8, 3.3, 7.5, 13.3, 20.8: two of the six coincide
    assert guided(8, 1.0, 1.0) == list(range(8))
    assert guided(4, 0.01, 1.0) == [0]
    assert weights_of(g.Compressed(3.0, 0.5), RUN, "ve").tolist() == [5.0, 1.0] * 4
    assert weights_of(g.Compressed(3.0, 1.0), RUN, "ve").tolist() == [3.0] * 8


@pytest.mark.parametrize("n", [10, 20, 28, 30, 50])
@pytest.mark.parametrize("r", [0.2, 0.25, 0.4, 0.5, 0.6, 1.0])
def test_an_interval_from_the_start_is_cfg_truncation(n, r):
    """Truncation guides while (i + 1)/N <= r; an interval that ends at r does so for at most one step more."""
    weights = weights_of(g.Interval(6.0, end=r), np.linspace(1, 0, n + 1), "flow")
    guided = int((weights != 1.0).sum())
    assert (weights[:guided] == 6.0).all()
    assert guided - math.floor(r * n + 1e-9) in (0, 1)


def test_steps_count():
    steps = g.Steps([1, 2, 3.5])
    assert steps.values == (1, 2, 3.5)
    run = (3.0, 2.0, 1.0, 0.0)
    assert weights_of(steps, run, "ve").tolist() == [1.0, 2.0, 3.5]
    assert steps.weight(0.2, 1.0) == 1.0 and steps.weight(0.3, 1.0) == 2.0
    with pytest.raises(ValueError, match="has 3 values but the run has 8 steps"):
        steps.for_run(RUN, "ve")
    with pytest.raises(ValueError, match="has 1 value but the run has 8 steps"):
        g.Steps([1]).for_run(RUN, "ve")
    assert weights_of(g.Steps([4.0]), (1.0, 0.0), "flow").tolist() == [4.0]


def curve_oracle(points, x):
    """Fritsch-Carlson: mean secants as tangents, none at extrema, shortened into the circle of radius 3."""
    xs, ys = (np.array(v, dtype=float) for v in zip(*points, strict=True))
    h, d = np.diff(xs), np.diff(ys) / np.diff(xs)
    m = np.empty(len(xs))
    m[0], m[-1] = d[0], d[-1]
    for k in range(1, len(xs) - 1):
        m[k] = 0.0 if d[k - 1] * d[k] <= 0 else (d[k - 1] + d[k]) / 2
    for k in range(len(d)):
        if d[k] == 0:
            m[k] = m[k + 1] = 0.0
        else:
            alpha, beta = m[k] / d[k], m[k + 1] / d[k]
            if alpha**2 + beta**2 > 9:
                tau = 3 / math.sqrt(alpha**2 + beta**2)
                m[k], m[k + 1] = tau * alpha * d[k], tau * beta * d[k]
    if x <= xs[0]:
        return ys[0]
    if x >= xs[-1]:
        return ys[-1]
    k = int(np.searchsorted(xs, x, side="right")) - 1
    t = (x - xs[k]) / h[k]
    basis = [2 * t**3 - 3 * t**2 + 1, t**3 - 2 * t**2 + t, -2 * t**3 + 3 * t**2, t**3 - t**2]
    return np.dot(basis, [ys[k], h[k] * m[k], ys[k + 1], h[k] * m[k + 1]])


@st.composite
def curves(draw):
    xs = sorted(draw(st.lists(st.integers(0, 40), min_size=2, max_size=7, unique=True)))
    ys = draw(st.lists(st.integers(0, 20), min_size=len(xs), max_size=len(xs)))
    return tuple((x / 40, y / 20) for x, y in zip(xs, ys, strict=True))


@given(points=curves(), p=progresses)
def test_smooth_curves_are_monotone_cubics(points, p):
    curve = g.Curve(points, low=2.0, high=12.0)
    assert curve.weight(p, 1.0) == pytest.approx(2.0 + 10.0 * curve_oracle(points, p), abs=1e-9)
    for (x0, y0), (x1, y1) in zip(points[:-1], points[1:], strict=True):
        between = [curve.weight(float(x), 1.0) for x in np.linspace(x0, x1, 21)]
        ends = sorted((2 + 10 * y0, 2 + 10 * y1))
        assert ends[0] - 1e-9 <= min(between) and max(between) <= ends[1] + 1e-9


@given(points=curves(), p=progresses)
def test_straight_curves_are_linear(points, p):
    xs, ys = zip(*points, strict=True)
    got = g.Curve(points, low=2.0, high=12.0, smooth=False).weight(p, 1.0)
    assert got == pytest.approx(2.0 + 10.0 * np.interp(p, xs, ys), abs=1e-9)


def test_curves_of_few_points_and_steps():
    assert g.Curve([(0.4, 0.5)], low=1.0, high=3.0).weight(0.9, 1.0) == 2.0
    assert g.Curve([[1, 0], [0, 1]]).points == ((0, 1), (1, 0))
    step = g.Curve(((0, 0), (0.5, 0), (0.5, 1), (1, 1)), low=0.0, high=1.0)
    assert [step.weight(p, 1.0) for p in (0.0, 0.49, 0.51, 1.0)] == pytest.approx([0, 0, 1, 1])


NAN, INF = math.nan, math.inf


@pytest.mark.parametrize(
    "make,words",
    [
        (lambda: g.Constant(NAN), "Constant: value must be a finite number (got nan)."),
        (lambda: g.Constant("7"), "Constant: value must be a finite number (got '7')."),
        (lambda: g.Linear(1.0, INF), "Linear: end must be a finite number (got inf)."),
        (lambda: g.Cosine(NAN, 1.0), "Cosine: start must be a finite number (got nan)."),
        (lambda: g.Power(1.0, 2.0, 0.0), "Power: exponent must be above 0 (got 0.0)."),
        (lambda: g.Power(1.0, 2.0, NAN), "Power: exponent must be a finite number (got nan)."),
        (lambda: g.Interval(7.0, start=0.8, end=0.2), "Interval: start must not lie after end, which is 0.2"),
        (lambda: g.Interval(7.0, start=-0.1), "Interval: start must lie between 0 and 1 (got -0.1)."),
        (lambda: g.Interval(7.0, end=1.1), "Interval: end must lie between 0 and 1 (got 1.1)."),
        (lambda: g.Interval(7.0, outside=NAN), "Interval: outside must be a finite number (got nan)."),
        (lambda: g.SigmaInterval(7.0, sigma_low=6.0), "SigmaInterval: sigma_low must not exceed sigma_high"),
        (
            lambda: g.SigmaInterval(7.0, sigma_low=-1.0),
            "SigmaInterval: sigma_low must not be below 0 (got -1.0).",
        ),
        (lambda: g.SigmaInterval(7.0, sigma_high=NAN), "SigmaInterval: sigma_high must be a number or inf"),
        (lambda: g.SigmaInterval(7.0, units="vp"), 'SigmaInterval: units must be "edm" or "host" (got \'vp\').'),
        (lambda: g.Triangle(0.5), "Triangle: mean must not be below low, which is 1 (got 0.5)."),
        (lambda: g.Triangle(5.0, low=-1.0), "Triangle: low must not be below 0 (got -1.0)."),
        (lambda: g.Triangle(5.0, over="t"), "Triangle: over must be \"steps\" or \"time\" (got 't')."),
        (lambda: g.Beta(6.0, a=0.5), "Beta: a must be at least 1"),
        (lambda: g.Beta(6.0, b=0.5), "Beta: b must be at least 1"),
        (lambda: g.Beta(6.0, floor=NAN), "Beta: floor must be a finite number (got nan)."),
        (lambda: g.Exponential(5.0, NAN), "Exponential: rate must be a finite number (got nan)."),
        (lambda: g.Exponential(5.0, 1.0, "ve"), 'Exponential: units must be "edm" or "host" (got \'ve\').'),
        (lambda: g.Compressed(5.0, 0.0), "Compressed: share must be above 0 and at most 1 (got 0.0)."),
        (lambda: g.Compressed(5.0, 1.1), "Compressed: share must be above 0 and at most 1 (got 1.1)."),
        (lambda: g.Compressed(5.0, 0.5, 0.0), "Compressed: exponent must be above 0 (got 0.0)."),
        (lambda: g.Steps(()), "Steps: values must hold at least one weight (got an empty list)."),
        (lambda: g.Steps((1.0, NAN)), "Steps: values[1] must be a finite number."),
        (lambda: g.Curve(()), "Curve: points must hold at least one point (got an empty list)."),
        (lambda: g.Curve(((0.0, 1.5),)), "Curve: points[0] must be a pair (x, y) with both between 0 and 1."),
        (lambda: g.Curve(((0.0, NAN),)), "Curve: points[0] must be a pair (x, y) with both between 0 and 1."),
        (
            lambda: g.Curve(((0.0, 1.0, 2.0),)),
            "Curve: points[0] must be a pair (x, y) with both between 0 and 1.",
        ),
        (lambda: g.Curve(((0.0, 1.0),), low=8.0), "Curve: low must not exceed high, which is 7 (got 8.0)."),
    ],
)
def test_refuses_with_a_sentence_that_names_the_field(make, words):
    with pytest.raises(ValueError) as refusal:
        make()
    assert str(refusal.value).startswith(words)
