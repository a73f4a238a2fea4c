"""One cell of the table: a method in one place, sampled, and what was seen and heard of it."""

import dataclasses
import functools
import logging
import re
from collections.abc import Callable

import comfy.samplers
import comfyui_version
import tiny
import torch
from columns import (
    ACROSS,
    CFG,
    FAMILIES,
    FAMILY,
    GUIDERS,
    LAMBDA,
    LIKE,
    NEIGHBOURS,
    SAMPLERS,
    STEPS,
    Family,
    Neighbour,
)
from foreign import repeating
from methods import BY_NAME, ELSEWHERE, METHODS
from outcomes import ABSENT, ALONE, CRASH, LOST, MOVED, NOTHING, REFUSED, SILENT, UNEQUAL, UNTRUE, WORKS, Cell, Outcome
from rows import Method
from tiny import sigmas_of

# A change by rounding alone is smaller than this share of the spread of the unguided result.
ROUNDING = 1e-4

# What the log says of every run that goes well.
ANNOUNCEMENT = re.compile(r"sets the weight to|\(\d+ of \d+ steps\)|skipped [1-9]\d* of|steps make two passes")


# ---- rows


@functools.cache
def schema(node: type):
    return node.define_schema()


def choices(method: Method) -> dict[str, str]:
    """What is chosen from the node's lists."""
    found = {}
    for given in schema(method.node).inputs:
        value = method.acting.get(given.id)
        value = value.get(given.id) if isinstance(value, dict) else value
        if "COMBO" in given.io_type.upper() and isinstance(value, str):
            found[given.id] = value
    return found


@functools.cache
def rows() -> dict[str, Method]:
    """Every node in every one of its modes that the lists of methods hold, by the name that users see."""
    named = {}
    every = METHODS + ELSEWHERE
    for method in every:
        siblings = [choices(other) for other in every if other.node is method.node]
        apart = [v for k, v in choices(method).items() if len({other.get(k) for other in siblings}) > 1]
        named.setdefault(": ".join([schema(method.node).display_name, *([", ".join(apart)] if apart else [])]), method)
    return dict(sorted(named.items(), key=lambda row: row[0].lower()))


# ---- one run

# What the log says of a neighbour that has no effect beside ours.
THEIR_FATE = re.compile(
    r"replaces the|replaces it|another node sets the weight|time range does not reach|"
    r"EasyCache could skip nothing"
)

# What the log says of a method that has no effect anywhere in a run; and of one that saved nothing, beside what the
# pack itself changed there.
DENIAL = re.compile(r"The node has no effect(:| at weight 1, where| at weights of at most 1| under)")
IDLE, REPAIR = re.compile("skipped 0 of"), re.compile("time range does not reach")


class Listener(logging.Handler):
    """Keeps what the pack says."""

    def __init__(self):
        super().__init__(logging.INFO)
        self.said = []

    def emit(self, record):
        self.said.append(record.getMessage())


def heard(run: Callable) -> tuple[torch.Tensor, list[str]]:
    """The result of a run, and what the pack logged of it."""
    logger, listener = logging.getLogger("azimuth"), Listener()
    before = logger.level, logger.propagate
    logger.addHandler(listener)
    logger.setLevel(logging.INFO)
    logger.propagate = False
    try:
        return run(), listener.said
    finally:
        logger.removeHandler(listener)
        logger.setLevel(before[0])
        logger.propagate = before[1]


def sampled(
    patched, family: Family, guider="KSampler", sampler="euler", steps=STEPS, positive=None, negative=None, **how
):
    """The result of a short run as one vector."""
    conds = positive or family.text(1), negative or family.text(2)
    make = functools.partial(GUIDERS[guider], family=family, positive=conds[0], negative=conds[1])
    how = {
        "sampler": SAMPLERS.get(sampler, sampler),
        "sigmas": sigmas_of(patched, steps),
        "latent": family.nothing(),
        **how,
    }
    out = tiny.sample(patched, x=family.noise(), guider=make(patched), **how)
    return torch.cat([part.flatten() for part in (out.unbind() if len(family.shapes) > 1 else [out])])


