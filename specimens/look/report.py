"""Guidance Report: what a MODEL will do, in words."""

from ..workflows import azimuth, described, picture, schedule

NODE = "AzimuthReport"
LINE = "says in words what the MODEL carries"

WORKFLOWS = [
    picture(
        "guidance_report",
        "Guidance Report",
        "The report lists what the MODEL will do and the weight of every step, before you trust a picture to "
        "it. Set its cfg, steps and scheduler to those of the sampler.",
        lambda load: azimuth(
            "AngleDomain",
            azimuth("ScheduledCFG", load, scale=schedule("interval", inside=9.0, outside=1.0, start=0.1, end=0.8)),
        ),
        "an observatory on a hill under the milky way, long exposure photograph",
        cfg=7.0,
        more=described(7.0),
    ),
]
