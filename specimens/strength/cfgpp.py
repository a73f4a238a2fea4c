"""CFG++ as a weight, which samplers of first order step with."""

from ..kinds import Helper, Node, Picture, Row, Run, Setting, Way
from ..pictures import HIGH
from ..workflows import azimuth, picture

NODE = "AzimuthCFGPlusPlus"
LINE = "fewer artefacts with euler, ddim, euler_ancestral"
TABLE = [
    Row(
        "CFG++",
        place="w = λ σ/(σ − σ'); flow: λ t (1 − t')/(t − t')",
        paper="2406.08070",
        use="euler, ddim, euler_ancestral with fewer artefacts of a high weight",
        passes="2",
        node=NODE,
    ),
]

# ---- The formula

HELPERS = [Helper("ancestral_sigma_down"), Helper("cfgpp_scale")]

USUAL = {"lam": 0.6, "limit": 30.0}
SETTINGS = [Setting("cfgpp", NODE, USUAL)]

WORKFLOWS = [
    picture(
        "cfg_plus_plus",
        "CFG++",
        "Lambda runs from 0 to 1 and takes the place of cfg, whose number is ignored; 0.6 is about cfg 7.5. "
        "It is exact with euler, ddim and euler_ancestral, so keep one of them.",
        lambda load: azimuth("CFGPlusPlus", load, lam=0.6),
        "a paper boat on a rain puddle, reflections of street lamps, close-up photograph",
        cfg=7.0,
        sampler_name="euler",
        scheduler="normal",
        steps=30,
    ),
]

RUNS = [Run("CFG++", Way(Node(NODE, USUAL)), Way(sampler="euler_cfg_pp", cfg=0.6))]

# ---- The pictures

PICTURES = [Picture("CFG++", "lambda 0.6", HIGH, (Node(NODE, {"lam": 0.6}),), sheet=7)]
