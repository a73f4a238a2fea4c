"""The mathematics is in this process once, under both of its names, whichever tests came first."""

import sys

import azimuth
from azimuth.nodes.rules import apg
from methods import BY_NAME
from tiny import model

import guidance as g


def test_the_pack_stands_on_the_guidance_of_this_process():
    assert azimuth.guidance is g
    assert apg.apg is g.apg
    theirs = {name: module for name, module in sys.modules.items() if name.startswith("azimuth.guidance")}
    assert "azimuth.guidance.strength.schedule" in theirs
    assert [name for name, module in theirs.items() if module is not sys.modules[name.removeprefix("azimuth.")]] == []


def test_a_schedule_of_guidance_is_one_to_the_nodes():
    assert BY_NAME["scheduled_cfg"].on(model(), scale=g.Linear(9.0, 2.0))
