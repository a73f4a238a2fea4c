"""Dynamic Negative Guidance over whole runs: against a literal simulation in the paper's coordinates, and its laws."""

import itertools

import numpy as np
import pytest
import torch

import guidance as g
from specimens import oracle
from specimens.negatives.dynamic_negative import literal, literal_posterior

KNOBS = {"prior": 0.05, "tau": 0.2, "delta": 2e-4, "p_min": 1e-6, "p_max": 0.8}
SHAPE = (4, 3, 5)
RUNS = {
    "ve": (14.0, 6.0, 2.5, 1.0, 0.4, 0.1),
    "flow": (1.0, 0.9, 0.75, 0.5, 0.3, 0.08),
}


class World:
    """Two Gaussians with exact denoisers, and steps of DDPM towards the base, all in float64."""

    def __init__(self, kind, seed=0, batch=3):
        generator = np.random.default_rng(seed)
        self.kind = kind
        self.draw = lambda: generator.standard_normal((batch, *SHAPE))
        self.base_mean, self.negative_mean = 0.3 * generator.standard_normal((2, *SHAPE))

    def denoised(self, x, sigma, mean, variance=0.5):
        a, s = oracle.signal_noise(sigma, self.kind)
        return mean + a * variance / (a * a * variance + s * s) * (x - a * mean)

    def pair(self, x, sigma):
        return self.denoised(x, sigma, self.base_mean), self.denoised(x, sigma, self.negative_mean)

    def start(self, sigma):
        return self.draw() * (sigma if self.kind == "ve" else 1.0)

    def step(self, x, d, sigma, after):
        """A draw from the posterior of the next state, given D."""
        (a, s), (a2, s2) = (oracle.signal_noise(level, self.kind) for level in (sigma, after))
        r = (s2 * a / (s * a2)) ** 2
        mean = a2 / a * r * x + a2 * (1 - r) * d if a else a2 * d
        return mean + s2 * np.sqrt(1 - r) * self.draw()


def posterior_of(state):
    """p of every sample as the last evaluation left it."""
    return state._next.log_p.exp().flatten().tolist()


@pytest.mark.parametrize("kind", RUNS)
@pytest.mark.parametrize("towards", ["base", "negative"])
def test_a_run_is_the_literal_simulation(kind, towards):
    world, sigmas, scale = World(kind), RUNS[kind], 3.0
    state, p, seen = g.Memory(), [KNOBS["prior"]] * 3, []
    knobs = {name: value for name, value in KNOBS.items() if name != "prior"}
    x, last = world.start(sigmas[0]), None
    for step, sigma in enumerate(sigmas):
        b, n = world.pair(x, sigma)
        if last and oracle.signal_noise(sigmas[step - 1], kind)[0] > 0:
            samples = zip(p, x, *last, strict=True)
            p = [literal_posterior(*one, sigmas[step - 1], sigma, kind, **knobs) for one in samples]
        state.begin(step)
        ours = g.dynamic_negative(
            *map(torch.from_numpy, (b, n)),
            x=torch.from_numpy(x),
            sigma=torch.full((3,), sigma, dtype=torch.float64),
            kind=kind,
            scale=scale,
            state=state,
            **KNOBS,
        )
        expected = [literal(*one, scale, chance) for *one, chance in zip(b, n, p, strict=True)]
        np.testing.assert_allclose(ours.numpy(), np.stack(expected), rtol=1e-9, atol=1e-9)
        assert posterior_of(state) == pytest.approx(p, rel=1e-9)
        seen.append(p)
        last = x, n, b
        after = sigmas[step + 1] if step + 1 < len(sigmas) else sigma / 2
        x = world.step(x, n if towards == "negative" else b, sigma, after)
    ends = np.array(seen[-1])
    assert (ends > 0.2).all() if towards == "negative" else (ends < KNOBS["prior"]).all()
    assert len({tuple(np.round(p, 12)) for p in seen}) >= len(sigmas) - 2


@pytest.mark.parametrize("kind", RUNS)
def test_equal_predictions_say_nothing(kind):
    world, sigmas, state = World(kind), RUNS[kind], g.Memory()
    x = world.start(sigmas[0])
    for step, (sigma, after) in enumerate(itertools.pairwise(sigmas)):
        b = torch.from_numpy(world.pair(x, sigma)[0])
        level = {"x": torch.from_numpy(x), "sigma": sigma, "kind": kind}
        state.begin(step)
        assert torch.equal(g.dynamic_negative(b, b, state=state, **level, **{**KNOBS, "delta": 0.0}), b)
        assert posterior_of(state) == pytest.approx([KNOBS["prior"]] * 3, rel=1e-12)
        x = world.step(x, b.numpy(), sigma, after)


