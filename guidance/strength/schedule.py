"""Schedules: the guidance scale as a function of where the run stands.

A schedule is a small frozen value: hashable, printable, without state.

Paper: Wang et al. 2024, "Analysis of Classifier-Free Guidance Weight Schedulers", arXiv 2404.13040, linear and cosine.
Paper: Kynkäänniemi et al. 2024, "Applying Guidance in a Limited Interval Improves Sample and Distribution Quality in
Diffusion Models", arXiv 2404.07724, the intervals.
Paper: Yi, Li, Xin, Li 2024, "Towards Understanding the Working Mechanism of Text-to-Image Diffusion Model", arXiv
2405.15330, CFG truncation.
Paper: Jin, Shi, Gu 2025, "Stage-wise Dynamics of Classifier-Free Guidance in Diffusion Models" (TV-CFG), arXiv
2509.22007, the triangle.
Paper: Malarz, Kasymov, Zieba, Tabor, Spurek 2025, "Classifier-free Guidance with Adaptive Scaling" (beta-CFG), arXiv
2502.10574, its weight alone.
Paper: Gao, Zheng et al. 2026, "C2FG: Control Classifier-Free Guidance via Score Discrepancy Analysis", arXiv
2603.08155, exponential.
Paper: Dinh, Liu, Xu 2024, "Compress Guidance in Conditional Diffusion Sampling", arXiv 2408.11194, compressed.
Formula: `weight(progress, sigma) -> float`, the host scale w of one step (0 unconditional, 1 conditional).
Space: none. Every schedule only changes the number w that multiplies D_c - D_u, and is therefore space-free.
Units: progress is i / (N - 1) for step i of N: 0 at the first step of THIS run, 1 at the last (0 if N = 1). All calls
of a step, also a corrector's, are given what its first is given. sigma is the host's: VE sigma for eps, v and EDM
models, t in [0, 1] for flow.
`for_run(sigmas, kind)` is called once when a run starts and returns the schedule to use for that run. It is given all
sigmas with the final one: N + 1 values, descending, or ascending when unsampling.
Identity: a schedule that equals the sampler's own cfg everywhere; `Constant` is that schedule.
Departures: host scale throughout. Papers that write eps = eps_c + W (eps_c - eps_u) mean W = w - 1.
"""

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from ..tensors.convert import flow_sigma
from ..tensors.values import is_number, quoted, shortened

__all__ = [
    "Beta",
    "Compressed",
    "Constant",
    "Cosine",
    "Curve",
    "Exponential",
    "Interval",
    "Linear",
    "Power",
    "Schedule",
    "SigmaInterval",
    "Steps",
    "Triangle",
]


class Schedule:
    """What all schedules share. Subclasses are frozen dataclasses and define `weight` and `__str__`."""

    def weight(self, progress: float, sigma: float) -> float:
        """The host scale w at `progress` in [0, 1] and at the host's `sigma`."""
        raise NotImplementedError

    def for_run(self, sigmas: tuple[float, ...], kind: str) -> "Schedule":
        """The schedule for a run over `sigmas` (N + 1 values); often `self`.

        `kind` is the model's family: "ve", "flow", or "flow in ve" for a flow model in VE coordinates, whose sigmas are
        VE and whose time is t = sigma/(1 + sigma).

        Raises ValueError, in one sentence, when the schedule cannot serve that run.
        """
        return self


@dataclass(frozen=True)
class Constant(Schedule):
    """w = value."""

    value: float

    def __post_init__(self):
        _finite(self, "value")

    def weight(self, progress: float, sigma: float) -> float:
        return self.value

    def __str__(self) -> str:
        return f"{self.value:g}"


@dataclass(frozen=True)
class Linear(Schedule):
    """w = start + (end - start) p.

    Rising from 0 or 1 is Wang et al. 2024, "Analysis of Classifier-Free Guidance Weight Schedulers", arXiv
    2404.13040 (their W = 2 W0 p); falling is common practice and the opposite of their finding.
    """

    start: float
    end: float

    def __post_init__(self):
        _finite(self, "start", "end")

    def weight(self, progress: float, sigma: float) -> float:
        return _lerp(self.start, self.end, progress)

    def __str__(self) -> str:
        return f"linear {self.start:g} to {self.end:g}"


