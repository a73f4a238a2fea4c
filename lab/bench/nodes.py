"""Runs with each node: model passes, reads of the device and time, alone and against the host's, for bench.py."""

from collections.abc import Iterator
from dataclasses import asdict

from specimens import found

from ..pack import PACK, guidance
from .tables import progress, table, target
from .timing import Plan, Ratio, counted_reads, paired, timed
from .ways import Lab, Way, measurable

NODES = tuple(map(measurable, found("RUNS")))
PLAIN = Way()
(INTERVAL,) = [run.way for run in NODES if run.name == "Scheduled CFG, interval 0.2 to 0.8"]

FREE = 0.01  # of the time of one step of a model of 4 million parameters on an image of 32x32 pixels


def passes_of(way: Way, lab: Lab, model, steps: int) -> list[int]:
    """The rows of every forward pass of a run of this MODEL with one sample."""
    rows = []

    def note(apply_model, args):
        rows.append(args["input"].shape[0])
        return apply_model(args["input"], args["timestep"], **args["c"])

    counted = model.clone()
    counted.set_model_unet_function_wrapper(note)
    way.on(lab, counted, steps=steps)()
    return rows


def reads_of(way: Way, lab: Lab, model, steps: int) -> int:
    call = way.on(lab, model, steps=steps)
    with counted_reads(PACK.__name__, guidance.__name__) as seen:
        call()
    return len(seen)


def bench_nodes(lab: Lab, plan: Plan, targets: list) -> list[dict]:
    plain_step = min(timed(PLAIN.on(lab, lab.model, steps=plan.steps), 1) for _ in range(3)) / plan.steps
    rows = []
    for node in NODES:
        progress(node.name)
        steps, model = 2 * plan.steps, getattr(lab, node.on)
        passes = passes_of(node.way, lab, model, steps)
        short, long = reads_of(node.way, lab, model, steps), reads_of(node.way, lab, model, 2 * steps)
        per_step = (long - short) / steps
        seen = paired(node.way.on(lab, model, steps=steps), PLAIN.on(lab, model, steps=steps), plan.idle)
        added = (seen.ratio - 1.0) * seen.theirs / steps
        rows.append(
            {
                "name": node.name,
                "steps": steps,
                "passes": sum(passes),
                "forwards": len(passes),
                "reads_per_step": per_step,
                "reads_per_run": short - per_step * steps,
                "added_seconds_per_step": added,
                "added_spread": seen.spread * seen.theirs / steps,
                "share_of_step": added / plain_step,
            }
        )
        if node.off:
            targets.append(target(f"share of a step taken by {node.name}", added / plain_step, FREE))
    return rows


def node_tables(rows: list[dict]) -> Iterator[str]:
    yield table(
        f"Nodes, in a run of {rows[0]['steps']} steps with one sample: model passes, forward calls, reads "
        f"that wait for the device, and time beside the network's, added to plain CFG's",
        ["", "passes", "calls", "reads/step", "reads/run", "added us/step", "of a lab step"],
        [
            [
                row["name"],
                str(row["passes"]),
                str(row["forwards"]),
                f"{row['reads_per_step']:g}",
                f"{row['reads_per_run']:g}",
                f"{1e6 * row['added_seconds_per_step']:.0f} ±{1e6 * row['added_spread']:.0f}",
                f"{100 * row['share_of_step']:.1f} %",
            ]
            for row in rows
        ],
    )


def bench_hosts(lab: Lab, plan: Plan, targets: list) -> list[dict]:
    """Whole runs on the lab model with its network, with the host's own way measured beside ours."""
    rows = []
    for node in NODES:
        if node.host is None:
            continue
        progress(f"{node.name} against the host")
        seen = paired(
            node.way.on(lab, lab.model, steps=plan.steps),
            node.host.on(lab, lab.model, steps=plan.steps),
            plan.runs,
        )
        ours, theirs = (sum(passes_of(way, lab, getattr(lab, node.on), plan.steps)) for way in (node.way, node.host))
        rows.append({"name": node.name, "passes": ours, "host_passes": theirs, "time": asdict(seen)})
    return rows


def host_tables(rows: list[dict]) -> Iterator[str]:
    yield table(
        "Nodes against the host's own: a whole run on the lab model",
        ["", "passes", "host's passes", "time / host's"],
        [[row["name"], str(row["passes"]), str(row["host_passes"]), str(Ratio(**row["time"]))] for row in rows],
    )


def bench_interval(lab: Lab, plan: Plan, targets: list) -> dict:
    """A batch so large that the network's time grows with the rows of a pass, or nearly so."""
    progress("interval")
    ours, plain, single = (
        way.on(lab, lab.model, steps=plan.steps, batch=plan.batch) for way in (INTERVAL, PLAIN, Way(cfg=1.0))
    )
    passes, of = (sum(passes_of(way, lab, lab.idle, plan.steps)) for way in (INTERVAL, PLAIN))
    seen = paired(ours, plain, plan.runs)
    twice = paired(plain, single, plan.runs)
    off = seen.ratio / (passes / of) - 1.0
    targets.append(target("time of an interval run, off its passes", abs(off), 0.05))
    return {
        "batch": plan.batch,
        "steps": plan.steps,
        "passes": passes,
        "plain_passes": of,
        "expected": passes / of,
        "time": asdict(seen),
        "off": off,
        "two_passes_over_one": asdict(twice),
    }


def interval_tables(row: dict) -> Iterator[str]:
    yield table(
        f"Interval against plain CFG: {row['steps']} steps on the lab model, {row['batch']} samples",
        ["passes", "plain passes", "expected", "time / plain", "off", "2 passes / 1 pass"],
        [
            [
                str(row["passes"]),
                str(row["plain_passes"]),
                f"{row['expected']:.3f}",
                str(Ratio(**row["time"])),
                f"{100 * row['off']:+.1f} %",
                str(Ratio(**row["two_passes_over_one"])),
            ]
        ],
    )
