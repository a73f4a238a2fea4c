"""pip, with the machine's own configuration."""

import platform
import re
from functools import partial

from .folders import disk_full, passing_folder, read_text, write_log
from .hosts import HOST_PACKAGE, wrong_hash
from .processes import logged
from .words import Stop

UNREACHABLE = (
    "NewConnectionError|ConnectTimeout|ReadTimeout|Read timed out|Connection to .+ timed out|"
    "Connection refused|Connection reset|Connection broken|RemoteDisconnected|Max retries exceeded|"
    "Network is unreachable|Name or service not known|name resolution|getaddrinfo failed|"
    "nodename nor servname|ProxyError|SSLError"
)


def pip(place, what, verb, *arguments):
    log = write_log(f"pip-{verb}")
    command = [place.python, "-m", "pip", verb, "--no-input", "--progress-bar", "off", *arguments]
    with passing_folder("pip") as temporary:
        variables = {**place.variables(), **dict.fromkeys(("TMPDIR", "TEMP", "TMP"), str(temporary))}
        if logged(what, command, log, variables, partial(pip_progress, log, place)):
            raise Stop(pip_failure(read_text(log), log))


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
