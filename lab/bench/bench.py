"""What guidance costs: `python dev.py bench`, or `python lab/run.py bench.bench` with COMFYUI_PATH naming a host.

Four tables, and the targets that they should reach:
    nodes      passes, device synchronisations and time per step that each node adds to a run
    hosts      each node against the host's own way of doing the same
    interval   the time of a run that skips the negative pass, against the passes that it makes
    functions  time, memory and device synchronisations of each function of `guidance/` against plain CFG, and time
               against the host's or diffusers' way of doing the same

Times are medians of pairs measured alternately in one run, with half the distance between their quartiles.
What is measured stands in the specimens: FUNCTIONS, and RUNS for each setting of a node that is worth knowing.
"""

import argparse
import contextlib
import json
import logging
import os
import platform
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import torch

from ..pack import DEVICE, PACK
from .costs import bench_costs, cost_tables
from .functions import bench_functions, function_tables
from .latents import SHAPES
from .nodes import bench_hosts, bench_interval, bench_nodes, host_tables, interval_tables, node_tables
from .tables import progress, target_tables
from .timing import CUDA, GIVES_BACK, Effort, Plan
from .ways import Lab

FULL = Plan(
    calls=Effort(least=2e-3, budget=0.25, fewest=5, most=25),
    idle=Effort(least=0.0, budget=1.5, fewest=5, most=45),
    runs=Effort(least=0.0, budget=8.0, fewest=5, most=25),
    shapes=SHAPES,
    batch=64 if CUDA else 40,
    steps=10,
)
QUICK = Plan(*[Effort(least=0.0, budget=0.0, fewest=2, most=2)] * 3, shapes=SHAPES[:1], batch=1, steps=3)


def machine() -> dict:
    processor = platform.processor() or platform.machine()
    with contextlib.suppress(OSError, StopIteration):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        processor = next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return {
        "processor": processor,
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "gpu": torch.cuda.get_device_name(DEVICE) if CUDA else None,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "system": platform.system(),
    }


@contextlib.contextmanager
def without_warnings(logger: logging.Logger) -> Iterator[None]:
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


SECTIONS = {
    "nodes": (bench_nodes, node_tables),
    "hosts": (bench_hosts, host_tables),
    "interval": (bench_interval, interval_tables),
    "costs": (bench_costs, cost_tables),
    "functions": (bench_functions, function_tables),
}


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="one small size and few repeats")
    parser.add_argument("--only", nargs="+", choices=SECTIONS, help="some of the tables")
    parser.add_argument("--rows", default="", metavar="PATTERN", help="the functions whose names it is found in")
    parser.add_argument("--reuse", action="store_true", help="let large calls find the memory that earlier ones freed")
    parser.add_argument("--json", type=Path, metavar="FILE", help="where to write the numbers")
    options = parser.parse_args(arguments)
    plan = replace(QUICK if options.quick else FULL, rows=options.rows, fresh=GIVES_BACK and not options.reuse)
    chosen = options.only or SECTIONS
    out = options.json or Path(tempfile.gettempdir()) / "azimuth-bench.json"

    found: dict = {"machine": machine(), "quick": options.quick, "fresh": plan.fresh}
    targets: list[dict] = []
    sys.stdout.write(", ".join(f"{k} {v}" for k, v in found["machine"].items() if v) + "\n")
    if plan.fresh:
        sys.stdout.write("Each call on a large latent asks the system for its memory.\n")
    lab = Lab()

    def show(tables: Iterator[str]) -> None:
        progress("")
        for text in tables:
            sys.stdout.write(f"\n{text}\n")

    with without_warnings(logging.getLogger(PACK.__name__)):  # a node says the same in each run of a row
        for name, (bench, tables) in SECTIONS.items():
            if name in chosen:
                found[name] = bench(lab, plan, targets)
                show(tables(found[name]))
    found["targets"] = targets
    show(target_tables(targets))
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    sys.stdout.write(f"\nNumbers: {out}\n")
    return 0
