"""Token Perturbation Guidance (TPG)."""

import functools

import numpy as np
import torch

import guidance as g

from ..kinds import Formula, Function, Node, Picture, Row, Run, Setting, Way
from ..pictures import LOW
from ..predictions import first
from ..workflows import azimuth, picture
from .add_term import TERM, queries, term_is_off

NODE = "AzimuthTokenPerturbation"
LINE = "clearer shapes, also without a prompt"
TABLE = [
    Row(
        "Token perturbation guidance",
        place="T = s (D_c − D_bad), tokens of D_bad shuffled",
        paper="2506.10036",
        use="composition at a low cfg or without a prompt",
        passes="+ 1",
        node=NODE,
    ),
]

# ---- The formula, and once more literally: a latent's channels are taken for tokens


def literal(tokens):
    """Every token in the place of the one before it."""
    return np.stack([tokens[(place + 1) % len(tokens)] for place in range(len(tokens))])


def literal_added(before, after):
    return before + literal(after - before)


def shuffled(shuffle, order, *latents):
    tokens = [t.flatten(2) for t in latents]
    return shuffle(*tokens, order=order(tokens[0].shape[1], device=tokens[0].device)).view_as(latents[0])


def turned(count, device):
    """The second token first, and the first one last."""
    return torch.arange(1, count + 1, device=device) % count


def in_place(shuffle, *names):
    """What is left where every token keeps its place: the last of the latents."""
    latents = [lambda p, name=name: getattr(p, name) for name in names]
    return (
        "order = 0, 1, ...",
        lambda p, w: shuffled(shuffle, torch.arange, *(latent(p) for latent in latents)),
        lambda p, w: latents[-1](p),
    )


FORMULAS = [
    Formula(
        "shuffle_tokens",
        lambda p, w: shuffled(g.shuffle_tokens, turned, first(p)),
        lambda s, w: literal(s.first),
        reductions=(in_place(g.shuffle_tokens, "first"),),
    ),
    Formula(
        "shuffle_added",
        lambda p, w: shuffled(g.shuffle_added, turned, p.first, p.second),
        lambda s, w: literal_added(s.first, s.second),
        reductions=(in_place(g.shuffle_added, "first", "second"),),
    ),
]

# ---- The node

SETTINGS = [
    Setting("tpg", NODE, {**TERM, "blocks": "auto"}, term_is_off, by_call=True),
    Setting("tpg_rescaled", NODE, {**TERM, "blocks": "1, middle 0", "rescale": 0.7}, by_call=True),
]

WORKFLOWS = [
    picture(
        "token_perturbation_guidance",
        "Token Perturbation Guidance (TPG)",
        "Each step asks once more with parts of the picture in each other's places, and moves away from that: a firmer "
        "composition at a moderate cfg. With cfg 1 it works alone, at the price of a plain run.",
        lambda load: azimuth("TokenPerturbation", load, scale=2.0),
        "a harbour town on a steep hillside, boats below, early morning, gouache",
        cfg=4.0,
    ),
]

# ---- The benchmark


@functools.cache
def drawn(count, device):
    return torch.randperm(count, generator=torch.Generator().manual_seed(0)).to(device)


def timed(shuffle, *, added=False):
    def call(p):
        tokens = queries(p, 2)[0]
        after = (tokens.flip(-1),) if added else ()
        return shuffle(tokens, *after, order=drawn(tokens.shape[-2], tokens.device))

    return call


FUNCTIONS = [
    Function("shuffle_tokens", timed(g.shuffle_tokens)),
    Function("shuffle_added", timed(g.shuffle_added, added=True)),
]


def way(scale):
    return Way(Node(NODE, {**TERM, "scale": scale, "blocks": "auto"}))


RUNS = [Run("TPG, with its passes", way(3.0), on="model"), Run("TPG at scale 0", way(0.0), off=True)]

# ---- The pictures

SHOWN = (Node(NODE, {"scale": 2.0}),)
PICTURES = [
    Picture("TPG", f"cfg {LOW:g}: scale 2", LOW, SHOWN),
    Picture("TPG", "cfg 1: scale 2, no negative pass", 1.0, SHOWN),
]
