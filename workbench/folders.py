"""Where things lie, and how much room they take."""

import contextlib
import os
import shutil
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

# At the peak of a first set-up: on Linux, where torch brings CUDA along, 8.4 GB measured and 3 GB for pip's
# cache (6.4 GB of it stay); a guess with room elsewhere.
GIGABYTES_NEEDED = 12 if sys.platform == "linux" else 5
GIGABYTES_FOR_ANOTHER_HOST = 2
GIGABYTES_TO_DOWNLOAD = 3 if sys.platform == "linux" else 1


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


def read_text(path):
    return path.read_text(encoding="utf-8", errors="replace")


def write_log(name, text=""):
    log = new_folder("logs") / f"{name}.log"
    log.write_text(text, encoding="utf-8")
    return log


def disk_full():
    return (
        f"The disk is full: make {GIGABYTES_NEEDED} GB of room for {cache_folder()}, or set AZIMUTH_CACHE to "
        "a folder on a larger disk, then run this again."
    )
