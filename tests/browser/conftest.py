"""A page with the real front-end in each renderer, on the server that tests/http uses too."""

from collections.abc import Iterator

import pytest

from ..http import server
from .frontend import RENDERERS, FrontEnd, browsing, open_page


def pytest_configure(config: pytest.Config) -> None:
    if not config.pluginmanager.is_registered(server):
        config.pluginmanager.register(server)


@pytest.fixture(scope="session")
def browser() -> Iterator:
    with server.or_fail(browsing()) as running:
        yield running


@pytest.fixture(scope="session", params=RENDERERS)
def page(browser, server, request: pytest.FixtureRequest) -> Iterator[FrontEnd]:
    with open_page(browser, server, request.param) as opened:
        yield opened


@pytest.fixture
def frontend(page: FrontEnd) -> Iterator[FrontEnd]:
    """The page with an empty graph; afterwards the browser must have had nothing to say about our files."""
    page.clear()
    page.errors.clear()
    yield page
    assert page.errors == []