@dataclass(frozen=True)
class Cosine(Schedule):
    """w = start + (end - start) (1 - cos(pi p)) / 2, a half cosine that is flat at both ends.

    Rising, it is the cosine of Wang et al. 2024, arXiv 2404.13040 (their W = W0 (1 - cos(pi p)), the mean is
    kept). The "Cosine Up" of sd-dynamic-thresholding is another one: a quarter wave, flat at one end only.
    """

    start: float
    end: float

    def __post_init__(self):
        _finite(self, "start", "end")

    def weight(self, progress: float, sigma: float) -> float:
        return _lerp(self.start, self.end, (1.0 - math.cos(math.pi * progress)) / 2.0)

    def __str__(self) -> str:
        return f"cosine {self.start:g} to {self.end:g}"


@dataclass(frozen=True)
class Power(Schedule):
    """w = start + (end - start) p^exponent; exponent > 0: 1 is linear, a larger one stays near `start` for longer."""

    start: float
    end: float
    exponent: float

    def __post_init__(self):
        _finite(self, "start", "end", "exponent")
        _require(self.exponent > 0, self, "exponent", "must be above 0")

    def weight(self, progress: float, sigma: float) -> float:
        return _lerp(self.start, self.end, progress**self.exponent)

    def __str__(self) -> str:
        return f"{self.start:g} to {self.end:g} with power {self.exponent:g}"


@dataclass(frozen=True)
class Interval(Schedule):
    """w = inside where start <= p < end, outside elsewhere; end = 1 includes the last step.

    The limited interval of Kynkäänniemi et al. 2024, "Applying Guidance in a Limited Interval Improves Sample
    and Distribution Quality in Diffusion Models", arXiv 2404.07724, in progress instead of sigma. Outside is
    w = 1, the CONDITIONAL prediction, whose step needs no negative pass; it is not the unconditional one.
    start = 0, end = r is CFG truncation, arXiv 2405.15330, which guides while (i + 1)/N <= r, or one step more.
    """

    inside: float
    outside: float = 1.0
    start: float = 0.0
    end: float = 1.0

    def __post_init__(self):
        _finite(self, "inside", "outside", "start", "end")
        _require(0.0 <= self.start <= 1.0, self, "start", "must lie between 0 and 1")
        _require(0.0 <= self.end <= 1.0, self, "end", "must lie between 0 and 1")
        _require(self.start <= self.end, self, "start", f"must not lie after end, which is {self.end:g}")

    def weight(self, progress: float, sigma: float) -> float:
        started = self.start <= progress
        ended = progress >= self.end and self.end < 1.0
        return self.inside if started and not ended else self.outside

    def __str__(self) -> str:
        closing = "]" if self.end == 1.0 else ")"
        window = f"[{self.start:g}, {self.end:g}{closing}"
        return f"{self.inside:g} for progress in {window}, {self.outside:g} elsewhere"


@dataclass(frozen=True)
class SigmaInterval(Schedule):
    """w = inside where sigma_low < sigma <= sigma_high, outside elsewhere.

    Kynkäänniemi et al. 2024, arXiv 2404.07724, which gives its windows in EDM (VE) sigmas: SDXL (0.28, 5.42]
    at w = 16. `units` "edm" means that the window is in these units; for a flow model `for_run` then translates it to
    t = sigma/(1 + sigma), the level of equal half log SNR. "host" means that the window is in the model's own sigma.
    sigma_high may be inf. The paper decides per scheduled step, so hand `weight` the sigma of the scheduled step, also
    at a corrector.
    """

    inside: float
    outside: float = 1.0
    sigma_low: float = 0.28
    sigma_high: float = 5.42
    units: str = "edm"

    def __post_init__(self):
        _finite(self, "inside", "outside", "sigma_low")
        _require(self.sigma_low >= 0.0, self, "sigma_low", "must not be below 0")
        _require(not math.isnan(self.sigma_high), self, "sigma_high", "must be a number or inf")
        _require(
            self.sigma_low <= self.sigma_high,
            self,
            "sigma_low",
            f"must not exceed sigma_high, {self.sigma_high:g}",
        )
        _require(self.units in ("edm", "host"), self, "units", 'must be "edm" or "host"')

    def weight(self, progress: float, sigma: float) -> float:
        return self.inside if self.sigma_low < sigma <= self.sigma_high else self.outside

    def for_run(self, sigmas: tuple[float, ...], kind: str) -> "SigmaInterval":
        if kind != "flow" or self.units == "host":
            return self
        # A run may start a little above t = 1, so a window without an upper end keeps none.
        high = math.inf if math.isinf(self.sigma_high) else flow_sigma(self.sigma_high)
        return replace(self, sigma_low=flow_sigma(self.sigma_low), sigma_high=high, units="host")

    def __str__(self) -> str:
        unit = "EDM sigma" if self.units == "edm" else "sigma"
        window = f"({self.sigma_low:g}, {self.sigma_high:g}]"
        return f"{self.inside:g} for {unit} in {window}, {self.outside:g} elsewhere"


