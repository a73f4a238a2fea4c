"""The benchmark: that it measures what it says, and what is the same on any machine. Never a time."""

import inspect
import json
import math
import re
import sys
import types
import typing

import pytest
import torch


@pytest.fixture(scope="module")
def bench(lab):
    return lab("bench.bench")


@pytest.fixture(scope="module")
def nodes(lab):
    """The rows of the nodes."""
    return lab("bench.nodes").NODES


@pytest.fixture(scope="module")
def measure(lab):
    return lab("bench.timing")


@pytest.fixture(scope="module")
def found(bench, tmp_path_factory):
    path = tmp_path_factory.mktemp("bench") / "new" / "bench.json"
    assert bench.main(["--quick", "--json", str(path)]) == 0
    return json.loads(path.read_text(encoding="utf-8"))


def test_every_row_is_measured(bench, nodes, found, lab):
    assert set(found) == {"machine", "quick", "fresh", "targets", *bench.SECTIONS}
    assert [row["name"] for row in found["nodes"]] == [node.name for node in nodes]
    assert [row["name"] for row in found["hosts"]] == [node.name for node in nodes if node.host]
    names = [function.name for function in lab("bench.functions").FUNCTIONS]
    assert [row["name"] for row in found["functions"] if row["dtype"] == "float32"] == names


def acting(pack, io):
    """The names of the nodes that give a MODEL or a SAMPLER: those that act in a step."""
    own = [node.define_schema() for node in pack.nodes.NODES]
    kinds = io.Model.Output, io.Sampler.Output
    return {schema.display_name for schema in own if any(isinstance(output, kinds) for output in schema.outputs)}


def used(pack, way, model, lab):
    """The names of the nodes that this way to sample goes through."""
    names = {stage.node for stage in pack.nodes.engine.stages.of(way.patch(model, lab))}
    loop = getattr(way.sampler, "sampler_function", None)
    return names | ({sys.modules[loop.__module__].NAME} if loop else set())


def test_every_node_that_acts_in_a_step_has_a_row_that_is_on(lab, nodes):
    from comfy_api.latest import io

    pack, models = lab("pack").PACK, lab("bench.ways").Lab()
    rows = [used(pack, node.way, getattr(models, node.on), models) for node in nodes if not node.off]
    assert acting(pack, io) == set().union(*rows)


OF_SHAPES = {"dims", "per_sample"}  # they look at a shape alone


def public(g):
    """The code of every function of `guidance/` that takes a tensor of predictions, by its name."""
    functions = {name: getattr(g, name) for name in g.__all__ if inspect.isfunction(getattr(g, name))}
    hints = {name: typing.get_type_hints(function) for name, function in functions.items()}
    return {
        name: inspect.unwrap(functions[name]).__code__
        for name, of in hints.items()
        if [k for k in of if of[k] is torch.Tensor]
    }


def calls_of(row, latents):
    """The code of everything that a row runs."""
    ran = set()
    sys.setprofile(lambda frame, event, _: ran.add(frame.f_code) if event == "call" else None)
    try:
        row.call(latents)
    finally:
        sys.setprofile(None)
    return ran


def test_every_function_of_predictions_has_a_row_that_calls_it(lab):
    functions = public(lab("pack").guidance)
    latents = lab("bench.latents").Latents((1, 4, 16, 16), torch.float32)
    found = set()
    for row in lab("bench.functions").FUNCTIONS:
        ran = calls_of(row, latents)
        found |= {name for name in re.findall(r"\w+", row.name) if functions.get(name) in ran}
    assert found == set(functions) - OF_SHAPES


def test_every_time_is_a_positive_number(found):
    ratios = [row["time"] for row in found["hosts"]] + [found["interval"]["time"]]
    ratios += [ratio for row in found["functions"] for ratio in row["time"].values()]
    assert all(0.0 < ratio[key] < math.inf for ratio in ratios for key in ("ours", "theirs", "ratio"))


def test_no_function_takes_more_than_three_latents(found):
    """A latent that is smaller than a piece of the work is worked on as a whole; a mebibyte of scratch is no matter."""
    rows = [row for row in found["functions"] if row["dtype"] == "float32"]
    large = {
        row["name"]: latents
        for row in rows
        for size, latents in row["latents"].items()
        if latents > 3.01 and 4 * latents * math.prod(map(int, size.split("x"))) > 1 << 20
    }
    assert large == {}
    assert next(row for row in rows if row["name"] == "cfg")["latents"] == dict.fromkeys(rows[0]["latents"], 0.0)


