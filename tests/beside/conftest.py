"""The rig: random stacks beside random nodes of others, in the real host. See test_beside.py."""

from ..host import conftest as host  # opens the host, loads the pack and puts the tools of tests/host on sys.path

said = host.said
