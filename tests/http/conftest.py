"""Registers the server's fixture once for tests/http and tests/browser, so that they share one server."""

import pytest

from . import server


def pytest_configure(config: pytest.Config) -> None:
    if not config.pluginmanager.is_registered(server):
        config.pluginmanager.register(server)