@dataclass(frozen=True)
class Triangle(Schedule):
    """Stage-wise guidance: low, high in the middle, low, with the mean over the run kept at `mean`.

    Jin, Shi, Gu 2025, arXiv 2509.22007 (TV-CFG). The raw weights w_i rise with the step index from `low` to
    2 mean - low and fall back to `low`; for even N one step alone, of the falling half, is at the top. They are then
    multiplied by mean / sum_i w_i dt_i, after which the ends are no longer exactly `low`. dt_i is the step's share of
    the run. For flow it is the difference in t, as in the paper. For VE models it is 1/N with `over` "steps"; with
    "time" it is the difference in the timesteps of Stable Diffusion's training, which the paper's mean is over. A
    scheduler that spaces its timesteps evenly gives the same in both ways. Karras's does not: there a mean of 7.5 in 20
    steps is 9.6 in time. A run that ends above 0 is normalised over the part that it covers. `values` are the weights
    of the steps, filled in by `for_run`; without them `weight` is the raw, unnormalised triangle. Between steps the
    nearest step counts. mean = low is the constant.
    """

    mean: float
    low: float = 1.0
    values: tuple[float, ...] = ()
    over: str = "steps"

    def __post_init__(self):
        _finite(self, "mean", "low")
        _require(self.over in ("steps", "time"), self, "over", 'must be "steps" or "time"')
        _require(self.low >= 0.0, self, "low", "must not be below 0")
        _require(self.mean >= self.low, self, "mean", f"must not be below low, which is {self.low:g}")

    def weight(self, progress: float, sigma: float) -> float:
        if self.values:
            return _nearest(self.values, progress)
        return _lerp(self.low, 2.0 * self.mean - self.low, 1.0 - abs(2.0 * progress - 1.0))

    def for_run(self, sigmas: tuple[float, ...], kind: str) -> "Triangle":
        if len(sigmas) < 2:
            return self
        raw = _triangle(self.low, 2.0 * self.mean - self.low, len(sigmas) - 1)
        mean = sum(w * dt for w, dt in zip(raw, _shares(_TIMES[self.over, kind](sigmas)), strict=True))
        if mean == 0.0:  # low = 0, and only steps at the ends of the triangle cover any distance
            return replace(self, values=(self.mean,) * len(raw))
        return replace(self, values=tuple(w * (self.mean / mean) for w in raw))

    def __str__(self) -> str:
        in_time = " in the model's time" if self.over == "time" else ""
        return f"stage-wise {self.low:g} up and back with mean {self.mean:g}{in_time}"


