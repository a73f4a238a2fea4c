"""Which tests run, and in how many processes."""

import os
import re
from pathlib import Path

from .folders import ROOT
from .hosts import NEWEST

ALL_TESTS = ("tests",)

# What the pack promises on every host; the other tests are about the newest one, its front-end and the lab.
TESTS_OF_EVERY_HOST = ("tests/guidance", "tests/host", "tests/http/test_smoke.py")

# For the working day: lint, the mathematics, and of the tests in the host what pytest's own --fast chooses.
FAST_TESTS = ("tests/test_lint.py", "tests/guidance", "tests/host")

# With these of pytest's arguments the user decides on the processes, or talks with the one that there is.
ONE_PROCESS = r"-n|--numprocesses|--dist|--tx|(-p)?no:xdist|--pdb|--trace|-s$|--capture=no|--co$|--collect-only"
MOST_PROCESSES = 8


def pytest_arguments(arguments, version):
    """The user's arguments, after those that choose the tests and the processes where the user does not."""
    by_hand = any(re.match(ONE_PROCESS, argument) for argument in arguments)
    if not by_hand and not all(path.is_file() for path in named_tests(arguments) or [ROOT]) and processes() > 1:
        arguments = ["-n", str(processes()), *arguments]
    chosen = chosen_tests("--fast" in arguments, version)
    if chosen != ALL_TESTS:  # where the arguments name no tests of their own
        arguments = ["-o", f"testpaths={' '.join(chosen)}", *arguments]
    return arguments


def needs_browser(arguments, version):
    paths = named_tests(arguments) or map(ROOT.joinpath, chosen_tests("--fast" in arguments, version))
    return any(related(path, ROOT / "tests" / "browser") for path in paths)


def chosen_tests(fast, version):
    """What runs where the user names no tests."""
    if fast:
        return FAST_TESTS
    return ALL_TESTS if version in (None, NEWEST) else TESTS_OF_EVERY_HOST


def named_tests(arguments):
    """The files and folders of tests that pytest's arguments name."""
    paths = [Path(os.path.abspath(str(ROOT / argument.split("::")[0]))) for argument in arguments]
    return [path for path in paths if os.path.exists(str(path)) and related(path, ROOT / "tests")]


def related(path, other):
    """Whether one of the two is the other or lies in it."""
    return path == other or path in other.parents or other in path.parents


def processes():
    """How many run tests side by side: one a core, as far as memory goes, of which each takes more than a gigabyte."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(cores, MOST_PROCESSES)
