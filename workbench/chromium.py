"""Chromium, for the tests of the front-end."""

import os
import shutil
import subprocess

from .folders import cache_folder, write_log
from .processes import logged
from .setting_up import only_one_setup
from .words import Stop

CHROMIUM_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")


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
