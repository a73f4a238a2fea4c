"""The table of what hosts have, against this host: no test is left out that could run."""

import pytest
from features import FEATURES, VERSION, due, need, number

from workbench.hosts import HOSTS

VERSIONS = list(HOSTS)  # oldest first


@pytest.mark.parametrize("name", FEATURES)
def test_the_host_has_what_its_version_should(name):
    since, there = FEATURES[name]
    assert since in VERSIONS[1:]  # what the oldest has needs no row
    if due(name) or VERSION in VERSIONS:
        assert there() == due(name)


@pytest.mark.parametrize("name", FEATURES)
def test_only_a_host_that_is_too_old_skips(name):
    assert due(name, VERSIONS[-1]) and not due(name, VERSIONS[0])
    if due(name):
        need(name)
    else:
        with pytest.raises(pytest.skip.Exception, match=FEATURES[name][0]):
            need(name)


def test_versions_are_compared_as_numbers():
    assert number("0.9.12") < number("0.16.3") < number("0.30.0") < number("1.0")
