"""Measures time in pairs, memory at its peak, and reads of the device, for bench.py. Needs torch alone."""

import contextlib
import ctypes
import functools
import math
import platform
import statistics
import sys
import time
import weakref
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

CUDA = torch.cuda.is_available()
GIVES_BACK = not CUDA and platform.libc_ver()[0] == "glibc"


@dataclass(frozen=True)
class Effort:
    """How long to measure: a timing lasts `least` seconds or one call, and `fewest` to `most` pairs are made,
    as many as fit in `budget` seconds.
    """

    least: float
    budget: float
    fewest: int
    most: int


@dataclass(frozen=True)
class Plan:
    """How much bench.py measures: `calls` of functions, `idle` runs without a network, and `runs` with it.

    `rows` is a pattern: the functions whose names it is found in. `fresh` is whether calls on large latents have to ask
    the system for their memory.
    """

    calls: Effort
    idle: Effort
    runs: Effort
    shapes: tuple[tuple[int, ...], ...]
    batch: int
    steps: int
    rows: str = ""
    fresh: bool = True


@dataclass(frozen=True)
class Ratio:
    """Seconds per call of ours and theirs, and ours / theirs with half the distance between its quartiles."""

    ours: float
    theirs: float
    ratio: float
    spread: float

    def __str__(self) -> str:
        return f"{brief(self.ratio, 3)} ±{brief(self.spread, 1)}"


def brief(value: float, digits: int) -> str:
    """Rounded to a number of digits, or to a whole number if that has more."""
    return f"{value:.0f}" if abs(value) >= 10**digits else f"{value:.{digits}g}"


def timed(call: Callable, times: int) -> float:
    """Seconds per call; on a GPU until the device has finished."""
    wait = torch.cuda.synchronize if CUDA else lambda: None
    wait()
    start = time.perf_counter()
    for _ in range(times):
        call()
    wait()
    return (time.perf_counter() - start) / times


def paired(ours: Callable, theirs: Callable, effort: Effort, *, fresh: bool = False) -> Ratio:
    """Both measured alternately, so that whatever slows the machine down slows both.

    fresh: each call by itself, with memory that it has to ask the system for, as after a network's pass. Whether a call
    finds what those before it have freed is else left to chance, and a fresh page costs more than its arithmetic.
    """
    pair = (ours, theirs)

    def measured(call: Callable, times: int = 1) -> float:
        if fresh:
            give_back_memory()
        return timed(call, times)

    once = [min(measured(call), measured(call)) for call in pair]
    times = [1 if fresh else max(1, math.ceil(effort.least / seconds)) for seconds in once]
    each = sum(t * seconds for t, seconds in zip(times, once, strict=True))
    count = min(max(round(effort.budget / each), effort.fewest), effort.most)
    seen = [[measured(call, t) for call, t in zip(pair, times, strict=True)] for _ in range(count)]
    ratios = [a / b for a, b in seen]
    low, middle, high = statistics.quantiles(ratios, n=4, method="inclusive")
    a, b = (statistics.median(column) for column in zip(*seen, strict=True))
    return Ratio(a, b, middle, (high - low) / 2)


def give_back_memory() -> None:
    """Give to the system what was freed, where GIVES_BACK: glibc alone keeps it for long."""
    ctypes.CDLL(None).malloc_trim(0)


class LiveBytes(TorchDispatchMode):
    """The most bytes of tensors that were made inside and alive at one time."""

    def __init__(self):
        super().__init__()
        self.storages: dict[int, int] = {}
        self.live = self.most = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        known = {t.untyped_storage().data_ptr() for t in tree_leaves((args, kwargs)) if isinstance(t, Tensor)}
        out = function(*args, **(kwargs or {}))
        for t in tree_leaves(out):
            if isinstance(t, Tensor):
                self.note(t.untyped_storage(), known)
        return out

    def note(self, storage, known: set[int]) -> None:
        place = storage.data_ptr()
        if place and place not in known and place not in self.storages:
            self.storages[place] = storage.nbytes()
            self.live += storage.nbytes()
            self.most = max(self.most, self.live)
            weakref.finalize(storage, self.forget, place)

    def forget(self, place: int) -> None:
        self.live -= self.storages.pop(place)


def tensor_memory(call: Callable) -> int:
    """Bytes of tensors at the peak of a call, its result left out."""
    call()
    if CUDA:
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        out = call()
        peak = torch.cuda.max_memory_allocated() - before
    else:
        with LiveBytes() as seen:
            out = call()
        peak = seen.most
    return peak - out.untyped_storage().nbytes()


def process_memory(call: Callable) -> int | None:
    """The same by the growth of the process, which has what kernels take for themselves too, as `topk` does.

    Linux with glibc alone; None elsewhere.
    """
    status, reset = Path("/proc/self/status"), Path("/proc/self/clear_refs")
    if not GIVES_BACK or not reset.exists():
        return None

    def read(field: str) -> int:
        line = next(line for line in status.read_text().splitlines() if line.startswith(field + ":"))
        return int(line.split()[1]) * 1024

    def growth() -> int:
        give_back_memory()
        reset.write_text("5")  # forget the peak so far
        before = read("VmRSS")
        out = call()
        return read("VmHWM") - before - out.untyped_storage().nbytes()

    call()
    return min(growth() for _ in range(3))  # a gap in the heap may add to one of them


class ScalarReads(TorchDispatchMode):
    """Counts the reads of a tensor's value, for which a GPU has to finish its work."""

    def __init__(self):
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.count += function is torch.ops.aten._local_scalar_dense.default
        return function(*args, **(kwargs or {}))


def scalar_reads(call: Callable) -> int:
    """How often a call reads a tensor's value; by itself, whatever it keeps from the first time."""
    call()
    with ScalarReads() as seen:
        call()
    return seen.count


@contextlib.contextmanager
def counted_reads(*packages: str) -> Iterator[list[str]]:
    """Notes each time code of these packages reads a tensor's value, for which a GPU has to finish its work."""
    names = ("item", "tolist", "numpy", "cpu", "nonzero", "__bool__", "__float__", "__int__", "__index__")
    seen = []

    def counting(name: str, method: Callable) -> Callable:
        @functools.wraps(method)
        def read(tensor, *args, **kwargs):
            caller = sys._getframe(1).f_globals.get("__name__", "")
            if caller.split(".")[0] in packages:
                seen.append(f"{caller}: {name}")
            return method(tensor, *args, **kwargs)

        return read

    own = {name: vars(Tensor).get(name) for name in names}
    for name in names:
        setattr(Tensor, name, counting(name, getattr(Tensor, name)))
    try:
        yield seen
    finally:
        for name, method in own.items():
            delattr(Tensor, name) if method is None else setattr(Tensor, name, method)
