"""What a formula makes of an operand that does not go with the others: the right result, or a sentence with a remedy.

Each function is called as its specimen calls it, and then once more with one of its operands spoilt.
"""

import copy
import inspect
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace

import pytest
import torch

import guidance as g
import specimens
from specimens.predictions import Predictions

from .drawing import drawn

SHAPE = (3, 4, 6, 6)
# What goes with the other operands in a shape or a dtype of its own.
APART = {"mass", "order", "mask", "centre"}
NUMBERS = {"flow_sigma", "half_log_snr", "noise_level", "ve_sigma", "dims", "per_sample"}


@dataclass(frozen=True)
class Call:
    """A call of a function of `guidance`; its arguments by name."""

    function: Callable
    given: dict

    def __call__(self):
        """The result, with a state as it was before the call."""
        rest = {name: copy.deepcopy(v) for name, v in self.given.items() if isinstance(v, g.Memory)}
        return self.function(**{**self.given, **rest})

    @property
    def name(self) -> str:
        return self.function.__name__

    @property
    def operands(self) -> list[str]:
        return [name for name, value in self.given.items() if is_operand(name, value, self.function)]

    @property
    def count(self) -> int:
        """How many tensors go together; a list of them counts as two, since it is never alone."""
        return sum(1 if isinstance(self.given[name], torch.Tensor) else 2 for name in self.operands)

    @property
    def numbers(self) -> list[str]:
        parameters = inspect.signature(self.function).parameters
        return [name for name in self.given if parameters[name].annotation == float | torch.Tensor]

    def changed(self, name, change) -> "Call":
        """With one operand changed, the first of several in a list."""
        old = self.given[name]
        new = change(old) if isinstance(old, torch.Tensor) else [change(old[0]), *old[1:]]
        return replace(self, given={**self.given, name: new})

    def all_changed(self, change) -> "Call":
        made = self
        for name in self.operands:
            old = made.given[name]
            new = change(old) if isinstance(old, torch.Tensor) else list(map(change, old))
            made = replace(made, given={**made.given, name: new})
        return made


def is_operand(name, value, function) -> bool:
    if name in APART or "float" in str(inspect.signature(function).parameters[name].annotation):
        return False
    first = value[0] if isinstance(value, (list, tuple)) and value else value
    return isinstance(first, torch.Tensor)


def recorded(names) -> dict[str, Call]:
    """A call of each of these functions: of those that the specimens make, one with the most operands."""
    functions = {inspect.unwrap(getattr(g, name)).__code__: getattr(g, name) for name in names}
    found = {}

    def watch(frame, event, argument):
        function = functions.get(frame.f_code)
        if event == "call" and function:
            given = {k: copy.deepcopy(v) if isinstance(v, g.Memory) else v for k, v in frame.f_locals.items()}
            call = Call(function, given)
            known = found.get(function.__name__)
            if known is None or len(call.operands) > len(known.operands):
                found[function.__name__] = call

    p = Predictions(*drawn(4, *SHAPE, seed=1, dtype=torch.float32))
    sys.setprofile(watch)
    try:
        for formula in specimens.found("FORMULAS"):
            low, high = formula.scales
            formula.call(p, low + 0.4 * (high - low))
        g.dot(p.cond, p.uncond), g.angle(p.cond, p.uncond), g.norm(p.cond), g.finite_per_sample(p.cond)
        g.select_per_sample(torch.tensor([True, False, True]), p.cond, p.uncond)
        g.attention_mass(p.cond, p.uncond), g.smooth_queries(p.cond, size=(1, 2, 3), sigma=1.0)
        g.blurred_where_attended(p.cond, p.first[:, 0, :4, 0], size=(1, 2, 2), sigma=1.0)
    finally:
        sys.setprofile(None)
    return found


TAKE_TENSORS = [
    name
    for name in g.__all__
    if name[0].islower() and "torch.Tensor" in str(inspect.signature(getattr(g, name))) and name not in NUMBERS
]
CALLS = recorded(TAKE_TENSORS)
every_call = pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
of_several = pytest.mark.parametrize("call", [c for c in CALLS.values() if c.count > 1], ids=lambda c: c.name)


