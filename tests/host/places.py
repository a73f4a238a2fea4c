"""Every input of every node, as its schema has it: what the tests of bad input go through."""

from collections.abc import Iterator
from dataclasses import dataclass

from comfy_api.latest import io
from methods import ELSEWHERE, METHODS
from rows import NODES, Method
from tiny import run_node


class AtDefaults(Method):
    """A node that no specimen puts on a MODEL, at the defaults of its inputs."""

    def on(self, patched, **changes):
        takes_model = any(given.id == "model" for given in self.node.define_schema().inputs)
        return run_node(self.node, **({"model": patched} if takes_model else {}), **{**self.acting, **changes})


def at_defaults(node: type) -> Iterator[AtDefaults]:
    """The node once for each option of its dynamic input, if it has one."""
    given = node.define_schema().inputs
    fixed = {each.id: each.default for each in given if has_default(each)}
    dynamic = [each for each in given if isinstance(each, io.DynamicCombo.Input)]
    for group, option in [(each.id, option) for each in dynamic for option in each.options] or [("", None)]:
        inner = {each.id: each.default for each in option.inputs if has_default(each)} if option else {}
        name = node.__name__ + (f"-{option.key}" if option else "")
        chosen = {group: {group: option.key, **inner}} if option else {}
        yield AtDefaults(name, node, {**fixed, **chosen})


def acts(node: type) -> bool:
    """Whether something hangs on it: on all nodes but those that end a workflow, and show."""
    return not node.define_schema().is_output_node


def has_default(given: io.Input) -> bool:
    return getattr(given, "default", None) is not None


@dataclass(frozen=True)
class Place:
    """An input of a method: of the chosen option of the dynamic input `group`, if it has the id of one."""

    method: Method
    given: io.Input
    group: str = ""

    @property
    def name(self) -> str:
        return self.given.id

    @property
    def id(self) -> str:
        return f"{self.method.name}-{self.name}"

    @property
    def node(self) -> str:
        return self.method.node.define_schema().display_name

    @property
    def types(self) -> list[str]:
        return self.given.get_io_type().split(",")

    @property
    def range(self) -> tuple[float, float]:
        """The least and the largest number: those of the widget, unless the setting has others."""
        facts = self.given.as_dict()
        return self.method.ranges.get(self.name, (facts["min"], facts["max"]))

    def on(self, patched, value):
        """The node on a MODEL, with this value here."""
        if self.group and not self.method.group:
            return self.method.on(patched, **{self.group: {**self.method.acting[self.group], self.name: value}})
        return self.method.on(patched, **{self.name: value})


def places(method: Method) -> Iterator[Place]:
    """All inputs that are there at a method's settings."""
    for given in method.node.define_schema().inputs:
        if not isinstance(given, io.DynamicCombo.Input):
            yield Place(method, given)
            continue
        yield Place(method, given, given.id)
        chosen = (method.acting if method.group else method.acting[given.id])[given.id]
        for option in given.options:
            if option.key == chosen:
                yield from (Place(method, inner, given.id) for inner in option.inputs)


def everywhere() -> Iterator[Place]:
    """All inputs of the nodes at their specimens' settings, and of the others at their defaults."""
    settings = METHODS + ELSEWHERE
    set_up = {method.node for method in settings}
    others = [method for node in NODES.values() if node not in set_up and acts(node) for method in at_defaults(node)]
    for method in settings + others:
        yield from places(method)


PLACES = list(everywhere())
NUMBERS = [place for place in PLACES if {"FLOAT", "INT"} & set(place.types)]
SCHEDULED = [place for place in NUMBERS if "GUIDANCE_SCHEDULE" in place.types]
CHOICES = [
    place
    for place in PLACES
    if isinstance(place.given, io.Combo.Input | io.DynamicCombo.Input) and not isinstance(place.method, AtDefaults)
]


def once(places: list[Place]) -> list[Place]:
    """Of the places that are the same input of a node, and have the same range, the first."""
    first = {(place.method.node, place.group, place.name, *place.range): place for place in reversed(places)}
    return list(first.values())


def options(place: Place) -> list[str]:
    """What a choice offers."""
    return [getattr(option, "key", option) for option in place.given.options]
