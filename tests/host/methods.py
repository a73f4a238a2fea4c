"""Every node that changes sampling, at the settings of its specimen: what the tests of the promises go through."""

from rows import made

from specimens import found

METHODS = [made(setting) for setting in found("SETTINGS") if not setting.elsewhere]
# They act on other models than the one of those tests, and have tests of their own.
ELSEWHERE = [made(setting) for setting in found("SETTINGS") if setting.elsewhere]
BY_NAME = {method.name: method for method in METHODS + ELSEWHERE}


def stack(patched, *names):
    """The MODEL with several methods, wired in this order."""
    for name in names:
        patched = BY_NAME[name].on(patched)
    return patched
