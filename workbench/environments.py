"""The environments of Python packages that commands run in, made or not."""

import hashlib
import json
import os
import platform
import sys
from pathlib import Path
from typing import NamedTuple

from .folders import GIGABYTES_FOR_ANOTHER_HOST, GIGABYTES_NEEDED, ROOT, cache_folder
from .hosts import HOSTS, NEWEST, check_version, missing_parts, own_host, pinned_host

PINS = ROOT / "requirements-dev.txt"


class Setup(NamedTuple):
    """An environment that can run the host.

    version  of the host to download, None for the user's own
    base     an environment whose packages this one sees beneath its own, if any
    """

    environment: Path
    host: Path
    version: object = None
    base: object = None

    def program(self, name):
        folder, suffix = ("Scripts", ".exe") if os.name == "nt" else ("bin", "")
        return self.environment / folder / (name + suffix)

    @property
    def python(self):
        return self.program("python")

    @property
    def packages(self):
        folders = "Lib/site-packages" if os.name == "nt" else "lib/python*/site-packages"
        return next(iter(self.environment.glob(folders)))

    @property
    def gigabytes(self):
        return GIGABYTES_FOR_ANOTHER_HOST if self.base else GIGABYTES_NEEDED

    @property
    def marker(self):
        """Written last: an environment without it is half made."""
        return self.environment / "complete.json"

    @property
    def installed(self):
        return self.marker.is_file() and self.python.exists()

    @property
    def ready(self):
        return self.installed and not missing_parts(self.host)

    def variables(self, alone=False):
        """Environment variables for what runs in it, with no foreign packages.

        alone: it may have all cores to itself, as a measurement should.
        """
        kept = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PYTHONHOME", "PIP_TARGET")}
        made = {"COMFYUI_PATH": str(self.host), "PYTHONUNBUFFERED": "1", "PIP_USER": "0"}
        # Threads that spin while they wait make small models several times slower on a shared machine. Threads that
        # sleep, which users do not have, make an operation on few values cost more than its arithmetic.
        waiting = {} if alone else {"OMP_WAIT_POLICY": "PASSIVE"}
        browsers = {"PLAYWRIGHT_BROWSERS_PATH": "0"}  # beside playwright itself, so that they go with the environment
        return {**waiting, **browsers, **kept, **made}


def places(version=None):
    """What a command needs: its own environment last, and before it the one whose packages it borrows."""
    own = own_host()
    if version is not None:
        check_version(version, own)
    if own:
        return [Setup(environment_for((own / "requirements.txt").read_text(encoding="utf-8")), own)]
    newest = Setup(environment_for(HOSTS[NEWEST][1]), pinned_host(NEWEST), NEWEST)
    if version in (None, NEWEST):
        return [newest]
    # The hosts differ in few packages. The rest, gigabytes of them, the others borrow from the newest one's.
    facts = f"{HOSTS[version][1]} over {newest.environment.name}"
    return [newest, Setup(environment_for(facts), pinned_host(version), version, newest.environment)]


def environment_for(host):
    return cache_folder() / "environments" / fingerprint(host)


def fingerprint(host):
    """A name for an environment: the pins, what tells the host, the Python and the machine."""
    facts = [PINS.read_text(encoding="utf-8"), host, sys.version_info[:2], sys.platform, platform.machine()]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:12]
