"""Setting up: the environment and the host, made where they are missing."""

import contextlib
import json
import os
import shutil
import subprocess
import sys
import time

from .download import fetch_host
from .environments import PINS, places
from .folders import cache_folder, new_folder, write_log
from .hosts import missing_parts
from .pip import pip
from .words import Progress, Stop


def setup(version=None):
    """The environment and the host, made now if this is the first time: the user's own host, or this version."""
    return [made(place) for place in places(version)][-1]


def made(place):
    if place.ready:
        return place
    with only_one_setup():
        if not place.ready:  # another run may have made it while this one waited
            make(place)
    return place


@contextlib.contextmanager
def only_one_setup():
    """Wait until no other set-up runs. The operating system ends the lock with the process that holds it."""
    with open(new_folder() / "setup.lock", "a+") as file:
        if not locked(file):
            with Progress("Waiting for another set-up to finish") as progress:
                while not locked(file):
                    progress.show()
                    time.sleep(0.5)
        yield


def locked(file):
    try:
        if os.name == "nt":
            import msvcrt

            file.seek(0)
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def make(place):
    """Make the environment and, unless the user has one, the host; nothing half made stays when it fails."""
    installed = place.installed
    try:
        if not installed:
            check_space(place)
            shutil.rmtree(place.environment, ignore_errors=True)
            make_environment(place)
        if place.version and missing_parts(place.host):
            fetch_host(place)
        if not installed:
            install_packages(place)
            place.marker.write_text(json.dumps({"python": sys.version, "host": str(place.host)}))
    except BaseException:
        if not installed:
            shutil.rmtree(place.environment, ignore_errors=True)
        raise


def check_space(place):
    free = shutil.disk_usage(new_folder()).free / 1e9
    if free < place.gigabytes:
        raise Stop(
            f"The first set-up needs {place.gigabytes} GB and {cache_folder()} has {free:.1f} GB free: "
            "make room there, or set AZIMUTH_CACHE to a folder on a larger disk."
        )


def make_environment(place):
    with Progress("Making an environment"):
        command = [sys.executable, "-m", "venv", str(place.environment)]
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode:
        write_log("venv", done.stdout)
        raise Stop(
            f"{sys.executable} cannot make a virtual environment: install its venv module "
            "(on Debian and Ubuntu: apt install python3-venv) or use another Python, then run this again."
        )
    if place.base:
        # Python and pip see what lies there, after the environment's own, and pip replaces nothing in it.
        beneath = place._replace(environment=place.base, base=None).packages
        # Relative, and so plain ASCII: before Python 3.13 this file is read in the locale's encoding.
        relative = os.path.relpath(beneath, place.packages)
        (place.packages / "beneath.pth").write_text(f"{relative}\n", encoding="ascii")


def install_packages(place):
    requirements = ["-r", str(PINS), "-r", str(place.host / "requirements.txt")]
    pip(place, f"Installing what ComfyUI {place.version or 'there'} needs", "install", *requirements)