@dataclass(frozen=True)
class Beta(Schedule):
    """w = max(floor, scale B(p; a, b)), B the density of the beta distribution; a, b >= 1.

    The weight of beta-CFG, arXiv 2502.10574, with its gamma at 0. Its division by ||eps_c - eps_u||^gamma is a rule of
    combination (`beta_cfg`). B vanishes at both ends for a, b > 1. The paper has no floor, so its first and last steps
    are UNCONDITIONAL: that is floor = 0. floor = 1 makes them conditional.
    """

    scale: float
    a: float = 2.0
    b: float = 3.0
    floor: float = 1.0

    def __post_init__(self):
        _finite(self, "scale", "a", "b", "floor")
        _require(self.a >= 1.0, self, "a", "must be at least 1, below which the density is infinite")
        _require(self.b >= 1.0, self, "b", "must be at least 1, below which the density is infinite")

    def weight(self, progress: float, sigma: float) -> float:
        log_beta = math.lgamma(self.a) + math.lgamma(self.b) - math.lgamma(self.a + self.b)
        density = progress ** (self.a - 1.0) * (1.0 - progress) ** (self.b - 1.0) / math.exp(log_beta)
        return max(self.floor, self.scale * density)

    def __str__(self) -> str:
        return f"{self.scale:g} times Beta({self.a:g}, {self.b:g}), at least {self.floor:g}"


@dataclass(frozen=True)
class Exponential(Schedule):
    """w = scale exp(rate (1 - t)), t from 1 (noise) to 0 (data): it rises towards the data.

    C2FG, Gao, Zheng et al. 2026, "Control Classifier-Free Guidance via Score Discrepancy Analysis", arXiv
    2603.08155; scale and rate are its w0 and lambda. t is the noise level, so a run that starts late starts with a
    higher weight. For flow models it is the host's sigma, the paper's t/T. For VE models it is sigma/(1 + sigma), the
    level of equal half log SNR, which is ours. `units` "edm" means that sigma is VE, "host" that sigma is t; `for_run`
    sets "host" for a flow model. rate = 0 is the constant.
    """

    scale: float
    rate: float
    units: str = "edm"

    def __post_init__(self):
        _finite(self, "scale", "rate")
        _require(self.units in ("edm", "host"), self, "units", 'must be "edm" or "host"')

    def weight(self, progress: float, sigma: float) -> float:
        t = sigma if self.units == "host" else flow_sigma(sigma)
        return self.scale * math.exp(self.rate * (1.0 - t))

    def for_run(self, sigmas: tuple[float, ...], kind: str) -> "Exponential":
        return replace(self, units="host") if kind == "flow" else self

    def __str__(self) -> str:
        t = "t" if self.units == "host" else "t of the noise level"
        return f"{self.scale:g} times exp({self.rate:g} (1 - {t}))"


@dataclass(frozen=True)
class Compressed(Schedule):
    """w = 1 + (scale - 1) N/n at the n guided steps floor(N (i/G)^exponent), i = 0 to G - 1; 1 at the others.

    Compress Guidance, Dinh, Liu, Xu 2024, "Compress Guidance in Conditional Diffusion Sampling", arXiv
    2408.11194. G = round(share N), at least 1; indices that coincide count once, and n is how many are left. exponent
    is its k: 1 spreads the guided steps evenly, more puts them closer together at the start. The other steps need no
    negative pass. The paper multiplies the guided term so that its total is kept; our CFG form of that keeps the sum of
    w - 1 over the run, N (scale - 1). `values` are the weights of the steps, filled in by `for_run`; without them
    `weight` is `scale`. Between steps the nearest step counts. share = 1 with exponent 1 is the constant.
    """

    scale: float
    share: float
    exponent: float = 1.0
    values: tuple[float, ...] = ()

    def __post_init__(self):
        _finite(self, "scale", "share", "exponent")
        _require(0.0 < self.share <= 1.0, self, "share", "must be above 0 and at most 1")
        _require(self.exponent > 0.0, self, "exponent", "must be above 0")

    def weight(self, progress: float, sigma: float) -> float:
        return _nearest(self.values, progress) if self.values else self.scale

    def for_run(self, sigmas: tuple[float, ...], kind: str) -> "Compressed":
        steps = len(sigmas) - 1
        if steps < 1:
            return self
        guided = _guided_steps(steps, max(1, round(self.share * steps)), self.exponent)
        raised = 1.0 + (self.scale - 1.0) * (steps / len(guided))
        return replace(self, values=tuple(raised if i in guided else 1.0 for i in range(steps)))

    def __str__(self) -> str:
        return f"{self.scale:g} compressed into {self.share:g} of the steps with power {self.exponent:g}, 1 elsewhere"