def attempted(method: Method, run: Callable, sampler="euler") -> tuple[torch.Tensor | None, Outcome]:
    """The result of a run with a method, if there is one, and an outcome that says only what was heard."""
    try:
        result, said = heard(run)
    except Exception as error:
        if isinstance(error, ValueError) and str(error).startswith(schema(method.node).display_name):
            return None, Outcome(REFUSED, (told(method, str(error), sampler),))
        return None, Outcome(CRASH, (repr(error),))
    said = dict.fromkeys(told(method, sentence, sampler) for sentence in said if not ANNOUNCEMENT.search(sentence))
    if not torch.isfinite(result).all():
        return None, Outcome(CRASH, ("The result is not finite.", *said))
    return result, Outcome(WORKS, tuple(said))


def told(method: Method, sentence: str, sampler: str) -> str:
    """A sentence without the names of the method's node and of the sampler, so that rows and columns share it."""
    name = re.escape(schema(method.node).display_name)
    sentence = re.sub(rf"(?<![\w-]){name}(?! [sS]ampler)", "the node", sentence)  # there are CFG++ samplers
    function = sampler_function(sampler)
    sentence = re.sub(rf"(?<!such as )(the sampler )?\b{function}\b", "this sampler", sentence)
    return sentence[0].upper() + sentence[1:]


def sampler_function(sampler: str) -> str:
    """The name by which a sampler is known inside: that of uni_pc is unipc."""
    made = SAMPLERS.get(sampler, sampler)
    made = comfy.samplers.sampler_object(made) if isinstance(made, str) else made
    return made.sampler_function.__name__.removeprefix("sample_")


def differ(a: torch.Tensor, b: torch.Tensor) -> bool:
    return bool((a - b).abs().max() > ROUNDING * b.std())


def apart(a: torch.Tensor, b: torch.Tensor) -> float:
    """How far a is from b, as a share of how far b's values spread."""
    return float((a - b).norm() / (b - b.mean()).norm())


def held_to(wanted: torch.Tensor, result: torch.Tensor, outcome: Outcome, usual: tuple = (), allowed=0.0) -> Outcome:
    """The outcome of a run whose result should be `wanted`: a fault if it is further off than `allowed`, and the log
    says nothing beyond the usual."""
    silent = set(outcome.sentences) <= set(usual)
    if outcome.verdict == WORKS and silent and apart(result, wanted) > allowed + ROUNDING:
        return Outcome(MOVED, outcome.sentences)
    return outcome


def with_effect(outcome: Outcome) -> Outcome:
    """What a run is that came out another than without the method: unless the log denies it, one that works."""
    idle = any(map(IDLE.search, outcome.sentences))
    if idle and any(map(REPAIR.search, outcome.sentences)):
        return Outcome(NOTHING, outcome.sentences)
    return Outcome(UNTRUE, outcome.sentences) if idle or any(map(DENIAL.match, outcome.sentences)) else outcome


def without_effect(outcome: Outcome) -> Outcome:
    """What a run is that came out as without the method: explained, or silent."""
    explained = [sentence for sentence in outcome.sentences if "no effect" in sentence or IDLE.search(sentence)]
    return Outcome(NOTHING, tuple(explained)) if explained else Outcome(SILENT, outcome.sentences)


# ---- a method in one place


@functools.cache
def plain(family: Family, guider="KSampler", sampler="euler", steps=STEPS):
    """The run without a method; None where this host has no such thing or cannot run it."""
    try:
        return sampled(family.build(), family, guider, sampler, steps=steps)
    except Exception:
        return None


@functools.cache
def with_method_alone(name: str, family: Family, guider="CFG Guider", sampler="euler", steps=STEPS, repeats=()):
    """The run with a method and nothing else, and its outcome."""
    method, made = BY_NAME[name], repeating(repeats) if repeats else sampler

    def run():
        return sampled(family.on(method, family.build()), family, guider, made, steps=steps)

    return attempted(method, run, sampler)


def alone(method: Method, family: Family, guider="KSampler", sampler="euler", twice=False) -> Outcome:
    """A method against the run without it."""
    without = plain(family, guider, sampler)
    if without is None:
        return Outcome(ABSENT)

    def run():
        return sampled(family.on(method, family.build()), family, guider, sampler)

    result, outcome = attempted(method, run, sampler)
    if result is None:
        return outcome
    if twice and not torch.equal(result, heard(run)[0]):
        return Outcome(UNEQUAL)
    outcome = with_effect(outcome) if differ(result, without) else without_effect(outcome)
    like = usual_place(family, guider, sampler)
    if not like:
        return outcome
    wanted, usual = with_method_alone(method.name, *like)
    return held_to(wanted, result, outcome, usual.sentences)


