"""Which tests run, and where.

In processes side by side (pytest-xdist): in parts that stay together, those that last longest first. With --fast: of
tests/host every test once, and once more for every value of a parameter that none before has had. So whatever the tests
are tried with - a method, a model, a sampler, a guider - is tried once, and what is new there as well.
"""

from collections.abc import Iterable
from itertools import groupby

import pytest

SERVER = ("browser", "http")  # one server and one browser for all of their tests: both take long to start
WHOLE_FILES = ("lab",)  # what their fixtures make takes longer than most tests
FIRST = (*SERVER, *WHOLE_FILES, "host")
SOME = 16  # tests of one file that stay together and find what one of them has made


def folder(test: str) -> str:
    """The folder of tests/ that a test lies in, or the file where it lies in none."""
    return test.split("/")[1].split("::")[0]


def turn(test: str) -> int:
    return FIRST.index(folder(test)) if folder(test) in FIRST else len(FIRST)


def parts(tests: Iterable[str]) -> dict[str, str]:
    """The part that each of the tests, in the order in which they run, belongs to."""
    found = {}
    for file, of_file in groupby(tests, key=lambda test: test.split("::")[0]):
        for number, test in enumerate(of_file):
            if folder(test) in SERVER:
                found[test] = "server"
            else:
                found[test] = file if folder(test) in WHOLE_FILES else f"{file} {number // SOME}"
    return found


def news(item: pytest.Item) -> set:
    """What a test tries: itself, and the values of its parameters where it has not the marker `slow`."""
    parameters = item.callspec.params if hasattr(item, "callspec") and not item.get_closest_marker("slow") else {}
    return {item.nodeid.split("[")[0], *((name, name_of(value)) for name, value in parameters.items())}


def name_of(value: object) -> str:
    """The same in every process, as the text of an object need not be."""
    if isinstance(value, str | int | float | None):
        return str(value)
    return str(getattr(value, "name", None) or getattr(value, "__name__", type(value).__name__))


def choose(items: list[pytest.Item]) -> list[pytest.Item]:
    """The tests that --fast runs."""
    chosen, tried = [], set()
    for item in items:
        if folder(item.nodeid) != "host" or not news(item) <= tried:
            chosen.append(item)
            tried |= news(item)
    return chosen


class Hooks:
    """Hooks of pytest and of pytest-xdist."""

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, config: pytest.Config, items: list[pytest.Item]) -> None:
        if config.getoption("fast"):
            chosen = choose(items)
            config.hook.pytest_deselected(items=[item for item in items if item not in set(chosen)])
            items[:] = chosen
        if hasattr(config, "workerinput"):
            items.sort(key=lambda item: turn(item.nodeid))  # the longest first

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_make_scheduler(self, config: pytest.Config, log):
        """Instead of xdist's own `load`, which would start a server in every process."""
        return _scheduler(config, log) if config.getoption("dist") == "load" else None


def _scheduler(config: pytest.Config, log):
    from xdist.scheduler import LoadScopeScheduling

    class Parts(LoadScopeScheduling):
        def schedule(self) -> None:
            self.parts = parts(next(iter(self.registered_collections.values())))
            super().schedule()

        def _split_scope(self, nodeid: str) -> str:
            return self.parts[nodeid]

    config.option.loadscopereorder = False  # the order of the tests is the order of the parts
    return Parts(config, log)
