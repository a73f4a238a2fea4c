"""Tangential damping (TCFG)."""

import numpy as np

import guidance as g

from ..kinds import Formula, Function, Node, Picture, Row, Run, Setting, Way
from ..pictures import HIGH, LOW
from ..workflows import azimuth, picture

NODE = "AzimuthTangentialCFG"
LINE = "the negative pulls less to the side"
TABLE = [
    Row(
        "Tangential damping",
        place="D_b' = x − part of x − D_b along the first singular vector of x − D_b and x − D_c",
        paper="2503.18137",
        use="any combine rule, without anything to tune",
        passes="2",
        node=NODE,
    ),
]

# ---- The formula, and once more literally


def literal(c, u, x):
    """With a singular value decomposition of the two vectors."""
    rows = np.stack([(x - u).ravel(), (x - c).ravel()])
    uu, uc, cc = rows[0] @ rows[0], rows[0] @ rows[1], rows[1] @ rows[1]
    if np.hypot(uu - cc, 2 * uc) <= 1e-6 * (uu + cc):
        return u
    first = np.linalg.svd(rows, full_matrices=False)[2][0]
    return x - ((rows[0] @ first) * first).reshape(u.shape)


FORMULAS = [
    Formula(
        "tcfg",
        lambda p, w: g.tcfg(p.cond, p.uncond, x=p.first),
        lambda s, w: literal(s.cond, s.uncond, s.first),
        exact=1e-10,
    ),
]

# ---- The node

SETTINGS = [Setting("tcfg", NODE, {"strength": 1.0}, lambda cfg: [{"strength": 0.0}])]

WORKFLOWS = [
    picture(
        "tangential_damping_cfg",
        "Tangential Damping CFG (TCFG)",
        "What the negative does not share with the positive is taken out of it before guidance. Nothing to tune; "
        "it combines with any rule, so add ADG or APG after it for a higher cfg.",
        lambda load: azimuth("TangentialCFG", load),
        "a tabby cat asleep on a stack of old atlases, dust in the sunlight, photograph",
        cfg=5.0,
    ),
]

# ---- The benchmark


def damped(p):
    return g.tcfg(p.cond, p.uncond, x=p.x)


FUNCTIONS = [
    Function("tcfg", damped, limit=5.0),
    Function("tcfg / host's TCFG", damped, "host.tcfg", limit=1 / 10),
    Function(
        "tcfg and cfg / diffusers' TCFG",
        lambda p: g.cfg(p.cond, damped(p), scale=7.0),
        "diffusers.tcfg",
        limit=1.0,
    ),
]

RUNS = [
    Run("TCFG", Way(Node(NODE, {"strength": 1.0})), host=Way(Node("comfy_extras.nodes_tcfg.TCFG"))),
    Run("TCFG at strength 0", Way(Node(NODE, {"strength": 0.0})), off=True),
]

# ---- The pictures

PICTURES = [Picture("TCFG", f"cfg {scale:g}", scale, (Node(NODE),)) for scale in (LOW, HIGH)]
