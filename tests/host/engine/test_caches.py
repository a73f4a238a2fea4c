"""Beside a cache that answers for the network: no term of a stale and a fresh prediction, and a word where it rests."""

import re

import pytest
import torch
from azimuth.nodes.engine import caches
from comfy.patcher_extension import WrappersMP
from methods import BY_NAME
from tiny import model, passes, run_node, sample

easy = pytest.importorskip("comfy_extras.nodes_easycache")

STEPS = 10


def cached(patched, node=easy.EasyCacheNode, threshold=0.2):
    return run_node(node, patched, threshold, 0.15, 0.95, False)


TERMS = ["pag", "seg", "stg_a", "tpg", "sag", "autoguidance"]


def served(steps):
    """A cache of another node: it answers at these steps with what the network predicted at the step before."""

    def make(patched):
        kept, calls = {}, [-1]

        def begin(executor, *args):
            calls[0] += 1
            return executor(*args)

        def answer(executor, *args, **kwargs):
            uuids = next(a for a in (*args, kwargs.get("transformer_options")) if isinstance(a, dict))["uuids"]
            if calls[0] in steps and all(uuid in kept for uuid in uuids):
                return torch.cat([kept[uuid] for uuid in uuids])
            out = executor(*args, **kwargs)
            kept.update(zip(uuids, out.chunk(len(uuids)), strict=True))
            return out

        patched = patched.clone()
        patched.add_wrapper(WrappersMP.PREDICT_NOISE, begin)
        patched.add_wrapper(WrappersMP.DIFFUSION_MODEL, answer)
        return patched

    return make


@pytest.mark.parametrize("first", ["cache first", "term first"])
@pytest.mark.parametrize("name", TERMS)
def test_a_term_rests_where_a_cache_answers_and_says_so(name, first, said):
    """There the picture is that of a step without the term."""
    cache = served({2, 3})
    patched = BY_NAME[name].on(cache(model())) if first == "cache first" else cache(BY_NAME[name].on(model()))
    rows = passes(patched, cfg=1.0, steps=5)
    assert len(rows) == (5 if name == "autoguidance" else 2 * 5 - 2)  # its passes are another model's
    reports = [sentence for sentence in said() if "rested in" in sentence]
    assert len(reports) == 1 and re.search(r"rested in 2 of 5 calls, in which a cache answered", reports[0])


def test_without_a_cache_nothing_rests_and_nobody_looks(said, monkeypatch):
    monkeypatch.setattr(caches.Watch, "outermost", lambda *_: pytest.fail("nobody was to look"))
    assert sample(BY_NAME["pag"].on(model())).isfinite().all()
    assert not said()


def test_a_pass_of_our_own_has_an_id_of_its_own():
    seen = []

    def note(executor, *args, **kwargs):
        seen.append(next(a for a in (*args, kwargs.get("transformer_options")) if isinstance(a, dict))["uuids"])
        return executor(*args, **kwargs)

    patched = BY_NAME["seg"].on(BY_NAME["pag"].on(model()))
    patched.add_wrapper(WrappersMP.DIFFUSION_MODEL, note)
    sample(patched, steps=1, cfg=1.0)
    assert len(seen) == 3 and len({uuid for uuids in seen for uuid in uuids}) == 3


def test_where_the_pass_by_which_a_cache_decides_is_left_out_the_log_says_so(said):
    windowed = BY_NAME["scheduled_cfg"].on(cached(model("flow")), scale=3.0, start=0.0, end=0.5)
    sample(windowed, cfg=3.0, steps=STEPS)
    reports = [sentence for sentence in said() if "EasyCache could skip nothing in" in sentence]
    assert len(reports) == 1 and " of 10 calls" in reports[0]


def test_a_cache_that_decides_by_the_positive_is_not_spoken_of(said):
    windowed = BY_NAME["scheduled_cfg"].on(cached(model("flow")), scale=3.0, start=0.5, end=1.0)
    sample(windowed, cfg=3.0, steps=STEPS)
    assert not any("EasyCache" in sentence for sentence in said())