def refused(call, name):
    """That the call is refused in a sentence that names function, argument and remedy."""
    with pytest.raises(ValueError, match=rf"^{call.name}, argument {name}(\[0\])?: .*; .*\.$") as error:
        call()
    assert "\n" not in str(error.value)


def same(a, b) -> bool:
    a, b = (t if isinstance(t, tuple) else (t,) for t in (a, b))
    return all(torch.equal(s, t.to(s.dtype)) and s.shape == t.shape for s, t in zip(a, b, strict=True))


def test_every_function_that_takes_tensors_is_called():
    assert set(CALLS) == set(TAKE_TENSORS)
    assert all(call.operands for call in CALLS.values())


@of_several
def test_an_operand_of_batch_1_stands_for_every_sample(call):
    for name in call.operands:
        single = call.changed(name, lambda t: t[:1])
        assert same(single(), call.changed(name, lambda t: t[:1].expand_as(t).clone())()), name


SPOILT = {
    "one channel": lambda t: t[:, :1],
    "two samples": lambda t: t[:2],
    "no batch": lambda t: t[0],
    "one line": lambda t: t[..., :1],
}


@pytest.mark.parametrize("change", SPOILT.values(), ids=SPOILT)
@of_several
def test_another_shape_is_refused(call, change):
    for name in call.operands:
        # Where the first does not go with the others, it is one of these that is named.
        refused(call.changed(name, change), f"({'|'.join(call.operands)})")


@pytest.mark.parametrize("dtype", [torch.uint8, torch.bool, torch.int64, torch.complex64], ids=str)
@every_call
def test_a_dtype_that_is_not_of_real_numbers_is_refused(call, dtype):
    for name in call.operands:
        refused(call.changed(name, lambda t: t.to(dtype)), name)
    refused(call.all_changed(lambda t: t.to(dtype)), call.operands[0])


EMPTY = {
    "no samples": lambda t: t[:0],
    "no channels": lambda t: t[:, :0],
    "no width": lambda t: t[..., :0],
}


@pytest.mark.parametrize("change", EMPTY.values(), ids=EMPTY)
@every_call
def test_nothing_is_refused(call, change):
    for name in call.operands:
        refused(call.changed(name, change), name)
    refused(call.all_changed(change), call.operands[0])


@every_call
def test_what_is_no_tensor_is_refused(call):
    for name in call.operands:
        for change in (lambda t: t.numpy(), lambda t: t.tolist(), lambda t: 1.0, lambda t: t.sum()):
            refused(call.changed(name, change), name)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64], ids=str)
@of_several
def test_dtypes_may_be_mixed(call, dtype):
    """The result is that of the widest dtype, in the dtype that the docstring says."""
    if dtype is torch.float64 and "state" in call.given:
        return  # what is remembered has the dtype of the run, float32
    widest = torch.promote_types(dtype, torch.float32)
    of = re.search(r"in the dtype of\s+`(\w+)`", call.function.__doc__)
    for name in call.operands:
        mixed = call.changed(name, lambda t: t.to(dtype))
        got = mixed()
        expected = call.all_changed(lambda t: t.to(widest)).changed(name, lambda t: t.to(dtype).to(widest))()
        assert same(got, expected), name
        if of:
            found = {t.dtype for t in (got if isinstance(got, tuple) else (got,))}
            assert found == {mixed.given[of[1]].dtype}, name


@every_call
def test_a_number_per_sample_needs_as_many_as_there_are_samples(call):
    for name in call.numbers:
        for wrong in (torch.ones(2), torch.ones(0), torch.ones(3, dtype=torch.complex64)):
            refused(replace(call, given={**call.given, name: wrong}), name)


def test_a_number_for_each_of_several_samples_does_not_make_samples():
    one = drawn(1, 4, 6, 6, dtype=torch.float32)
    with pytest.raises(ValueError, match="argument scale: .* for a batch of 1; give"):
        g.cfg(one, one, scale=torch.ones(3))
