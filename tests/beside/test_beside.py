"""Right beside everything that users wire: random stacks, each of a seed, held against what must be true of them all.

A seed that fails prints the smallest stack that fails. `--seeds 2000` tries so many, `--seeds 17:18` the one of 17.
"""

import pytest

from .scene import draw
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
    first, _, last = metafunc.config.getoption("seeds").rpartition(":")
    metafunc.parametrize("seed", range(int(first or 0), int(last)))


def test_every_truth_holds(seed):
    trial = Trial(draw(seed))
    for truth in TRUTHS:
        if truth(trial):
            scene = smallest(trial.scene, truth)
            why = f"{truth.__name__}: {truth(Trial(scene))}"
            pytest.fail(f"seed {seed}: {truth.__doc__}\n{why}\n{scene}", pytrace=False)
