"""Checks of arguments: each refuses bad input, naming the argument, the value and what was expected."""

from collections.abc import Collection, Mapping
from typing import Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

T = TypeVar("T")

__all__ = [
    "array", "binary", "choice", "finite", "generator", "known", "number", "positive_int", "probabilities",
    "probability", "same_length",
]  # fmt: skip


def array(name: str, value: ArrayLike, *, ndim: int | None = 1, empty: bool = False) -> NDArray[Any]:
    """The value as an array with the right number of dimensions and, unless ``empty``, at least one element."""
    try:
        result = np.asarray(value)
    except ValueError as error:
        raise ValueError(f"{name} is ragged: expected a rectangular array") from error
    if ndim is not None and result.ndim != ndim:
        raise ValueError(f"{name} has shape {result.shape}: expected {ndim} dimension{'s' if ndim != 1 else ''}")
    if not empty and result.size == 0:
        raise ValueError(f"{name} is empty: expected at least one value")
    return result


def finite(name: str, value: ArrayLike, *, ndim: int | None = 1, empty: bool = False) -> NDArray[np.float64]:
    """The value as floats, none of them NaN or infinite."""
    raw = array(name, value, ndim=ndim, empty=empty)
    try:
        result = raw.astype(np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name} has dtype {raw.dtype}: expected numbers") from error
    bad = ~np.isfinite(result)
    if bad.any():
        where = tuple(int(i) for i in np.argwhere(bad)[0])
        at = where[0] if len(where) == 1 else where
        raise ValueError(f"{name} has {result[bad][0]} at {at} ({int(bad.sum())} in all): expected finite numbers")
    return result


def _first_outside(name: str, value: NDArray[np.float64], bad: NDArray[np.bool_], expected: str) -> None:
    if bad.any():
        where = int(np.nonzero(bad.ravel())[0][0])
        first, count = value.ravel()[where], int(bad.sum())
        raise ValueError(f"{name} has {first:g} at {where} ({count} in all): expected {expected}")


def probabilities(name: str, value: ArrayLike, *, ndim: int | None = 1, empty: bool = False) -> NDArray[np.float64]:
    """The value as floats in [0, 1]."""
    result = finite(name, value, ndim=ndim, empty=empty)
    _first_outside(name, result, (result < 0) | (result > 1), "probabilities in [0, 1]")
    return result


def binary(name: str, value: ArrayLike, *, ndim: int | None = 1, empty: bool = False) -> NDArray[np.float64]:
    """The value as floats, each 0 or 1."""
    result = finite(name, value, ndim=ndim, empty=empty)
    _first_outside(name, result, (result != 0) & (result != 1), "labels 0 or 1")
    return result


def same_length(**arrays: NDArray[Any]) -> int:
    """The common length of the arrays."""
    lengths = {name: len(value) for name, value in arrays.items()}
    if len(set(lengths.values())) > 1:
        raise ValueError(f"lengths differ: {', '.join(f'{n} has {k}' for n, k in lengths.items())}; expected the same")
    return next(iter(lengths.values()))


def number(
    name: str,
    value: float,
    *,
    above: float | None = None,
    least: float | None = None,
    most: float | None = None,
    below: float | None = None,
) -> float:
    """The value as a finite float, above ``above``, at least ``least``, at most ``most``, below ``below``."""
    bounds = (("above", above), ("at least", least), ("at most", most), ("below", below))
    wanted = [f"{word} {bound:g}" for word, bound in bounds if bound is not None]
    expected = " and ".join(["a finite number", *wanted])
    if isinstance(value, bool) or not isinstance(value, (int, float, np.integer, np.floating)):
        raise ValueError(f"{name} is {value!r}: expected {expected}")
    result = float(value)
    if (
        not np.isfinite(result)
        or (above is not None and result <= above)
        or (least is not None and result < least)
        or (most is not None and result > most)
        or (below is not None and result >= below)
    ):
        raise ValueError(f"{name} is {value!r}: expected {expected}")
    return result


def probability(name: str, value: float) -> float:
    """The value as a float in [0, 1]."""
    return number(name, value, least=0, most=1)


def positive_int(name: str, value: int, *, least: int = 1) -> int:
    """The value as a whole number of at least ``least``."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < least:
        raise ValueError(f"{name} is {value!r}: expected a whole number of at least {least}")
    return int(value)


def generator(name: str, value: np.random.Generator) -> np.random.Generator:
    """The value, if it is a numpy random generator such as :func:`casebook.rng.stream` makes."""
    if not isinstance(value, np.random.Generator):
        raise ValueError(f"{name} is {value!r}: expected a numpy.random.Generator, such as casebook.rng.stream makes")
    return value


def choice(name: str, value: T, allowed: Collection[T]) -> T:
    """The value, if it is one of those allowed."""
    if value not in allowed:
        raise ValueError(f"{name} is {value!r}: expected one of {', '.join(map(str, allowed))}")
    return value


def known(name: str, given: Mapping[str, Any], allowed: Collection[str]) -> None:
    """Refuses keys that are not among those allowed."""
    for key in given:
        if key not in allowed:
            raise ValueError(f"{name} has no {key!r}: expected names among {', '.join(sorted(allowed))}")
