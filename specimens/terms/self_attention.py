"""Self-Attention Guidance (SAG). What it blurs is tested in tests/guidance/terms."""

import math

import guidance as g

from .. import oracle
from ..kinds import Defaults, Formula, Function, Helper, Node, Picture, Row, Run, Setting, Way
from ..pictures import LOW
from ..workflows import azimuth, picture
from .add_term import queries, term_is_off

NODE = "AzimuthSelfAttention"
LINE = "finer detail where the model looks"
TABLE = [
    Row(
        "Self-attention guidance",
        place="T = s (B − D(x_B)), B = D_b blurred where the attention goes",
        paper="2210.00939",
        use="finer detail",
        passes="+ 1",
        node=NODE,
    ),
]

# ---- The noisy latent of another prediction, and once more literally


def same_noise(kind, literal, levels):
    """The number per sample is the level."""
    return Formula(
        f"with_same_noise {kind}",
        lambda p, w: g.with_same_noise(p.first, p.cond, p.uncond, w, kind=kind),
        literal,
        scales=levels,
    )


FORMULAS = [
    same_noise("ve", lambda s, w: s.first + s.uncond - s.cond, (0.5, 14.0)),
    # x = (1 - t) x0 + t eps
    same_noise("flow", lambda s, w: (1 - w) * s.uncond + w * oracle.eps(s.first, s.cond, w, "flow"), (0.05, 1.0)),
]

DEFAULTS = [Defaults("attention_mass", {"tokens": slice(None)})]
HELPERS = [Helper("attention_mass"), Helper("blurred_where_attended")]

# ---- The node


def is_off(cfg):
    return [*term_is_off(cfg), {"blur": 0.0}]


def inputs(scale):
    return {"scale": scale, "blur": 2.0, "start": 0.0, "end": 1.0}


SETTINGS = [Setting("sag", NODE, inputs(0.7), is_off, pictures=True)]

WORKFLOWS = [
    picture(
        "self_attention_guidance",
        "Self-Attention Guidance (SAG)",
        "What the model looks at most is blurred and shown to it again, and the difference sharpens detail there. "
        "0.5 to 0.75 is enough.",
        lambda load: azimuth("SelfAttention", load, scale=0.6),
        "a snow leopard on a ledge, falling snow, telephoto photograph",
        cfg=5.0,
    ),
]

# ---- The benchmark


def attention_mass(p):
    """Of one picture, as a UNet's middle block has it."""
    tokens, size = queries(p, 8)
    of_picture = tokens[..., : math.prod(size[1:]), :]
    return g.attention_mass(of_picture, of_picture)


def blurred_where_attended(p):
    tokens, size = queries(p, 8)
    return g.blurred_where_attended(p.cond, tokens[:, 0, :, 0], size=size, sigma=2.0)


FUNCTIONS = [
    Function("attention_mass", attention_mass),
    Function("blurred_where_attended", blurred_where_attended),
    Function("with_same_noise", lambda p: g.with_same_noise(p.x, p.cond, p.uncond, 0.5, kind="flow")),
]

RUNS = [
    Run(
        "SAG, with its passes",
        Way(Node(NODE, inputs(0.5))),
        Way(Node("comfy_extras.nodes_sag.SelfAttentionGuidance", {"scale": 0.5, "blur_sigma": 2.0})),
        on="model",
    ),
]

# ---- The pictures

PICTURES = [Picture("Self-Attention Guidance", f"cfg {LOW:g}: scale 0.75", LOW, (Node(NODE, {"scale": 0.75}),))]
