"""What the tensors of one call must have in common, asked in one place for all formulas.

Shapes: the operands of a function are its arguments that are annotated as tensors. They have one shape (B, ...).
One of batch 1 stands for every sample. A number may be a tensor of one value or of B.
Units: operands hold real floating-point numbers. Where dtypes differ, all is computed in the widest, float32 at least.
Departures: torch would stretch an operand of another shape without a word, and sums over it would then be wrong.
"""

import functools
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

_REAL = frozenset((torch.float16, torch.bfloat16, torch.float32, torch.float64))


def operands(f: Callable | None = None, *, dtype_of: str = "", apart: Sequence[str] = ()) -> Callable:
    """A decorator that gives f operands of one shape and one dtype. The result has the dtype of the first of them.

    dtype_of: another operand whose dtype the result has; "wide" if it stays in float32 or better. apart: tensors with a
    shape and a dtype of their own. A call raises ValueError, naming argument and remedy, if its operands do not go
    together.
    """
    if f is None:
        return functools.partial(operands, dtype_of=dtype_of, apart=apart)
    kinds = {name: kind for name, kind in f.__annotations__.items() if name not in apart and name != "return"}
    required = [name for name, kind in kinds.items() if kind == Tensor]
    optional = [name for name, kind in kinds.items() if kind == Tensor | None]
    lists = [name for name, kind in kinds.items() if kind == Sequence[Tensor]]
    numbers = [name for name, kind in kinds.items() if kind == float | Tensor]
    places = f.__code__.co_varnames[: f.__code__.co_argcount]

    @functools.wraps(f)
    def checked(*args, **named):
        given = dict(zip(places, args, strict=False)) | named
        tensors = [given[name] for name in required if name in given]
        for name in optional:
            if given.get(name) is not None:
                tensors.append(given[name])
        for name in lists:
            tensors += given.get(name, ())
        if not _alike(tensors):
            return _of_fitted(given)
        for name in numbers:
            if isinstance(given.get(name), Tensor):
                _check_number(f.__name__, name, given[name], tensors[0])
        return f(*args, **named)

    def _of_fitted(given: dict):
        """The result for operands that are not alike, once they have been made so."""
        found = {name: given[name] for name in required + optional if name in required or given.get(name) is not None}
        found |= {f"{name}[{i}]": tensor for name in lists for i, tensor in enumerate(given[name])}
        made = _fitted(f.__name__, found)
        given = {**given, **{name: made[name] for name in required + optional if name in made}}
        given |= {name: [made[f"{name}[{i}]"] for i in range(len(given[name]))] for name in lists}
        dtype = found[dtype_of or required[0]].dtype if dtype_of != "wide" else None
        return _in_dtype(checked(**given), dtype)

    return checked


def _alike(tensors: list) -> bool:
    """Whether nothing is wrong with the operands. No value is looked at, and no generator made: calls are frequent."""
    if not tensors:
        return True  # an argument is missing, as Python will say
    first = tensors[0]
    if not isinstance(first, Tensor) or first.dtype not in _REAL or not first.ndim or not first.numel():
        return False
    shape, dtype = first.shape, first.dtype
    for tensor in tensors:
        if not isinstance(tensor, Tensor) or tensor.dtype is not dtype or tensor.shape != shape:
            return False
    return True


def _fitted(function: str, found: dict[str, Tensor]) -> dict[str, Tensor]:
    """The operands in one shape and one dtype."""
    for name, tensor in found.items():
        _check(f"{function}, argument {name}", name, tensor)
    (leader, first), *_ = found.items()
    batch = max(t.shape[0] for t in found.values())
    for name, tensor in found.items():
        if tensor.shape[1:] != first.shape[1:] or tensor.shape[0] not in (1, batch):
            raise ValueError(
                f"{function}, argument {name}: the shape {tuple(tensor.shape)} does not go with that of {leader}, "
                f"{tuple(first.shape)}; give tensors of one shape, or with a batch of 1 for all samples."
            )
    dtypes = {t.dtype for t in found.values()}
    dtype = first.dtype if len(dtypes) == 1 else functools.reduce(torch.promote_types, dtypes, torch.float32)
    return {name: t.expand(batch, *t.shape[1:]).to(dtype) for name, t in found.items()}


def _check(place: str, name: str, tensor) -> None:
    """Raises ValueError for what can be no operand, whatever the others are."""
    if not isinstance(tensor, Tensor):
        raise ValueError(f"{place}: this is of the type {type(tensor).__name__}; give a torch tensor.")
    if tensor.dtype not in _REAL:
        remedy = f"{name}.real" if tensor.is_complex() else f"{name}.float()"
        dtype = str(tensor.dtype).removeprefix("torch.")
        raise ValueError(f"{place}: its dtype is {dtype}; give real floating-point numbers, as {remedy} has.")
    if tensor.ndim < 2:
        raise ValueError(f"{place}: the shape {tuple(tensor.shape)} has a batch at most; give a tensor (B, C, ...).")
    if not tensor.numel():
        raise ValueError(
            f"{place}: the shape {tuple(tensor.shape)} holds no value; give at least one sample and pixel."
        )


def _check_number(function: str, name: str, value: Tensor, like: Tensor) -> None:
    """Raises ValueError for a tensor that is no real number for each sample or each place."""
    by_place = value.ndim == like.ndim and all(n in (1, of) for n, of in zip(value.shape, like.shape, strict=True))
    if not by_place and value.numel() not in (1, like.shape[0]) or value.is_complex():
        raise ValueError(
            f"{function}, argument {name}: got {value.numel()} of the dtype {str(value.dtype).removeprefix('torch.')} "
            f"for a batch of {like.shape[0]}; give one real number, or one for each sample."
        )


def _in_dtype(result, dtype: torch.dtype | None):
    if dtype is None:
        return result
    return tuple(t.to(dtype) for t in result) if isinstance(result, tuple) else result.to(dtype)
