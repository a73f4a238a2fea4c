"""What a specimen is made of: one kind of entry for each of the lists that are looked for. See `specimens.LISTS`."""

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum

# ---- Nodes


class Stand(Enum):
    """What stands for something that only the tests or the benchmark can make, among the inputs of a node."""

    NEGATIVE = "a further negative: the conditioning of another text"
    WEAKER = "a worse MODEL of the same kind"


@dataclass(frozen=True, eq=False)
class Node:
    """A node of a workflow: its id, and its inputs: plain values, other nodes, of which output 0 is meant, or
    `node.out(i)`. Title, size and row (from the top) are for the drawing.
    """

    kind: str
    inputs: dict = field(default_factory=dict)
    title: str = ""
    size: tuple[int, int] = (0, 0)
    row: int | None = None

    def out(self, index: int):
        return self, index


# ---- FORMULAS, DEFAULTS, HELPERS, SETTINGS and SAMPLERS, for the tests


@dataclass(frozen=True)
class Formula:
    """A function of `guidance`, and all that the property tests need to know of it.

    call(p, w) against oracle(sample, w): p is a step's Predictions, sample the same of one sample in numpy, float64.
    w is the scale, or whatever number per sample the function takes.

    at: value of w -> what it must return, bit for bit. reductions: name, ours(p, w), expected(p, w), bit for
    bit for any w. scales: the range of w. result: "latent" (dtype and shape of cond) or "wide" (float32 or better).
    laws: name, law(p, w, result), which is 0 for any w, as far as float64 is exact. exact: relative error to expect
    in float64. pictures: whether each picture (the last two dimensions) is filtered as one, so that the order of its
    places counts.
    """

    name: str
    call: Callable
    oracle: Callable
    at: tuple = ()
    reductions: tuple = ()
    scales: tuple[float, float] = (0.0, 15.0)
    result: str = "latent"
    laws: tuple = ()
    exact: float = 1e-11
    pictures: bool = False


@dataclass(frozen=True)
class Defaults:
    """What a public function or class of `guidance` takes where it is told nothing: the paper's number, or what is
    neutral. values: parameter -> default, all of them but None.
    """

    name: str
    values: dict


@dataclass(frozen=True)
class Helper:
    """A public function of `guidance` that is no Formula: it takes no predictions. tests/guidance/ has tests of it."""

    name: str


def nothing(cfg: float) -> list[dict]:
    return []


@dataclass(frozen=True)
class Setting:
    """A node, by its id, at inputs under which it acts, and the changes of these that each switch it off.

    acting: input -> plain value, schedule of `guidance`, Stand, or a function of the MODEL that the node is put on.
    neutral(cfg): the changes, which may depend on the sampler's cfg.
    group: the dynamic input that all of its inputs belong to.
    ranges: input -> the least and the largest number that it takes here, where the widget goes further.
    pictures: it says of other latents than pictures that it leaves them alone.
    by_index: it draws noise for every sample by its place in the batch.
    by_call: it draws something else in every call of the model, as its page says.
    lasting: changes with which it acts to the end, if it may be done after a step.
    needs: what an older host lacks for it, by the names of tests/host/features.py.
    elsewhere: it acts on another family of models than most tests have (tests/host/columns.py), and has tests of its
    own. beside: the family on which its neighbours are tried, where that is not the same.
    """

    name: str
    node: str
    acting: dict
    neutral: Callable[[float], list[dict]] = nothing
    group: str = ""
    ranges: dict = field(default_factory=dict)
    pictures: bool = False
    by_index: bool = False
    by_call: bool = False
    lasting: dict = field(default_factory=dict)
    needs: tuple[str, ...] = ()
    elsewhere: str = ""
    beside: str = ""


@dataclass(frozen=True)
class Sampler:
    """A node that makes a SAMPLER, by its id, at inputs as its `execute` takes them. name: as a column calls it."""

    name: str
    node: str
    inputs: dict


# ---- FUNCTIONS and RUNS, for the benchmark


@dataclass(frozen=True)
class Function:
    """A call that is timed. Its p has cond, uncond, first, second as Predictions do, and x, each, half, history and
    mask: see lab/bench/latents.py.

    other: what it is timed against: a function of p, the name of one of the lab's ("host.apg", "diffusers.apg"), or
    torch.lerp where there is none. limit: the ratio to reach in float32: at the video size, and against a counterpart
    1 at the others too.
    """

    name: str
    call: Callable
    other: Callable | str | None = None
    limit: float | None = None


@dataclass(frozen=True)
class Way:
    """A way to sample: the node, or nodes, that the MODEL goes through, the sampler's name or the node that makes it,
    its cfg, and the guider ("" is the CFGGuider).

    Inputs of nodes are plain values, schedules or Stands. A node of the host is named by its class:
    "comfy_extras.nodes_tcfg.TCFG".
    """

    through: Node | tuple[Node, ...] = ()
    sampler: str | Node = "euler"
    cfg: float = 7.0
    guider: str = ""


@dataclass(frozen=True)
class Run:
    """A way to sample that is timed against plain CFG. host: the host's own way to the same. off: it must be free.

    on: which of the lab's models it is measured on. One that changes blocks of the network is measured with it, on
    "model", and its passes are part of its time.
    """

    name: str
    way: Way
    host: Way | None = None
    off: bool = False
    on: str = "idle"


# ---- WORKFLOWS and PICTURES


@dataclass(frozen=True)
class Recipe:
    """A workflow of example_workflows/: the nodes at its end, which lead to all others, and two sentences of advice."""

    name: str
    heading: str
    advice: str
    ends: tuple[Node, ...]


@dataclass(frozen=True)
class Picture:
    """A row of cells in the picture of a node's help page, or on the README's contact sheet: what the sampler gets, the
    nodes that its MODEL goes through first, on which of the lab's models, and the sampler if it is none of the host's.

    sheet: its line on the contact sheet, 1 at the top; 0 for one of the help page alone.
    """

    label: str
    note: str
    scale: float
    chain: tuple[Node, ...] = ()
    models: tuple[str, ...] = ("ve", "flow")
    sampler: Node | None = None
    sheet: int = 0

    @property
    def name(self) -> str:
        """What stands above its cells in a help page."""
        return f"{self.label}, {self.note}"

    @property
    def shows(self) -> str:
        """The id of the node that it is about; empty where there is none, as in plain CFG."""
        about = self.sampler or (self.chain[-1] if self.chain else None)
        return about.kind if about else ""


# ---- TABLE, for docs/methods.md


@dataclass(frozen=True)
class Row:
    """A row of docs/methods.md, in Markdown. Ids of nodes and of papers in it become links, and so does the method.

    formula: its file in guidance/, such as "rules/fdg", where that does not have the name of the specimen.
    """

    method: str
    place: str
    paper: str
    use: str
    passes: str
    node: str
    formula: str = ""
