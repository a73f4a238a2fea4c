"""Makes again all that is made of nodes, cards and specimens. Run it as `python dev.py docs`.

python dev.py docs             what follows, and what the host and the browser make: the record and the page of what
                               works with what, the snapshot of the nodes' inputs, the workflows
python dev.py docs tables      the lists and tables of the README, docs/methods.md and docs/references.md
python dev.py docs --check     the same, each, but writes nothing, and exits 1 where something is stale
"""

import argparse
import subprocess
import sys
from pathlib import Path

from specimens.packages import ROOT

from .pages import made, parts

# What each runs to write what is stale, and with --check instead to name it.
MAKERS = (
    ("tests.host.compatibility", ["--missing"]),
    ("tests.http.object_info", []),
    ("tests.browser.make_workflows", []),
)


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="dev.py docs", description="Make again what is made of the documents.")
    parser.add_argument("what", nargs="?", choices=["all", "tables"], default="all", help="tables: in a second")
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 and name what is stale")
    options = parser.parse_args(arguments)
    try:
        done = [renewed(path, options.check) for path in parts()]
    except ValueError as error:
        say(str(error))
        return 1
    if options.what == "all":
        done += [run(module, ["--check"] if options.check else given) for module, given in MAKERS]
    if all(done):
        say("All that is made is as it should be.")
    return 0 if all(done) else 1


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


def run(module: str, arguments: list[str]) -> bool:
    return subprocess.run([sys.executable, "-m", module, *arguments], cwd=ROOT).returncode == 0


def say(words: str) -> None:
    print(words, flush=True)
