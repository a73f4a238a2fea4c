"""What .comfyignore leaves out of the published archive; and that the rest does without it."""

import ast
import fnmatch
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PUBLISHED = {
    "__init__.py",
    "guidance",
    "nodes",
    "js",
    "example_workflows",
    "README.md",
    "CHANGELOG.md",
    "LICENSE",
    "pyproject.toml",
}
LINES = [
    line.rstrip("/")
    for line in (ROOT / ".comfyignore").read_text(encoding="utf-8").splitlines()
    if line and not line.startswith("#")
]


def is_published(path: str) -> bool:
    """Whether no line names a path, or a folder that it lies in. Lines are anchored: they begin at the root."""
    places = [Path("/") / path, *(Path("/") / path).parents]
    return not any(fnmatch.fnmatchcase(place.as_posix(), line) for place in places for line in LINES)


def tracked() -> list[str]:
    """The files that git knows, or where there is no git, all that are there."""
    done = subprocess.run(["git", "-C", ROOT, "ls-files", "-z"], capture_output=True, text=True)
    if done.returncode == 0:
        return [name for name in done.stdout.split("\0") if name]
    return [path.relative_to(ROOT).as_posix() for path in ROOT.rglob("*") if path.is_file()]


FILES = [name for name in tracked() if is_published(name)]


def test_the_archive_holds_the_pack_and_nothing_else():
    assert {name.split("/")[0] for name in FILES} == PUBLISHED
    assert all(line.startswith("/") for line in LINES)


def test_every_workflow_of_the_archive_does_without_the_lab():
    workflows = [ROOT / name for name in FILES if name.endswith(".json")]
    assert len(workflows) > 40
    assert [path.name for path in workflows if "AzimuthLab" in path.read_text(encoding="utf-8")] == []
    pictures = {name for name in FILES if name.startswith("example_workflows/") and name.endswith(".jpg")}
    assert pictures == {path.relative_to(ROOT).with_suffix(".jpg").as_posix() for path in workflows}


def test_nothing_in_the_archive_imports_what_is_left_out():
    left_out = {Path(name.split("/")[0]).stem for name in tracked() if not is_published(name)}
    assert {"specimens", "lab", "tests"} <= left_out
    for name in [name for name in FILES if name.endswith(".py")]:
        for node in ast.walk(ast.parse((ROOT / name).read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                assert not {alias.name.split(".")[0] for alias in node.names} & left_out, name
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                assert node.module.split(".")[0] not in left_out, name
            elif isinstance(node, ast.ImportFrom):
                folder = Path(name).parts[: -node.level]
                for module in [node.module] if node.module else [alias.name for alias in node.names]:
                    assert [*folder, *module.split(".")][0] not in left_out, name
