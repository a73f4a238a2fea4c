"""The server: the real ComfyUI with this pack and the lab."""

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request

from .folders import ROOT, read_text, write_log
from .processes import running
from .words import Progress, Stop

START_SECONDS = 300


@contextlib.contextmanager
def server(place, base, port):
    """The real ComfyUI with this pack and the lab, on a loopback port; yields its address and its process."""
    port = usable_port(port)
    link_packs(base)
    log = write_log(f"server-{port}")
    options = ["--listen", "127.0.0.1", "--port", str(port), "--base-directory", str(base)]
    options += ["--disable-api-nodes", "--disable-auto-launch", "--database-url", "sqlite:///:memory:"]
    command = [place.python, place.host / "main.py", *options, *([] if has_gpu(place) else ["--cpu"])]
    with open(log, "w", encoding="utf-8") as output:
        with running(command, stdout=output, stderr=subprocess.STDOUT, env=place.variables()) as process:
            url = f"http://127.0.0.1:{port}"
            wait_for(url, process, log)
            yield url, process


def usable_port(port):
    """The port asked for, or any free one for 0."""
    with socket.socket() as probe:
        if os.name != "nt":  # as the server does; on Windows this option would allow a port in use
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except (OSError, OverflowError) as error:
            why = getattr(error, "strerror", None) or error
            raise Stop(
                f"Port {port} cannot be used ({why}): choose another --port, or leave it out."
            ) from None
        return probe.getsockname()[1]


def link_packs(base):
    packs = base / "custom_nodes"
    packs.mkdir(parents=True, exist_ok=True)
    link(ROOT, packs / "ComfyUI-Azimuth")
    link(ROOT / "lab", packs / "azimuth_lab")


def link(source, target):
    """A symbolic link, or where the system allows none (Windows, as a rule) a fresh copy."""
    if target.is_symlink():
        target.unlink()
    elif target.exists():
        shutil.rmtree(target)
    try:
        target.symlink_to(source, target_is_directory=True)
    except OSError:
        shutil.copytree(source, target, ignore=shutil.ignore_patterns(".git", "__pycache__", ".*_cache"))


def has_gpu(place):
    """Whether torch sees a GPU; asked only where there may be one, because importing torch takes seconds."""
    hints = shutil.which("nvidia-smi"), os.path.exists("/dev/nvidiactl"), sys.platform == "darwin"
    question = "import torch; print(torch.cuda.is_available() or torch.backends.mps.is_available())"
    command = [place.python, "-c", question]
    return (
        any(hints)
        and b"True" in subprocess.run(command, stdout=subprocess.PIPE, env=place.variables()).stdout
    )


def wait_for(url, process, log):
    with Progress("Starting ComfyUI") as progress:
        while not answers(url):
            if process.poll() is not None:
                raise Stop(
                    f"ComfyUI stopped while it started (exit code {process.returncode}, last words "
                    f"{last_line(log)!r}): read {log}, mend what it names and run this again."
                )
            if progress.seconds > START_SECONDS:
                raise Stop(
                    f"ComfyUI did not answer within {START_SECONDS} s: read why in {log} and run this again."
                )
            progress.show()
            time.sleep(0.2)


def answers(url):
    direct = urllib.request.build_opener(
        urllib.request.ProxyHandler({})
    )  # a proxy has no business on loopback
    try:
        with direct.open(url + "/system_stats", timeout=5) as reply:
            return reply.status == 200
    except (urllib.error.URLError, OSError):
        return False


def last_line(log):
    return next((line.strip() for line in reversed(read_text(log).splitlines()) if line.strip()), "")
