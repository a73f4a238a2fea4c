"""Frequency-Decoupled Guidance (FDG), and FreSca."""

import numpy as np

import guidance as g

from .. import oracle
from ..kinds import Defaults, Formula, Function, Helper, Node, Picture, Row, Run, Setting, Way
from ..pictures import HIGH, LOW, option
from ..predictions import at_seven, plain, uncond
from ..workflows import azimuth, picture

NODE = "AzimuthFrequency"
LINE = "separate weights for coarse and fine"
TABLE = [
    Row(
        "Frequency-Decoupled Guidance",
        place="combine = D_b + w (g_low · coarse part of Δ + g_high · fine part of Δ), parts of a Laplacian pyramid",
        paper="2506.19713",
        use="strong detail with calm colours and layouts",
        passes="2",
        node=f"{NODE}: FDG, FDG 3 bands",
        formula="rules/fdg",
    ),
    Row(
        "FreSca",
        place="the same, parts of the spectrum of Δ within and beyond a radius",
        paper="2504.02154",
        use="more detail at the usual cfg",
        passes="2",
        node=f"{NODE}: FreSca adaptive, FreSca",
        formula="rules/fresca",
    ),
]

# ---- FDG literally: pyramids


def blur(row):
    return np.convolve(np.pad(row, 2, mode="edge"), np.array([1, 4, 6, 4, 1]) / 16, mode="valid")


def smaller(row):
    b = blur(row)
    return b[::2] if len(row) % 2 else (b[::2] + b[1::2]) / 2


def larger(row, size):
    """Linear interpolation between the places that `smaller` took the values from."""
    places = 2 * np.arange(len(row)) + (0 if size % 2 else 0.5)
    return blur(np.interp(np.arange(size), places, row))


def down(picture):
    return np.apply_along_axis(smaller, 1, np.apply_along_axis(smaller, 0, picture))


def up(picture, shape):
    rows = np.apply_along_axis(larger, 0, picture, shape[0])
    return np.apply_along_axis(larger, 1, rows, shape[1])


def laplacian_pyramid(picture, levels):
    if levels == 1:
        return [picture]
    below = down(picture)
    return [picture - up(below, picture.shape), *laplacian_pyramid(below, levels - 1)]


def pictures_of(t):
    """The pictures of a sample (C, *spatial): its last two dimensions, or the rows of a sound."""
    return t.reshape(-1, *((1, t.shape[-1]) if t.ndim == 2 else t.shape[-2:]))


def literal_fdg(c, u, w, gains):
    def guided(pair):
        pyramids = zip(*(laplacian_pyramid(picture, len(gains)) for picture in pair), strict=True)
        *fine, image = [oracle.cfg(cl, ul, w * gain) for (cl, ul), gain in zip(pyramids, gains, strict=True)]
        for level in reversed(fine):
            image = up(image, level.shape) + level
        return image

    pairs = zip(pictures_of(c), pictures_of(u), strict=True)
    return np.stack([guided(pair) for pair in pairs]).reshape(c.shape)


# ---- FreSca literally: spectra


def literal_fresca(c, u, w, low, high, cutoff):
    def filtered(picture):
        rows, columns = (np.fft.fftfreq(n) / 0.5 for n in picture.shape)
        gain = np.where(np.sqrt(rows[:, None] ** 2 + columns**2) <= cutoff, low, high)
        return np.fft.ifft2(np.fft.fft2(picture) * gain).real

    return u + w * np.stack([filtered(picture) for picture in pictures_of(c - u)]).reshape(c.shape)


