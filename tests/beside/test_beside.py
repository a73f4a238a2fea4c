"""Right beside everything that users wire: random stacks, each of a seed, held against what must be true of them all.

A seed that fails prints the smallest stack that fails. `--seeds 2000` tries so many, `--seeds 17:18` the one of 17.
"""

import pytest

from .drawing import draw
from .foreign import FOREIGN
from .guiders import GUIDERS
from .scene import BY_NAME, Ours
from .shrink import smallest
from .trial import Trial
from .truths import TRUTHS

pytestmark = [
    pytest.mark.filterwarnings("ignore:Should have t"),  # noise of the host that is asked for a time out of its range
    pytest.mark.filterwarnings("ignore:To copy construct from a tensor"),
    pytest.mark.filterwarnings("ignore::UserWarning:torch"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]


def pytest_generate_tests(metafunc):
    if "seed" in metafunc.fixturenames:
        first, _, last = metafunc.config.getoption("seeds").rpartition(":")
        metafunc.parametrize("seed", range(int(first or 0), int(last)))


def test_every_truth_holds(seed):
    trial = Trial(draw(seed))
    for truth in TRUTHS:
        if truth(trial):
            scene = smallest(trial.scene, truth)
            why = f"{truth.__name__}: {truth(Trial(scene))}"
            pytest.fail(f"seed {seed}: {truth.__doc__}\n{why}\n{scene}", pytrace=False)


def test_everything_is_drawn():
    scenes = [draw(seed) for seed in range(600)]
    assert {part.name for scene in scenes for part in scene.stack} == {*BY_NAME, *FOREIGN}
    assert {scene.guider for scene in scenes} == {*GUIDERS}
    assert any(part.off for scene in scenes for part in scene.stack if isinstance(part, Ours))


def test_the_smallest_stack_is_found():
    """Of a truth that fails for a stack with two kinds of nodes at cfg 5, on any model, but not at 3 steps."""

    def truth(trial):
        both = trial.scene.ours and trial.scene.theirs
        return "fails" if both and trial.scene.cfg == 5.0 and trial.scene.steps > 3 else ""

    seed = next(seed for seed in range(1000) if truth(Trial(draw(seed))) and len(draw(seed).stack) > 3)
    scene = smallest(draw(seed), truth)
    assert len(scene.ours) == len(scene.theirs) == 1
    assert (scene.family, scene.batch, scene.sampler, scene.steps) == ("SD 1.5", 1, "euler", 4)
    assert not scene.stack[scene.ours[0]].changes
