"""Puts `specimens` and `workbench` in place for every test: none of the repository's folders goes on `sys.path`."""

import importlib.util
import sys
from pathlib import Path

import pytest

from .parts import Hooks

ROOT = Path(__file__).resolve().parent.parent

for package in {"specimens", "workbench"} - {*sys.modules}:
    spec = importlib.util.spec_from_file_location(package, ROOT / package / "__init__.py")
    sys.modules[package] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(sys.modules[package])


class RootIsNotAPackage:
    """Only ComfyUI can import the __init__.py of the repository, and pytest would for a package."""

    def pytest_collect_directory(self, path: Path, parent: pytest.Collector) -> pytest.Dir | None:
        return pytest.Dir.from_parent(parent, path=path) if path == ROOT else None


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--fast", action="store_true", help="of tests/host, run what tries something for the first time")
    parser.addoption("--seeds", default="200", help="of tests/beside, how many stacks are drawn, or which: FIRST:LAST")


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(RootIsNotAPackage())
    config.pluginmanager.register(Hooks())