def literal_cutoff(c, u, energy=0.2):
    """The border that the authors' code takes, in lines of the shorter side, as our share of Nyquist.

    Their sum runs from the finest negative frequency towards the middle, so the lines beyond the border hold the share.
    """
    d = pictures_of(c - u)
    height, width = d.shape[-2:]
    spectrum = np.fft.fftshift(np.fft.fft2(d), (-2, -1))
    magnitude = np.abs(spectrum).mean(0)
    rows = [magnitude[height // 2]] if c.ndim == 2 else [magnitude[height // 2], magnitude[:, width // 2]]
    shorter = width if c.ndim == 2 else min(height, width)

    def lines(row):
        total = np.cumsum(row)
        return min(np.nonzero(total >= energy * total[-1])[0][0], shorter // 4)

    border = max(3, sum(map(lines, rows)) // len(rows))
    return (border + 0.5) / (shorter / 2)


def literal_adaptive(c, u, w, low, high):
    return literal_fresca(c, u, w, low, high, literal_cutoff(c, u))


# ---- The formulas


def fdg(*gains):
    return lambda p, w: g.fdg(p.cond, p.uncond, scale=w, gains=gains)


def fresca(low, high, cutoff=0.3):
    return lambda p, w: g.fresca(p.cond, p.uncond, scale=w, low=low, high=high, cutoff=cutoff)


def adaptive(low, high):
    return lambda p, w: fresca(low, high, g.fresca_cutoff(p.cond, p.uncond))(p, w)


def at_half(p, w):
    return plain(p, w * 0.5)


FORMULAS = [
    Formula(
        "fdg",
        lambda p, w: g.fdg(p.cond, p.uncond, scale=w),
        lambda s, w: literal_fdg(s.cond, s.uncond, w, (1.0, 0.5)),
        at=((0.0, uncond),),
        reductions=(("gains 1", fdg(1.0, 1.0, 1.0), plain), ("equal gains", fdg(0.5, 0.5), at_half)),
        pictures=True,
    ),
    Formula(
        "fdg, 3 bands",
        fdg(1.3, 0.9, 0.2),
        lambda s, w: literal_fdg(s.cond, s.uncond, w, (1.3, 0.9, 0.2)),
        at=((0.0, uncond),),
        pictures=True,
    ),
    Formula(
        "fresca",
        fresca(0.7, 1.5, 0.45),
        lambda s, w: literal_fresca(s.cond, s.uncond, w, 0.7, 1.5, 0.45),
        at=((0.0, uncond),),
        reductions=(("1 and 1", fresca(1.0, 1.0), plain), ("low = high", fresca(0.5, 0.5), at_half)),
        pictures=True,
    ),
    Formula(
        "fresca, adaptive",
        adaptive(0.7, 1.5),
        lambda s, w: literal_adaptive(s.cond, s.uncond, w, 0.7, 1.5),
        at=((0.0, uncond),),
        reductions=(("1 and 1", adaptive(1.0, 1.0), plain),),
        pictures=True,
    ),
]

HELPERS = [Helper("fresca_cutoff")]

DEFAULTS = [
    Defaults("fdg", {"gains": (1.0, 0.5)}),
    Defaults("fresca", {"low": 1.0, "high": 1.25, "cutoff": 0.3}),
    Defaults("fresca_cutoff", {"energy": 0.2}),
]

# ---- The node


def frequency_is_off(cfg):
    return [
        {"mode": {"mode": "FDG", "low": 1.0, "high": 1.0}},
        {"mode": {"mode": "FDG 3 bands", "low": 1.0, "middle": 1.0, "high": 1.0}},
        {"mode": {"mode": "FreSca adaptive", "low": 1.0, "high": 1.0}},
        {"mode": {"mode": "FreSca", "low": 1.0, "high": 1.0, "cutoff": 0.3}},
        {"strength": 0.0},
    ]


THREE_BANDS = {"mode": "FDG 3 bands", "low": 0.4, "middle": 0.8, "high": 2.0}
FRESCA = {"mode": "FreSca", "low": 0.8, "high": 1.5, "cutoff": 0.3}
SETTINGS = [
    Setting("fdg", NODE, {"mode": {"mode": "FDG", "low": 0.5, "high": 1.5}, "strength": 1.0}, frequency_is_off),
    Setting("fdg_3_bands", NODE, {"mode": THREE_BANDS, "strength": 0.8}),
    Setting("fresca", NODE, {"mode": FRESCA, "strength": 1.0}),
    Setting("fresca_adaptive", NODE, {"mode": {"mode": "FreSca adaptive", "low": 0.8, "high": 1.5}, "strength": 1.0}),
]

WORKFLOWS = [
    picture(
        "frequency_decoupled_guidance",
        "Frequency-Decoupled Guidance (FDG)",
        "Fine detail is guided at cfg 10, layout and colour at half of it: the paper's weights for SDXL. Lower low for "
        "calmer colours, raise high for more detail; FreSca in the same node splits the spectrum sharply.",
        lambda load: azimuth("Frequency", load, **{"mode": "FDG", "mode.low": 0.5, "mode.high": 1.0}),
        "a watchmaker's bench with tiny gears and springs, macro photograph, warm light",
        cfg=10.0,
    ),
]

# ---- The benchmark

FUNCTIONS = [
    Function("fdg", at_seven(g.fdg)),
    Function("fdg / diffusers' FDG", at_seven(g.fdg), "diffusers.frequency_decoupled", limit=1.0),
    Function("fdg, 3 bands", at_seven(g.fdg, gains=(1.0, 0.7, 0.4))),
    Function("fresca", at_seven(g.fresca)),
    Function("fresca with fresca_cutoff", lambda p: adaptive(1.0, 1.5)(p, 7.0)),
    Function("fresca / host's FreSca", at_seven(g.fresca), "host.fresca", limit=1.0),
]


def through(mode, **gains):
    return Way(Node(NODE, {"mode": {"mode": mode, **gains}, "strength": 1.0}))


HOSTS_FRESCA = Node("comfy_extras.nodes_fresca.FreSca", {"scale_low": 1.0, "scale_high": 1.25, "freq_cutoff": 20})
RUNS = [
    Run("FDG", through("FDG", low=0.5, high=1.0)),
    Run("FreSca", through("FreSca", low=1.0, high=1.25, cutoff=0.3), host=Way(HOSTS_FRESCA)),
    Run("FDG with gains of 1", through("FDG", low=1.0, high=1.0), off=True),
]

# ---- The pictures

PICTURES = [
    Picture(
        "FDG",
        f"cfg {HIGH:g} for detail, {HIGH / 4:g} for the coarse part",
        HIGH,
        (Node(NODE, option("mode", "FDG", low=0.25, high=1.0)),),
    ),
    Picture(
        "FreSca",
        f"cfg {LOW:g}: high 2, cutoff 0.3",
        LOW,
        (Node(NODE, option("mode", "FreSca", low=1.0, high=2.0, cutoff=0.3)),),
    ),
]
