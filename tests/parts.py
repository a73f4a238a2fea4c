"""How processes that run side by side (pytest-xdist) share the tests out: in parts, those that last longest first."""

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


class InTurn:
    """Hooks of pytest and of pytest-xdist."""

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, config: pytest.Config, items: list[pytest.Item]) -> None:
        if hasattr(config, "workerinput"):
            items.sort(key=lambda item: turn(item.nodeid))

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