@dataclass(frozen=True)
class Steps(Schedule):
    """One weight per step, in order. Between steps the nearest counts. `for_run` raises for another number of steps."""

    values: tuple[float, ...]

    def __post_init__(self):
        object.__setattr__(self, "values", tuple(self.values))
        _require(len(self.values) > 0, self, "values", "must hold at least one weight")
        for i, value in enumerate(self.values):
            _require(is_number(value), self, f"values[{i}]", "must be a finite number")
        object.__setattr__(self, "values", tuple(map(float, self.values)))

    def weight(self, progress: float, sigma: float) -> float:
        return _nearest(self.values, progress)

    def for_run(self, sigmas: tuple[float, ...], kind: str) -> "Steps":
        steps = len(sigmas) - 1
        if 0 < steps != len(self.values):
            raise ValueError(
                f"the list of per-step weights has {_count(len(self.values), 'value')} but the run has "
                f"{_count(steps, 'step')}; give one weight per step."
            )
        return self

    def __str__(self) -> str:
        return "per step " + shortened(", ".join(f"{value:g}" for value in self.values))


@dataclass(frozen=True)
class Curve(Schedule):
    """w = low + (high - low) y(p) through `points` (x, y): x is progress, y runs from 0 (low) to 1 (high).

    `smooth` is monotone cubic interpolation, as the host's curve editor draws it: Fritsch & Carlson 1980, "Monotone
    Piecewise Cubic Interpolation", with the mean of the two secants as the first guess of a tangent. Otherwise the
    points are joined by straight lines. The curve is flat before the first and after the last point; two points at one
    x make a step.
    """

    points: tuple[tuple[float, float], ...]
    low: float = 1.0
    high: float = 7.0
    smooth: bool = True

    def __post_init__(self):
        points = tuple(self.points)
        _finite(self, "low", "high")
        _require(self.low <= self.high, self, "low", f"must not exceed high, which is {self.high:g}")
        _require(len(points) > 0, self, "points", "must hold at least one point")
        for i, point in enumerate(points):
            pair = isinstance(point, (tuple, list)) and len(point) == 2
            inside = pair and all(is_number(c) and 0.0 <= c <= 1.0 for c in point)
            _require(inside, self, f"points[{i}]", "must be a pair (x, y) with both between 0 and 1")
        by_x = sorted(((float(x), float(y)) for x, y in points), key=lambda point: point[0])
        object.__setattr__(self, "points", tuple(by_x))

    @functools.cached_property
    def _tangents(self) -> tuple[float, ...]:
        return _monotone_tangents(self.points)

    def weight(self, progress: float, sigma: float) -> float:
        return _lerp(self.low, self.high, self._height(progress))

    def _height(self, x: float) -> float:
        points = self.points
        if x <= points[0][0]:
            return points[0][1]
        if x >= points[-1][0]:
            return points[-1][1]
        i = next(i for i, point in enumerate(points) if point[0] > x) - 1
        (x0, y0), (x1, y1) = points[i : i + 2]
        t = (x - x0) / (x1 - x0)
        if not self.smooth:
            return _lerp(y0, y1, t)
        m0, m1 = (m * (x1 - x0) for m in self._tangents[i : i + 2])
        return y0 + (y1 - y0) * t * t * (3 - 2 * t) + t * (1 - t) * (m0 * (1 - t) - m1 * t)

    def __str__(self) -> str:
        path = shortened(", ".join(f"({x:g}, {y:g})" for x, y in self.points))
        shape = "smooth curve" if self.smooth else "line"
        return f"{shape} between {self.low:g} and {self.high:g} through {path}"


def _lerp(a: float, b: float, f: float) -> float:
    """a at f = 0 and b at f = 1 exactly, and a everywhere if a == b."""
    return a + (b - a) * f if f < 0.5 else b - (b - a) * (1.0 - f)


def _nearest(values: tuple[float, ...], progress: float) -> float:
    return values[round(progress * (len(values) - 1))]


