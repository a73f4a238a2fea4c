"""Which tests run with --fast, and in which process, seen on a small copy of the folders of tests/."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parent
FILES = {
    "browser/test_a.py": 8,
    "guidance/test_b.py": 100,
    "host/test_c.py": 100,
    "http/test_d.py": 8,
    "lab/test_e.py": 40,
    "test_f.py": 1,
}
MANY = """
import time
import pytest

@pytest.mark.parametrize("i", range({0}))
def test_{1}(i):
    time.sleep(0.01)
"""
METHODS = """
import pytest

@pytest.mark.parametrize("kind", ["eps", "flow"])
@pytest.mark.parametrize("method", ["a", "b", "c"])
def test_one(method, kind):
    pass

@pytest.mark.parametrize("method", ["a", "d"])
def test_two(method):
    pass

@pytest.mark.slow
@pytest.mark.parametrize("row", ["x", "y"])
def test_three(row):
    pass

def test_four():
    pass

@pytest.mark.parametrize("method", [lambda: 1, lambda: 2])
def test_five(method):
    pass
"""


@pytest.fixture
def project(tmp_path):
    for name, tests in FILES.items():
        file = tmp_path / "tests" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(MANY.format(tests, file.stem[-1]))
    for name in ("conftest.py", "parts.py"):
        shutil.copy(TESTS / name, tmp_path / "tests")
    shutil.copy(TESTS.parent / "pyproject.toml", tmp_path)
    for package in ("specimens", "workbench"):
        (tmp_path / package).mkdir()
        shutil.copy(TESTS.parent / package / "__init__.py", tmp_path / package)
    return tmp_path


def run(project: Path, *arguments: str) -> list[tuple[str, str]]:
    """The tests that ran, each after the process that it ran in."""
    command = [sys.executable, "-I", "-m", "pytest", "-v", "-p", "no:cacheprovider", *arguments]
    done = subprocess.run(command, cwd=project, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    side_by_side = re.findall(r"^\[(gw\d)\].* PASSED (tests/\S+)", done.stdout, re.MULTILINE)
    return side_by_side or [("", test) for test in re.findall(r"^(tests/\S+) PASSED", done.stdout, re.MULTILINE)]


def processes(ran: list[tuple[str, str]], *folders: str) -> set[str]:
    return {process for process, test in ran if test.startswith(tuple(f"tests/{folder}/" for folder in folders))}


def test_side_by_side_every_test_runs_once_and_one_process_has_the_server(project):
    alone, ran = run(project), run(project, "-n", "3")
    assert len(alone) == sum(FILES.values())
    assert sorted(test for _, test in ran) == sorted(test for _, test in alone)
    assert len(processes(ran, "browser", "http")) == len(processes(ran, "lab")) == 1
    assert len(processes(ran, "host", "guidance")) > 1
    assert len(processes(run(project, "-n", "2", "--dist", "worksteal", "tests/browser"), "browser")) == 2


def test_fast_tries_everything_in_the_host_once(project):
    (project / "tests" / "host" / "test_c.py").write_text(METHODS)
    chosen = ["one[a-eps]", "one[a-flow]", "one[b-eps]", "one[c-eps]", "two[a]", "two[d]", "three[x]", "four"]
    chosen += ["five[<lambda>0]"]
    for arguments in ([], ["-n", "2"]):
        ran = [test for _, test in run(project, "--fast", *arguments)]
        of_host = [test.split("::test_")[1] for test in ran if "/host/" in test]
        assert sorted(of_host) == sorted(chosen)
        assert len(ran) - len(of_host) == sum(FILES.values()) - FILES["host/test_c.py"]
