"""What stages add to a step beside the network, over a step without any, for bench.py."""

from collections.abc import Iterator
from dataclasses import asdict

from ..models import networks
from .nodes import NODES, PLAIN
from .tables import progress, table, target
from .timing import Plan, Ratio, paired
from .ways import Lab, Way

SIDE = 37  # a latent of the lab's model with as many values as one of SD1.5 for 512x512 pixels, (1, 4, 64, 64)
# A step without network and stages takes about 0.3 ms on a CPU core; so a stage may add 0.3 ms, and six 0.6 ms.
ONE, SIX = 2.0, 3.0

# One of each kind that sets, contrasts, combines and corrects.
NAMES = ("Scheduled CFG, interval 0.2 to 0.8", "TCFG", "ADG", "Rescale CFG", "Norm Limit", "TAG")


def together(ways: list[Way]) -> Way:
    def patch(model, lab: Lab):
        for way in ways:
            model = way.patch(model, lab)
        return model

    return Way(patch)


def bench_costs(lab: Lab, plan: Plan, targets: list) -> list[dict]:
    by_name = {run.name: run.way for run in NODES}
    ways = {name: by_name[name] for name in NAMES}
    rows = []
    for name, way, limit in [*((n, w, ONE) for n, w in ways.items()), ("all six", together([*ways.values()]), SIX)]:
        progress(name)
        steps = 4 * plan.steps
        ours, plain = (w.on(lab, lab.idle, steps=steps, side=SIDE) for w in (way, PLAIN))
        seen = paired(ours, plain, plan.runs)
        rows.append({"name": name, "milliseconds": 1e3 * (seen.ours - seen.theirs) / steps, "time": asdict(seen)})
        targets.append(target(f"step with {name} over one without, beside the network", seen.ratio, limit))
    return rows


def cost_tables(rows: list[dict]) -> Iterator[str]:
    yield table(
        f"A step beside the network, at (1, {networks.CHANNELS}, {SIDE}, {SIDE}): with stages against without",
        ["", "time / without", "ms added"],
        [[row["name"], str(Ratio(**row["time"])), f"{row['milliseconds']:.2f}"] for row in rows],
    )
