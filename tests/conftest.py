from pathlib import Path

import pytest

from .parts import Hooks

ROOT = Path(__file__).resolve().parent.parent


class RootIsNotAPackage:
    """Only ComfyUI can import the __init__.py of the repository, and pytest would for a package."""

    def pytest_collect_directory(self, path: Path, parent: pytest.Collector) -> pytest.Dir | None:
        return pytest.Dir.from_parent(parent, path=path) if path == ROOT else None


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--fast", action="store_true", help="of tests/host, run what tries something for the first time")


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(RootIsNotAPackage())
    config.pluginmanager.register(Hooks())