def test_a_node_that_is_off_makes_the_passes_of_plain_cfg(nodes, found):
    rows = {row["name"]: row for row in found["nodes"]}
    plain = rows["plain CFG"]
    assert (plain["passes"], plain["forwards"]) == (2 * plain["steps"], plain["steps"])
    for node in nodes:
        if node.off:
            assert rows[node.name]["passes"] == plain["passes"], node.name
    assert rows["Scheduled CFG at weight 1"]["passes"] == plain["steps"]


def test_no_node_waits_for_the_device_more_than_once_a_step(found):
    reads = {row["name"]: row["reads_per_step"] for row in found["nodes"]}
    assert reads["plain CFG"] == 0.0
    assert max(reads.values()) <= 1.0, reads


def test_no_function_waits_for_the_device(found):
    assert {row["name"]: row["reads"] for row in found["functions"] if row["reads"]} == {}


def test_a_read_of_a_tensors_value_is_counted(measure):
    one = torch.ones(1)
    assert measure.scalar_reads(lambda: one + 1.0) == 0
    assert measure.scalar_reads(lambda: one.item()) == 1
    assert measure.scalar_reads(lambda: 0 if one > 2 else 1) == 1


def test_no_node_makes_more_passes_than_the_hosts_own(found):
    for row in found["hosts"]:
        assert row["passes"] <= row["host_passes"], row


def test_the_interval_run_makes_the_passes_that_it_is_held_to(found):
    interval = found["interval"]
    assert interval["steps"] < interval["passes"] < interval["plain_passes"]
    assert interval["expected"] == interval["passes"] / interval["plain_passes"]


def test_memory_counts_what_is_alive_at_the_same_time_and_not_the_result(measure):
    t = torch.zeros(1 << 16)
    latent = t.untyped_storage().nbytes()
    assert measure.tensor_memory(lambda: t + 1) == 0
    assert measure.tensor_memory(lambda: (t + 1) * (t + 2)) == 2 * latent
    assert measure.tensor_memory(lambda: ((t + 1) * 2) * 2) == latent
    assert measure.tensor_memory(lambda: torch.stack([t + 1, t + 2]).amax(0)) == 3 * latent


@pytest.mark.skipif(sys.platform != "linux" or torch.cuda.is_available(), reason="read from Linux, for the CPU")
def test_memory_of_the_process_has_what_a_kernel_takes_for_itself(measure):
    t = torch.zeros(1 << 22)
    latent = t.untyped_storage().nbytes()
    grown = measure.process_memory(lambda: (t + 1) * (t + 2))
    if grown is None:
        pytest.skip("another C library than glibc")
    assert 1.9 < grown / latent < 2.3
    assert measure.process_memory(lambda: torch.topk(t, 8).values) > 3 * latent  # its queue of pairs


def test_a_fresh_call_comes_by_itself_after_freed_memory_is_given_back(measure, monkeypatch):
    done = []
    monkeypatch.setattr(measure, "give_back_memory", lambda: done.append("give back"))
    effort = measure.Effort(least=1e-2, budget=0.0, fewest=3, most=3)
    measure.paired(lambda: done.append("ours"), lambda: done.append("theirs"), effort, fresh=True)
    measured = ["give back", "ours", "give back", "theirs"] * 3
    assert done[-len(measured) :] == measured
    done.clear()
    measure.paired(lambda: done.append("ours"), lambda: done.append("theirs"), effort)
    assert "give back" not in done and done.count("ours") > 100


def test_only_reads_by_the_package_are_counted(measure):
    def reads(t):
        return [t.item(), t.tolist(), float(t), bool(t)]

    names = {"__name__": "somewhere.inside", "float": float, "bool": bool}
    there = types.FunctionType(reads.__code__, names)
    own = torch.Tensor.item
    with measure.counted_reads("somewhere") as seen:
        there(torch.ones(()))
        reads(torch.ones(()))
    assert [line.split()[-1] for line in seen] == ["item", "tolist", "__float__", "__bool__"]
    assert torch.Tensor.item is own