def _triangle(low: float, high: float, n: int) -> list[float]:
    rising = (n + 1) // 2  # an odd count shares its top step between the halves
    up = [_lerp(low, high, i / max(n // 2, 1)) for i in range(rising)]
    down = [_lerp(high, low, i / max((n - 1) // 2, 1)) for i in range(n - n // 2 if n % 2 else n // 2)]
    return up + (down[1:] if n % 2 else down)


def _guided_steps(steps: int, count: int, exponent: float) -> set[int]:
    # i^k/count^k and not (i/count)^k: for whole k it is exact where the quotient is whole, so floor is too.
    return {min(math.floor(steps * i**exponent / count**exponent), steps - 1) for i in range(count)}


def _shares(times: Sequence[float]) -> list[float]:
    """The part of the run that each step covers, adding up to 1."""
    n = len(times) - 1
    whole = abs(times[0] - times[-1])
    if whole == 0.0:
        return [1.0 / n] * n
    return [abs(here - after) / whole for here, after in zip(times[:-1], times[1:], strict=True)]


@functools.cache
def _trained() -> tuple[float, ...]:
    """The logarithms of the 1000 sigmas that Stable Diffusion was trained on, rising."""
    low, high = math.sqrt(0.00085), math.sqrt(0.012)
    signal, levels = 1.0, []
    for i in range(1000):
        signal *= 1.0 - (low + (high - low) * i / 999) ** 2
        levels.append(0.5 * math.log((1.0 - signal) / signal))
    return tuple(levels)


def _timestep(sigma: float) -> float:
    """Where a sigma lies among these, from 0 to 999."""
    levels = _trained()
    level = math.log(sigma) if sigma > 0.0 else -math.inf
    above = sum(trained < level for trained in levels)
    if above in (0, len(levels)):
        return float(min(above, len(levels) - 1))
    low, high = levels[above - 1 : above + 1]
    return above - 1 + (level - low) / (high - low)


def _timesteps(sigmas: Sequence[float]) -> list[float]:
    return [_timestep(sigma) for sigma in sigmas]


def _flow_times(sigmas: Sequence[float]) -> list[float]:
    return [flow_sigma(sigma) for sigma in sigmas]


def _itself(sigmas: Sequence[float]) -> Sequence[float]:
    return sigmas


_TIMES = {
    ("steps", "ve"): lambda sigmas: range(len(sigmas)),
    ("time", "ve"): _timesteps,
    ("steps", "flow"): _itself,
    ("time", "flow"): _itself,
    ("steps", "flow in ve"): _flow_times,
    ("time", "flow in ve"): _flow_times,
}


def _monotone_tangents(points: tuple[tuple[float, float], ...]) -> tuple[float, ...]:
    secants = [
        (y1 - y0) / (x1 - x0) if x1 > x0 else 0.0 for (x0, y0), (x1, y1) in zip(points[:-1], points[1:], strict=True)
    ]
    if not secants:
        return (0.0,)
    inner = [(a + b) / 2 if a * b > 0 else 0.0 for a, b in zip(secants[:-1], secants[1:], strict=True)]
    tangents = [secants[0], *inner, secants[-1]]
    for i, secant in enumerate(secants):
        steepness = math.hypot(tangents[i], tangents[i + 1])
        if steepness > 3.0 * abs(secant):  # outside the circle of radius 3 the cubic would overshoot
            shrink = 3.0 * abs(secant) / steepness
            tangents[i] *= shrink
            tangents[i + 1] *= shrink
    return tuple(tangents)


def _finite(schedule: Schedule, *names: str) -> None:
    """Raises ValueError for a field that is no finite number, and makes floats of the others."""
    for name in names:
        value = getattr(schedule, name)
        _require(is_number(value), schedule, name, "must be a finite number")
        object.__setattr__(schedule, name, float(value))


def _require(ok: bool, schedule: Schedule, name: str, rule: str) -> None:
    if not ok:
        value = getattr(schedule, name, None)
        got = "" if value is None else f" (got {quoted(value)})"
        raise ValueError(f"{type(schedule).__name__}: {name} {rule}{got}.")


def _count(n: int, noun: str) -> str:
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"
