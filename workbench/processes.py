"""Processes, and how they end."""

import contextlib
import os
import signal
import subprocess
import time

from .words import Progress

SECONDS_TO_END = 20  # for a child that was asked to, and has children and folders of its own to clear away


@contextlib.contextmanager
def running(command, **options):
    """A child process; neither it nor a process that it has started itself outlives this block."""
    # Of a group of its own: all of it can be ended together, and a Ctrl-C reaches it through us alone.
    new = "start_new_session", True
    if os.name == "nt":
        new = "creationflags", subprocess.CREATE_NEW_PROCESS_GROUP
    process = subprocess.Popen([str(part) for part in command], **dict([new]), **options)
    try:
        yield process
    finally:
        if process.poll() is None:
            ignored = signal.getsignal(signal.SIGINT) == signal.SIG_IGN  # and so by the child, which has it from us
            to_group(process, "SIGTERM" if ignored else "SIGINT")
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(SECONDS_TO_END)
        to_group(process, "SIGKILL")
        process.wait()


def to_group(process, name):
    """Send a signal to a child and to all that it has started; Windows has a Ctrl-Break and a program for that."""
    if os.name != "nt":
        with contextlib.suppress(ProcessLookupError, PermissionError):  # nobody is left
            os.killpg(process.pid, getattr(signal, name))
    elif process.poll() is None and name != "SIGKILL":
        process.send_signal(signal.CTRL_BREAK_EVENT)
    elif process.poll() is None:
        subprocess.run(["taskkill", "/F", "/T", "/PID", str(process.pid)], stdout=subprocess.DEVNULL)


def call(place, *command, alone=False, **options):
    """Run a program of the environment in the foreground; its exit code."""
    with running(command, env=place.variables(alone), **options) as process:
        return process.wait()


def logged(what, command, log, variables, how_far=str):
    """Run a program whose words go to a log, with a line of progress; its exit code."""
    with open(log, "w", encoding="utf-8") as output:
        with running(command, stdout=output, stderr=subprocess.STDOUT, env=variables) as process:
            with Progress(what) as progress:
                while process.poll() is None:
                    progress.show(how_far())
                    time.sleep(0.5)
    return process.returncode


@contextlib.contextmanager
def one_interruption():
    """Within this block the first Ctrl-C, or signal to end, raises KeyboardInterrupt; later ones spare the clean-up."""
    names = [name for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
    before = {getattr(signal, name): signal.getsignal(getattr(signal, name)) or signal.SIG_DFL for name in names}

    def interrupt(*_):
        for number in before:
            signal.signal(number, lambda *_: None)
        raise KeyboardInterrupt

    try:
        for number, handler in before.items():
            if handler != signal.SIG_IGN or number == signal.SIGTERM:  # nohup and shells ignore the others
                signal.signal(number, interrupt)
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
