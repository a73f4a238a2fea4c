"""What a command will take: what there is to download, and how long it took the last time."""

import json

from .chromium import present_chromium
from .environments import places
from .folders import GIGABYTES_TO_DOWNLOAD, cache_folder, new_folder, read_text
from .hosts import missing_parts
from .words import say


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
