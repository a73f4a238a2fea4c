"""Makes again all that is made of nodes, cards and specimens, where it is stale. Run it as `python dev.py docs`.

python dev.py docs [--check]             all of it
python dev.py docs tables                the lists and tables of README.md, docs/methods.md and docs/references.md
python dev.py docs compatibility         what the record of what works with what lacks, and its page; with --host on
                                         another ComfyUI, whose cells a new method needs too
python dev.py docs inputs                the snapshot of the nodes' inputs
python dev.py docs workflows             example_workflows/, in Chromium

With --check nothing is written, and the exit code is 1 where something is stale, which is named.
"""

import argparse
import subprocess
import sys
from pathlib import Path

from specimens.packages import ROOT

from .pages import made, parts

MAKERS = {  # what each runs, and how it is told to write what is stale; with --check instead it names it
    "compatibility": ("tests.host.compatibility", "--missing"),
    "inputs": ("tests.http.object_info",),
    "workflows": ("tests.browser.make_workflows",),
}


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="dev.py docs", description="Make again what is stale of what is made.")
    parser.add_argument("what", nargs="?", choices=["all", "tables", *MAKERS], default="all", help="tables is quick")
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 and name what is stale")
    options = parser.parse_args(arguments)
    wanted = ["tables", *MAKERS] if options.what == "all" else [options.what]
    done = [tables(options.check) if what == "tables" else run(*MAKERS[what], check=options.check) for what in wanted]
    if all(done):
        say("All that is made is as it should be.")
    return 0 if all(done) else 1


def tables(check: bool) -> bool:
    try:
        return all([renewed(path, check) for path in parts()])
    except ValueError as error:
        say(str(error))
        return False


def renewed(path: Path, check: bool) -> bool:
    """Whether a document is now what it should be."""
    text = made(path)
    if text == path.read_text(encoding="utf-8"):
        return True
    if check:
        say(f"stale: {path}")
        return False
    path.write_text(text, encoding="utf-8")
    say(str(path))
    return True


def run(module: str, *how: str, check: bool) -> bool:
    command = [sys.executable, "-m", module, *(["--check"] if check else how)]
    return subprocess.run(command, cwd=ROOT).returncode == 0


def say(words: str) -> None:
    print(words, flush=True)