def usual_place(family: Family, guider: str, sampler: str) -> tuple | None:
    """The place that one which is to change nothing is held to."""
    if guider in LIKE:  # with the weight of a latent that has one part
        return (dataclasses.replace(family, cfg=CFG), *LIKE[guider]) if len(family.shapes) == 1 else None
    return (family, *LIKE[sampler]) if sampler in LIKE else None


def alike(one: Family, other: Family) -> bool:
    """Whether two families predict the same."""
    return one.prediction.split(",")[0] == other.prediction.split(",")[0]


def with_sampler(method: Method, family: Family, sampler: str) -> Outcome:
    home = FAMILY[method.elsewhere] if method.elsewhere and alike(FAMILY[method.elsewhere], family) else family
    if home is family and sampler_function(sampler).endswith("_cfg_pp"):
        home = dataclasses.replace(home, cfg=LAMBDA)
    return alone(method, home, "CFG Guider", sampler, twice=True)


@functools.cache
def with_neighbour_alone(neighbour: Neighbour, family: Family):
    try:
        return beside(neighbour, neighbour.on(family.build()), family)
    except Exception:
        return None


def repeated_steps(neighbour: Neighbour, family: Family, ours: Callable = lambda patched: patched) -> tuple[int, ...]:
    """The steps of a run at which the network is not asked."""
    patched, asked = family.build().clone(), set()

    def note(apply_model, args):
        asked.update(args["timestep"].tolist())
        return apply_model(args["input"], args["timestep"], **args["c"])

    patched.set_model_unet_function_wrapper(note)
    heard(lambda: beside(neighbour, neighbour.beside(ours, patched), family))
    levels = torch.tensor(sorted(asked))
    return tuple(
        i for i, s in enumerate(sigmas_of(patched, neighbour.steps)[:-1]) if (levels - s).abs().min() > 1e-4 * s
    )


def beside(neighbour: Neighbour, patched, family: Family):
    with neighbour.during():
        return sampled(patched, family, "CFG Guider", steps=neighbour.steps, **neighbour.how(family))


def with_neighbour(method: Method, neighbour: Neighbour) -> Outcome:
    """A method beside something else: both have their effect, or the log says which has none. What the neighbour does
    not do without the method either is not missed."""
    family = FAMILY[method.beside or method.elsewhere or neighbour.family]
    theirs = with_neighbour_alone(neighbour, family)
    if theirs is None:
        return Outcome(ABSENT)
    ours, usual = with_method_alone(method.name, family, steps=neighbour.steps)
    without = plain(family, "CFG Guider", steps=neighbour.steps)

    def run():
        return beside(neighbour, neighbour.beside(functools.partial(family.on, method), family.build()), family)

    both, outcome = attempted(method, run)
    if both is None:
        return outcome
    if not differ(both, theirs):
        return without_effect(outcome)
    acts = differ(theirs, without) and with_effect(outcome).verdict == WORKS
    if acts and ours is not None and not differ(both, ours):
        explained = any(map(THEIR_FATE.search, outcome.sentences))
        return Outcome(ALONE if explained else LOST, outcome.sentences)
    if neighbour.moves is None or ours is None:
        return with_effect(outcome)
    if neighbour.whole:
        steps = repeated_steps(neighbour, family, functools.partial(family.on, method))
        ours = with_method_alone(method.name, family, steps=neighbour.steps, repeats=steps)[0]
    return held_to(ours, both, with_effect(outcome), usual.sentences, neighbour.moves * apart(theirs, without))


# ---- all of them


def host_version() -> str:
    return comfyui_version.__version__


@functools.cache
def tables() -> dict[str, dict[str, Callable[[Method], Outcome]]]:
    """Every part of the record: its columns, each with how a method is observed there."""
    found = {}
    for guider in GUIDERS:
        families = FAMILIES if guider == "KSampler" else ACROSS
        found[guider] = {f.name: functools.partial(alone, family=f, guider=guider) for f in families}
    for family in (FAMILY["SD 1.5"], FAMILY["SD3"]):
        columns = {name: functools.partial(with_sampler, family=family, sampler=name) for name in SAMPLERS}
        found[f"samplers, {family.prediction}"] = columns
    found["neighbours"] = {n.name: functools.partial(with_neighbour, neighbour=n) for n in NEIGHBOURS}
    return found


def cells_of(row: str) -> list[Cell]:
    return [Cell(table, row, column) for table, columns in tables().items() for column in columns]


def observed(cell: Cell) -> Outcome:
    return tables()[cell.table][cell.column](rows()[cell.row])
