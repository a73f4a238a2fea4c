"""The picture in the help page of Guidance Schedule: every shape with the values that the node starts with.

    python lab/pictures/schedules.py

Needs matplotlib. The schedules are drawn by the code that samples with them.
"""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

import matplotlib.pyplot as plt  # noqa: E402

import guidance as g  # noqa: E402

PICTURE = ROOT / "js" / "docs" / "AzimuthSchedule.png"
SHOWN = 272  # pixels, the width of the front-end's Info panel; 100 of them are an inch of the figure
STEPS = 20
HIGH, LOW = 14.6 ** (1 / 7), 0.03 ** (1 / 7)  # the karras scheduler of SD
SIGMAS = tuple((HIGH + i / (STEPS - 1) * (LOW - HIGH)) ** 7 for i in range(STEPS))
SHAPES = {
    "interval": g.Interval(7.0, 1.0, 0.1, 0.8),
    "sigma interval": g.SigmaInterval(7.0, 1.0, 0.28, 5.42),
    "linear": g.Linear(2.0, 12.0),
    "cosine": g.Cosine(2.0, 12.0),
    "power": g.Power(2.0, 12.0, 2.0),
    "triangle": g.Triangle(5.0, 1.0),
    "beta": g.Beta(7.0, 2.0, 3.0, 1.0),
    "exponential": g.Exponential(5.0, 0.5),
    "compressed": g.Compressed(4.0, 0.5, 1.0),
    "curve": g.Curve(((0.0, 1.0), (0.5, 0.0), (1.0, 0.0)), 1.0, 7.0),
    "per step": g.Steps((7,) * 6 + (5,) * 6 + (3,) * 4 + (1,) * 4),
    "constant": g.Constant(7.0),
}


def weights(schedule: g.Schedule) -> list[float]:
    bound = schedule.for_run((*SIGMAS, 0.0), "ve")
    return [bound.weight(i / (STEPS - 1), sigma) for i, sigma in enumerate(SIGMAS)]


def main() -> None:
    figure, axes = plt.subplots(6, 2, figsize=(SHOWN / 100, 6.6), sharex=True, sharey=True, layout="constrained")
    for axis, (name, schedule) in zip(axes.flat, SHAPES.items(), strict=True):
        values = weights(schedule)
        colours = ["#c8ced6" if value == 1.0 else "#2f6fb3" for value in values]
        axis.bar(range(1, STEPS + 1), values, color=colours, width=0.85)
        axis.set_title(name, fontsize=pixels(13), pad=2)
        axis.tick_params(labelsize=pixels(11), pad=1, length=2)
        axis.spines[["top", "right"]].set_visible(False)
    axes[0, 0].set_xticks((1, 10, 20))
    axes[0, 0].set_yticks((1, 5, 10))
    figure.supxlabel("the weight at each of 20 steps\ngrey: weight 1, no negative pass", fontsize=pixels(12))
    figure.savefig(PICTURE, dpi=200)  # twice as many pixels as are shown, for screens that have them


def pixels(size: float) -> float:
    """Points of a text that is so many pixels high when the picture is SHOWN pixels wide."""
    return size * 72 / 100


if __name__ == "__main__":
    main()
