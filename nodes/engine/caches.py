"""Caches of other nodes, which answer for the network at some steps (EasyCache and its kin).

An added term compares two predictions of one call. Where one comes from a cache and the other is fresh, their
difference is an error of the cache, and no term. So the term rests there.
"""

from __future__ import annotations

from comfy.patcher_extension import WrappersMP

from .run import Run
from .stages import KEY

# Wrappers with which another node may answer for the network.
PLACES = (WrappersMP.DIFFUSION_MODEL, WrappersMP.CALC_COND_BATCH)


class Watch:
    """Notes in the outermost and the innermost wrapper of a network whether its calls get through to it.

    fresh  for each id of a conditioning: whether the network itself made the first prediction for it in this call
    used   whether the network calls wrappers at all; until it has, nothing is known
    """

    def __init__(self):
        self.fresh: dict = {}
        self.used = False
        self.through = False

    def begin(self) -> None:
        self.fresh = {}

    def outermost(self, executor, *args, **kwargs):
        options = next((a for a in (*args, kwargs.get("transformer_options")) if isinstance(a, dict)), {})
        self.through = False
        out = executor(*args, **kwargs)
        for uuid in options.get("uuids", ()):
            self.fresh.setdefault(uuid, self.through)
        return out

    def innermost(self, executor, *args, **kwargs):
        self.used = self.through = True
        return executor(*args, **kwargs)

    def serves(self, conds: list[dict]) -> bool:
        """Whether the prediction for these conditionings came from a cache."""
        return self.used and not any(self.fresh.get(cond["uuid"], False) for cond in conds)


def watched(run: Run, model_options: dict) -> dict:
    """The options of a call in which it shows whether a cache answers; as they are where that makes no difference."""
    options = model_options.get("transformer_options", {})
    wrappers = options.get("wrappers", {})
    if not may_answer(model_options, wrappers):
        return model_options
    run.watch = run.watch or Watch()
    run.watch.begin()
    of_network = wrappers.get(WrappersMP.DIFFUSION_MODEL, {})
    own = {f"{KEY}_outermost": [run.watch.outermost], **of_network, f"{KEY}_innermost": [run.watch.innermost]}
    wrappers = {**wrappers, WrappersMP.DIFFUSION_MODEL: own}
    return {**model_options, "transformer_options": {**options, "wrappers": wrappers}}


def may_answer(model_options: dict, wrappers: dict) -> bool:
    return "model_function_wrapper" in model_options or any(any(wrappers.get(place, {}).values()) for place in PLACES)


def serve(run: Run, conds: list[dict] | None) -> bool:
    """Whether the prediction for these conditionings came from a cache in this call."""
    return bool(conds) and run.watch is not None and run.watch.serves(conds)


def note_followed(run: Run, model_options: dict) -> None:
    """Count a call that has left out the pass by which EasyCache decides whether to answer for the network."""
    cache = model_options.get("transformer_options", {}).get("easycache")
    decides_by = getattr(cache, "first_cond_uuid", None)
    if decides_by is not None and run.watch is not None and run.watch.used:
        run.account.unfollowed += decides_by not in run.watch.fresh
