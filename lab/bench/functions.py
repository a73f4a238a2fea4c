"""The functions of `guidance/` and their counterparts: time, memory and reads of the device, for bench.py."""

import functools
import re
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace

import torch

from specimens import found
from specimens.kinds import Function

from . import diffusers_guiders, host_functions
from .latents import VIDEO, Latents
from .tables import micro, progress, table, target
from .timing import CUDA, Effort, Plan, Ratio, paired, process_memory, scalar_reads, tensor_memory
from .ways import Lab

MOST_LATENTS = 3.0
LARGE = 1 << 24  # bytes


def lerp(p: Latents) -> torch.Tensor:
    """Plain CFG."""
    return torch.lerp(p.uncond, p.cond, 7.0)


def counterpart(name: str) -> Callable[[Latents], torch.Tensor]:
    """The host's or diffusers' way to the same, by the name that a specimen gives it: "host.apg", "diffusers.apg"."""
    library, _, function = name.partition(".")
    if library == "host":
        return getattr(host_functions, function)
    guider = getattr(diffusers_guiders, function)
    return lambda p: guider(p.cond, p.uncond, p.x)


def against(function: Function) -> Function:
    """A specimen's function beside the call that it is timed against."""
    other = function.other or lerp
    return replace(function, other=counterpart(other) if isinstance(other, str) else other)


FUNCTIONS = tuple(map(against, found("FUNCTIONS")))


def chosen(plan: Plan) -> list[Function]:
    """Plain CFG, and those whose names the plan asks for."""
    return [f for f in FUNCTIONS if f.name == "cfg" or re.search(plan.rows, f.name)]


def size(shape: tuple[int, ...]) -> str:
    return "x".join(str(n) for n in shape)


def bench_functions(lab: Lab, plan: Plan, targets: list) -> list[dict]:
    dtypes = [torch.float32, *([torch.float16, torch.bfloat16] if CUDA else [])]
    rows = [row for dtype in dtypes for row in bench_dtype(dtype, plan)]
    single = [row for row in rows if row["dtype"] == "float32"]
    for f, row in zip(chosen(plan), single, strict=True):
        if f.limit and size(VIDEO) in row["time"]:
            targets.append(target(f"time of {f.name}", row["time"][size(VIDEO)]["ratio"], f.limit))
        if f.other is not lerp:
            shape, slowest = max(row["time"].items(), key=lambda item: item[1]["ratio"])
            targets.append(target(f"time of {f.name} at its worst size, {shape}", slowest["ratio"], 1.0))
        targets.append(target(f"device synchronisations of {f.name}", row["reads"], 0))
    worst = max(row["most_latents"] for row in single)
    for row in single:
        if row["most_latents"] == worst or row["most_latents"] > MOST_LATENTS:
            targets.append(target(f"memory of {row['name']}", row["most_latents"], MOST_LATENTS))
    return rows


def bench_dtype(dtype: torch.dtype, plan: Plan) -> list[dict]:
    inputs = [Latents(shape, dtype) for shape in plan.shapes]
    return [bench_function(f, inputs, plan.calls, fresh=plan.fresh) for f in chosen(plan)]


@torch.inference_mode()  # as the host runs a workflow
def bench_function(f: Function, inputs: list[Latents], effort: Effort, *, fresh: bool) -> dict:
    """Time and memory at each size; `process_latents` is of the largest alone, where it is exact enough."""
    dtype = str(inputs[0].cond.dtype).removeprefix("torch.")
    progress(f"{f.name} {dtype}")
    ours, theirs = ([functools.partial(call, p) for p in inputs] for call in (f.call, f.other))
    names = [size(p.cond.shape) for p in inputs]
    one = [p.cond.untyped_storage().nbytes() for p in inputs]
    latents = [tensor_memory(call) / unit for call, unit in zip(ours, one, strict=True)]
    grown = process_memory(ours[-1]) if one[-1] > LARGE else None
    process = None if grown is None else grown / one[-1]
    return {
        "name": f.name,
        "dtype": dtype,
        "time": {
            n: asdict(paired(a, b, effort, fresh=fresh and unit > LARGE))
            for n, a, b, unit in zip(names, ours, theirs, one, strict=True)
        },
        "latents": dict(zip(names, latents, strict=True)),
        "process_latents": process,
        "reads": scalar_reads(ours[0]),
        "most_latents": round(max(*latents, process or 0.0), 1),
    }


def function_tables(rows: list[dict]) -> Iterator[str]:
    for dtype in dict.fromkeys(row["dtype"] for row in rows):
        own = [row for row in rows if row["dtype"] == dtype]
        shapes = list(own[0]["time"])
        yield table(
            f"Functions, {dtype}: time over torch.lerp's, or over that of what stands after the slash, "
            f"peak memory beside inputs and result in latents, and reads that wait for the device",
            ["", *shapes, "latents", "reads"],
            [
                [
                    row["name"],
                    *(str(Ratio(**row["time"][s])) for s in shapes),
                    f"{row['most_latents']:.1f}",
                    str(row["reads"]),
                ]
                for row in own
            ],
        )
        base = own[0]["time"]
        yield "torch.lerp: " + ", ".join(f"{s} {micro(base[s]['theirs'])}" for s in shapes)
