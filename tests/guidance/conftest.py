"""This tier needs no host: `guidance` is loaded by its path, and nothing goes on sys.path."""

import pytest
import torch
from hypothesis import settings

from specimens import packages

packages.mathematics()

# Most tensors here are tiny: threads would only wait for one another.
torch.set_num_threads(1)

settings.register_profile("guidance", deadline=None, max_examples=25, derandomize=True, database=None)
settings.load_profile("guidance")

DEVICES = ["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"]


@pytest.fixture(scope="session", params=DEVICES)
def device(request: pytest.FixtureRequest) -> str:
    return request.param