@pytest.mark.parametrize(("sign", "bound"), [(1.0, 0.8), (-1.0, 1e-6)])
def test_the_posterior_stays_within_its_bounds(sign, bound):
    world, state = World("ve"), g.Memory()
    x = world.start(6.0)
    for step, sigma in enumerate((6.0, 3.0, 1.5, 0.75, 0.375)):
        near, far = world.pair(x, sigma)
        b, n = (far, near) if sign > 0 else (near, far)
        state.begin(step)
        level = {"x": torch.from_numpy(x), "sigma": sigma, "kind": "ve"}
        got = g.dynamic_negative(
            torch.from_numpy(b), torch.from_numpy(n), scale=5.0, state=state, **level, **{**KNOBS, "tau": 50.0}
        )
        x = world.step(x, near, sigma, sigma / 2)  # to the negative, or away from it
    assert posterior_of(state) == pytest.approx([bound] * 3)
    strength = 5.0 * bound / (1 - bound)
    torch.testing.assert_close(got, torch.from_numpy(b - strength * (n - b)))
    assert sign < 0 or strength == pytest.approx(20.0)


def test_a_step_evaluated_twice_advances_once():
    world = World("ve")
    once, twice = g.Memory(), g.Memory()
    states = [(14.0, world.start(14.0)), (6.0, world.start(6.0)), (2.5, world.start(2.5))]
    other = world.start(6.0)

    def call(state, step, x, sigma):
        state.begin(step)
        b, n = map(torch.from_numpy, world.pair(x, sigma))
        return g.dynamic_negative(b, n, x=torch.from_numpy(x), sigma=sigma, kind="ve", state=state, **KNOBS)

    for step, (sigma, x) in enumerate(states):
        if step == 1:
            call(twice, step, other, sigma)
        assert torch.equal(call(once, step, x, sigma), call(twice, step, x, sigma))


@pytest.mark.parametrize(("kind", "sigmas"), [("ve", (0.5, 0.5, 3.0)), ("flow", (1.0, 0.5, 0.5)), ("flow", (0.5, 1.0))])
def test_a_step_that_does_not_lower_the_noise_says_nothing(kind, sigmas):
    world, state = World(kind), g.Memory()
    for step, sigma in enumerate(sigmas):
        x = world.start(sigma)
        state.begin(step)
        b, n = map(torch.from_numpy, world.pair(x, sigma))
        got = g.dynamic_negative(b, n, x=torch.from_numpy(x), sigma=sigma, kind=kind, state=state, **KNOBS)
        assert got.isfinite().all()
        assert posterior_of(state) == pytest.approx([KNOBS["prior"]] * 3, rel=1e-12)


def test_small_steps_keep_their_digits_in_float32():
    world = World("ve", batch=1)
    x = world.start(1.0)
    chances = []
    for dtype in (torch.float64, torch.float32):
        state, place, generator = g.Memory(), x.copy(), np.random.default_rng(5)
        for step, sigma in enumerate(np.linspace(1.0, 0.9, 30)):
            state.begin(step)
            b, n = (torch.from_numpy(d).to(dtype) for d in world.pair(place, sigma))
            level = {"x": torch.from_numpy(place).to(dtype), "sigma": float(sigma), "kind": "ve"}
            g.dynamic_negative(b, n, state=state, **level, **{**KNOBS, "delta": 0.0, "tau": 1.0})
            ratio = ((sigma - 0.1 / 29) / sigma) ** 2
            noise = generator.standard_normal(place.shape)
            place = ratio * place + (1 - ratio) * b.double().numpy() + (sigma - 0.1 / 29) * np.sqrt(1 - ratio) * noise
        chances.append(posterior_of(state))
    assert chances[0][0] != pytest.approx(KNOBS["prior"], rel=0.05)
    assert chances[1] == pytest.approx(chances[0], rel=1e-4)


def test_the_halves_are_kept_in_float64():
    world, state = World("ve"), g.Memory()
    b, n = (torch.from_numpy(d).half() for d in world.pair(world.start(3.0), 3.0))
    state.begin(0)
    g.dynamic_negative(b, n, x=b, sigma=3.0, kind="ve", state=state)
    kept = state._next
    assert kept.log_p.dtype == kept.sigma.dtype == kept.lead.dtype == torch.float64
    assert kept.x.dtype == kept.apart.dtype == torch.float32 and kept.x.data_ptr() != b.data_ptr()


@pytest.mark.parametrize("bad", [{"prior": 0.9}, {"p_max": 1.0}, {"p_min": 0.0}, {"p_min": 0.5}])
def test_bounds_that_are_none_are_refused(bad):
    b = torch.zeros(1, 2, 3)
    with pytest.raises(ValueError, match="p_min <= prior <= p_max < 1"):
        g.dynamic_negative(b, b, x=b, sigma=1.0, kind="ve", **{**KNOBS, **bad})
