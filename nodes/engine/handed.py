"""Options of a call that stand in for the host's, and what other nodes write into them meanwhile.

`model_options`, and the `transformer_options` in it, belong to everybody: other nodes keep in them what they count or
remember from step to step. Whoever hands down a copy must give back what was written into it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

INNER = "transformer_options"


@contextlib.contextmanager
def given_back(own: dict, handed: dict) -> Iterator[dict]:
    """Afterwards `own` holds what others have written into `handed`, and into its `transformer_options`, meanwhile.

    What we have put into `handed` before stays out of `own`.
    """
    if handed is own:
        yield handed
        return
    places = [(own, handed, dict(handed))]
    inner = handed.get(INNER)
    if inner is not None and inner is not own.get(INNER):
        places.append((own.setdefault(INNER, {}), inner, dict(inner)))
    try:
        yield handed
    finally:
        for owner, copy, before in places:
            if copy is inner and handed.get(INNER) is not inner:
                continue  # another node has put its own in place, which is given back as a whole
            write(owner, copy, before)


def write(owner: dict, copy: dict, before: dict) -> None:
    """Make in `owner` the changes that were made in `copy` since it was as `before`."""
    for key in copy.keys() | before.keys():
        if key not in copy:
            owner.pop(key, None)
        elif key not in before or copy[key] is not before[key]:
            owner[key] = copy[key]
