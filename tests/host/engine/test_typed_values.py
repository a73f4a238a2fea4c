"""What a prompt may hold for an input that also takes a schedule: the host compares it with the limits."""

import asyncio
import concurrent.futures

import execution
import pytest
from azimuth.nodes.strength.schedule import GuidanceSchedule
from azimuth.nodes.strength.scheduled_cfg import ScheduledCFG
from azimuth.nodes.terms.skip_layer import SkipLayer

import nodes as host_nodes

KINDS = {"AzimuthScheduledCFG": ScheduledCFG, "AzimuthSchedule": GuidanceSchedule, "AzimuthSkipLayer": SkipLayer}


def in_a_thread(awaited):
    """The result of a coroutine, in a thread of its own: a browser of other tests may have a loop in this one."""
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, awaited).result()


def said(monkeypatch, kind, **inputs):
    """What the host says of the inputs of a prompt's node before it runs; what a node raises it says once, too."""
    for name, node in KINDS.items():
        monkeypatch.setitem(host_nodes.NODE_CLASS_MAPPINGS, name, node)
    KINDS[kind].GET_SCHEMA()
    prompt = {"1": {"class_type": kind, "inputs": inputs}}
    try:
        valid, errors, *_ = in_a_thread(execution.validate_inputs("id", prompt, "1", {}))
    except ValueError as refused:
        return [str(refused)]
    return [f"{error['message']}: {error['details']}" for error in errors if "model" not in error["details"]]


@pytest.mark.parametrize("value", ["7", None, {"a": 7}, True], ids=str)
def test_what_is_no_number_does_not_fail_in_the_host(monkeypatch, value):
    assert said(monkeypatch, "AzimuthScheduledCFG", scale=value, start=0.0, end=1.0, outside="weight 1") == []
    with pytest.raises(ValueError, match="Scheduled CFG, input scale: got "):
        ScheduledCFG.execute(None, value, 0.0, 1.0, "weight 1")


@pytest.mark.parametrize("value", [200.0, -1])
def test_a_number_out_of_range_is_refused_by_the_host(monkeypatch, value):
    answer = said(monkeypatch, "AzimuthScheduledCFG", scale=value, start=0.0, end=1.0, outside="weight 1")
    assert len(answer) == 1 and f"Value {value} " in answer[0] and answer[0].endswith("scale")


def test_what_two_inputs_have_wrong_is_said_once(monkeypatch):
    answer = said(monkeypatch, "AzimuthScheduledCFG", scale=7.0, start=0.9, end=0.1, outside="weight 1")
    assert len(answer) == 1 and answer[0].startswith("Scheduled CFG, input start: ")
    interval = {"inside": 7.0, "outside": 1.0, "start": 0.8, "end": 0.2}
    answer = said(
        monkeypatch,
        "AzimuthSchedule",
        shape="interval",
        **{f"shape.{name}": value for name, value in interval.items()},
    )
    assert answer == ["Guidance Schedule, input start: 0.8 is above end, 0.2; make start the smaller one."]


def test_the_inputs_of_a_preset_are_checked_before_the_run(monkeypatch):
    values = {"blocks": "3", "scale": 1.0, "skip": "block", "start": 0.8, "end": 0.2, "rescale": 0.0}
    answer = said(
        monkeypatch, "AzimuthSkipLayer", preset="custom", **{f"preset.{name}": value for name, value in values.items()}
    )
    assert len(answer) == 1 and answer[0].startswith("Skip Layer Guidance (SLG, STG, S2), input start: ")
