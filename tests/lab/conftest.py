"""Opens the real host named by COMFYUI_PATH and loads the lab beside it, once for all lab tests."""

import importlib
import importlib.util
import os
from pathlib import Path

import pytest

LAB = Path(__file__).resolve().parents[2] / "lab"


def _host_module():
    spec = importlib.util.spec_from_file_location("azimuth_lab_host", LAB / "host.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def lab():
    """A function that gives a module of the lab by its name."""
    if not os.environ.get("COMFYUI_PATH"):
        pytest.fail("the lab's tests need the real host: set COMFYUI_PATH, or run `python dev.py test`", pytrace=False)
    host = _host_module()
    try:
        host.open_host()
    except SystemExit as stop:
        pytest.fail(str(stop), pytrace=False)
    host.package()
    return lambda name: importlib.import_module(f"{host.NAME}.{name}")


@pytest.fixture(scope="session")
def loaded(lab):
    """Both models from the committed weights: name -> (MODEL, CLIP, VAE)."""
    models = lab("models.networks")
    return {name: models.load(name) for name in models.NAMES}
