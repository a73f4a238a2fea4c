"""What every supported version of the host must do with the pack: load it, list its nodes and run them."""

import re

import pytest

from .object_info import declared, ours
from .prompts import angle, cfg, negative, node, sampled, schedule
from .server import PACK, Server, failure, host

# As hosts begin a line; older ones write the bare message.
TROUBLE = re.compile(r"\[(ERROR|CRITICAL)\]|^(ERROR|Traceback|Cannot import)|IMPORT FAILED", re.MULTILINE)


def start_of_log(server: Server) -> str:
    """What the server wrote until it was up; later tests provoke errors."""
    log, up, _ = server.log.read_text(encoding="utf-8", errors="replace").partition("To see the GUI go to")
    assert up, log
    return log


def test_it_is_the_host_that_was_asked_for(server: Server) -> None:
    version = server.json("/system_stats")["system"]["comfyui_version"]
    assert f'"{version}"' in (host() / "comfyui_version.py").read_text(encoding="utf-8")


def test_the_pack_loads_without_an_error(server: Server) -> None:
    log = start_of_log(server)
    assert PACK in log
    assert not TROUBLE.search(log), log


def test_every_node_is_listed(server: Server) -> None:
    assert declared(), "No node_id was found in nodes/*.py."
    assert set(ours(server)) == declared()


# A drawn curve as older hosts' pages and as newer ones' send it; a list alone would be a link.
CURVES = {
    "points": {"__value__": [[0, 1], [0.5, 0], [1, 0]]},
    "named points": {"points": [[0, 1], [1, 0]], "interpolation": "linear"},
}

RUNS = {
    "a schedule": {"ramp": schedule("linear", first=2.0, last=7.0), "guided": cfg(scale=["ramp", 0])},
    "a rule and a negative": {"first": negative(), "guided": angle(model=["first", 0])},
    **{
        name: {"drawn": schedule("curve", curve=points, low=1.0, high=7.0), "guided": cfg(scale=["drawn", 0])}
        for name, points in CURVES.items()
    },
}


@pytest.mark.parametrize("nodes", RUNS.values(), ids=RUNS)
def test_a_workflow_runs(server: Server, nodes: dict) -> None:
    history = server.run(sampled("guided", **nodes))
    assert failure(history) == ""
    assert history["outputs"]["out"]["images"]


# As they were saved before `rescale_space` was there.
TERM = {"model": ["lab", 0], "scale": 1.0, "start": 0.0, "end": 1.0, "rescale": 0.7}
FROM_BEFORE = {
    "PAG": node("AzimuthPerturbedAttention", **TERM, strength=1.0, blocks="auto"),
    "a preset of SLG": node(
        "AzimuthSkipLayer",
        model=["lab", 0],
        preset="custom",
        **{f"preset__{name}": value for name, value in TERM.items() if name != "model"},
        preset__blocks="middle 0",
        preset__skip="attention",
    ),
}


@pytest.mark.parametrize("term", FROM_BEFORE.values(), ids=FROM_BEFORE)
def test_a_prompt_from_before_an_input_was_there_runs(server: Server, term: dict) -> None:
    assert failure(server.run(sampled("term", term=term))) == ""
