"""A run of dev.py that is stopped takes with it all that it has started: servers, browsers, pytest's workers."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

ROOT = Path(__file__).resolve().parent.parent
pytestmark = pytest.mark.skipif(os.name == "nt", reason="Windows has no such signals")

# dev.py with the environment of this test run and the host that it has, so that nothing is set up.
START = f"""
import importlib.util, os, signal, sys
from pathlib import Path
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell ignores it for what it runs in the background
spec = importlib.util.spec_from_file_location("azimuth_dev", {str(ROOT / "dev.py")!r})
dev = importlib.util.module_from_spec(spec)
spec.loader.exec_module(dev)
from workbench import environments, processes
dev.setup = lambda version: environments.Setup(Path(sys.prefix), Path(os.environ["COMFYUI_PATH"]))
"""

# A family of three, of which only a signal that cannot be refused ends the youngest.
REFUSE = "import signal, time; [signal.signal(s, signal.SIG_IGN) for s in (2, 15)]; print('ready', flush=True)"
STUBBORN = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {REFUSE + '; time.sleep(600)'!r}]).wait()"

# What a run of the tests of the front-end is made of, by a word of its command line.
KINDS = {"pytest": "pytest", "a worker": "exec(eval(sys.stdin.readline()))", "a server": "main.py"}
KINDS |= {"playwright": "run-driver", "a browser": "--remote-debugging-pipe"}


def started(code: str, cache: Path, **how) -> subprocess.Popen:
    """A process that runs this after START, in a group of its own."""
    env = {**os.environ, "AZIMUTH_CACHE": str(cache)}
    return subprocess.Popen([sys.executable, "-c", START + code], env=env, start_new_session=True, **how)


def command_of(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


def family(process: subprocess.Popen) -> list[psutil.Process]:
    return psutil.Process(process.pid).children(recursive=True)


def alive(processes: list[psutil.Process]) -> list[str]:
    """Those that still run after the time that a browser takes to see that it is alone."""
    end = time.monotonic() + 10
    while (left := [process for process in processes if runs(process)]) and time.monotonic() < end:
        time.sleep(0.1)
    return [command_of(process)[:200] for process in left]


def runs(process: psutil.Process) -> bool:
    """A process that nobody has asked for its exit code yet has ended all the same."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def stop(process: subprocess.Popen, number: int, whole_group: bool) -> None:
    (os.killpg if whole_group else os.kill)(process.pid, number)


def clear(processes: list[psutil.Process]) -> None:
    """So that a test that fails leaves nothing either."""
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()


@pytest.mark.parametrize("number, whole_group", [(signal.SIGINT, True), (signal.SIGTERM, False)], ids=["Ctrl-C", "end"])
def test_a_stopped_run_of_the_tests_leaves_nothing(tmp_path, number, whole_group):
    tests = ["-n", "2", "-p", "no:cacheprovider", "tests/browser", "tests/guidance"]
    code = f"sys.exit(dev.main(['test', *{tests}]))"
    with started(code, tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as run:
        seen, end = [], time.monotonic() + 300
        try:
            while missing := [kind for kind, word in KINDS.items() if not any(word in command_of(p) for p in seen)]:
                assert run.poll() is None and time.monotonic() < end, f"{missing} did not start"
                time.sleep(0.1)
                seen = family(run)
            stop(run, number, whole_group)
            words = run.communicate(timeout=60)
            assert run.returncode == 1 and "Interrupted" in words[1], words
            assert alive(seen) == []
        finally:
            run.kill()
            clear(seen)


@pytest.mark.parametrize("whole_group", [True, False])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_nor_does_any_other_command_whatever_its_children_do(tmp_path, number, whole_group):
    code = f"""
processes.SECONDS_TO_END = 0.2
dev.COMMANDS["demo"] = lambda options: dev.call(dev.setup(None), sys.executable, "-c", {STUBBORN!r})
sys.exit(dev.main(["demo"]))
"""
    with started(code, tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as run:
        assert "ready\n" in iter(run.stdout.readline, "")  # after what will be downloaded
        seen = family(run)
        try:
            stop(run, number, whole_group)
            stop(run, number, whole_group)  # by somebody who does not wait
            words = run.communicate(timeout=60)
            assert run.returncode == 1 and "Interrupted" in words[1], words
            assert len(seen) == 2 and alive(seen) == []
        finally:
            run.kill()
            clear(seen)
