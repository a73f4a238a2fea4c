"""This tier needs no host: what it loads, it loads by its path, and nothing goes on sys.path."""

import importlib.util
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import settings

from specimens import packages

HERE = Path(__file__).parent


def load(name: str, path: Path) -> None:
    if name in sys.modules:
        return
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)


packages.mathematics()
load("guidance_toys", HERE / "toys.py")

# Most tensors here are tiny: threads would only wait for one another.
torch.set_num_threads(1)

settings.register_profile("guidance", deadline=None, max_examples=25, derandomize=True, database=None)
settings.load_profile("guidance")

DEVICES = ["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"]


@pytest.fixture(scope="session", params=DEVICES)
def device(request: pytest.FixtureRequest) -> str:
    return request.param
