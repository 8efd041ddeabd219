"""Splits in time: a model is judged on what happened after everything it learned from.

Times are numbers in one unit, such as days from the start of the log. Each part holds the times from its start up to,
but not including, its end.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from casebook import validate

__all__ = ["Fold", "Split", "rolling_origin", "time_split"]


class Split(NamedTuple):
    """Masks of the rows to fit on, to choose with and to report on."""

    train: NDArray[np.bool_]
    valid: NDArray[np.bool_]
    test: NDArray[np.bool_]


class Fold(NamedTuple):
    """Masks of the rows to fit on and to report on, for one origin."""

    train: NDArray[np.bool_]
    test: NDArray[np.bool_]


def time_split(times: ArrayLike, train_end: float, valid_end: float, *, gap: float = 0.0) -> Split:
    """Train before ``train_end``, validate up to ``valid_end``, test after it.

    Args:
        times: time of each row, shape (rows,).
        train_end: end of the training period.
        valid_end: end of the validation period, after ``train_end`` + ``gap``.
        gap: time left out after each end, such as the delay after which labels are known.

    Raises:
        ValueError: times that are not finite, ends in the wrong order, a negative gap, a part without rows.
    """
    times = validate.finite("times", times)
    gap = validate.number("gap", gap, least=0)
    train_end = validate.number("train_end", train_end)
    valid_end = validate.number("valid_end", valid_end, above=train_end + gap)
    split = Split(times < train_end, (times >= train_end + gap) & (times < valid_end), times >= valid_end + gap)
    for name, part in split._asdict().items():
        _not_empty(name, part, times)
    return split


def rolling_origin(
    times: ArrayLike, first: float, *, horizon: float, folds: int, gap: float = 0.0, window: float | None = None
) -> list[Fold]:
    """Several splits in a row, each with the training period ending one horizon later than the last.

    Args:
        times: time of each row, shape (rows,).
        first: end of the first training period.
        horizon: length of each test period, and the step from one origin to the next, above 0.
        folds: number of splits.
        gap: time left out between training and test.
        window: length of the training period; by default everything before its end.

    Raises:
        ValueError: times that are not finite, lengths that are not positive, a training or test period without rows.
    """
    times = validate.finite("times", times)
    first = validate.number("first", first)
    horizon, gap = validate.number("horizon", horizon, above=0), validate.number("gap", gap, least=0)
    length = np.inf if window is None else validate.number("window", window, above=0)
    result = []
    for i in range(validate.positive_int("folds", folds)):
        end = first + i * horizon
        start = end + gap
        fold = Fold((times >= end - length) & (times < end), (times >= start) & (times < start + horizon))
        for name, part in fold._asdict().items():
            _not_empty(f"{name} of fold {i}", part, times)
        result.append(fold)
    return result


def _not_empty(name: str, part: NDArray[np.bool_], times: NDArray[np.float64]) -> None:
    if not part.any():
        raise ValueError(f"{name} has no rows: expected ends within the times, [{times.min():g}, {times.max():g}]")
