"""Intervals: how sure a number is, by resampling the unit that was drawn at random.

Rows of one user are not independent, so an interval that resamples rows is too narrow; one that resamples users is
right. The functions here take the unit of every row, reduce rows to sums per unit where they can, and resample units.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from casebook import validate

__all__ = [
    "Interval", "bootstrap_mean", "bootstrap_metric", "bootstrap_ratio", "cluster_bootstrap", "paired_bootstrap",
    "sums_by_unit", "wilson_interval",
]  # fmt: skip


@dataclass(frozen=True)
class Interval:
    """An estimate with the interval around it.

    ``0.0 in interval`` asks whether a value is compatible with it; ``f"{interval:.2%}"`` formats all three numbers.
    """

    estimate: float
    low: float
    high: float
    level: float = 0.95

    def __contains__(self, value: float) -> bool:
        return self.low <= value <= self.high

    def __format__(self, spec: str) -> str:
        return f"{self.estimate:{spec}} [{self.low:{spec}}, {self.high:{spec}}]"

    def __str__(self) -> str:
        return f"{self:.3g}"


def wilson_interval(
    positives: ArrayLike, n: ArrayLike, *, level: float = 0.95
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Wilson's score interval of a proportion, which stays in [0, 1] and works at zero positives (Wilson 1927).

    Args:
        positives: number of positives, any shape.
        n: number of trials, of the same shape, at least 1 each.
        level: coverage, in (0, 1).

    Returns:
        The lower and the upper ends.

    Raises:
        ValueError: fewer than one trial, or positives outside [0, n].
    """
    positives = validate.finite("positives", positives, ndim=None)
    n = validate.finite("n", n, ndim=None)
    z = _z(level)
    if (n < 1).any():
        raise ValueError(f"n has {n.min():g}: expected at least 1 trial")
    if (positives < 0).any() or (positives > n).any():
        raise ValueError("positives is outside [0, n] somewhere: expected counts between 0 and n")
    rate = positives / n
    centre = (rate + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * np.sqrt(rate * (1 - rate) / n + z**2 / (4 * n**2))
    # At 0 and n positives the ends are exactly 0 and 1; rounding would leave them a hair off.
    low = np.where(positives == 0, 0.0, np.maximum(centre - half, 0.0))
    high = np.where(positives == n, 1.0, np.minimum(centre + half, 1.0))
    return low, high


def sums_by_unit(units: ArrayLike, *columns: ArrayLike) -> NDArray[np.float64]:
    """Sums of each column over the rows of each unit: what a bootstrap over units needs to know of the rows.

    Args:
        units: unit of each row (user, request, day), shape (rows,).
        columns: numbers to sum, each of shape (rows,).

    Returns:
        Array of shape (units, columns), units in order of first appearance.

    Raises:
        ValueError: no column, lengths that differ, a missing unit, a number that is not finite.
    """
    if not columns:
        raise ValueError("columns is empty: expected at least one column to sum")
    arrays = [validate.finite(f"columns[{i}]", column) for i, column in enumerate(columns)]
    codes, n = unit_codes("units", units)
    for i, array in enumerate(arrays):
        validate.same_length(**{"units": codes, f"columns[{i}]": array})
    return np.stack([np.bincount(codes, weights=array, minlength=n) for array in arrays], axis=1)


def cluster_bootstrap(
    statistic: Callable[[NDArray[np.float64]], NDArray[np.float64]],
    sums: ArrayLike,
    *,
    rng: np.random.Generator,
    replicates: int = 1000,
    level: float = 0.95,
) -> Interval:
    """Percentile bootstrap of a statistic of totals, drawing whole units with replacement (Efron 1979).

    Means, ratios, calibration and normalised entropy are all functions of a few totals, so the rows are summed once
    and a replicate costs a pass over the units.

    Args:
        statistic: maps totals of shape (..., columns) to values of shape (...), such as
            ``lambda t: t[..., 0] / t[..., 1]``.
        sums: totals of each unit, shape (units, columns), such as :func:`sums_by_unit` makes.
        rng: generator for the draws.
        replicates: number of resampled worlds.
        level: coverage, in (0, 1).

    Raises:
        ValueError: fewer than two units, or a statistic that is not finite on the data or on a replicate.
    """
    array = validate.finite("sums", sums, ndim=2)
    n = _at_least_two_units(len(array))
    validate.generator("rng", rng)
    totals = np.empty((validate.positive_int("replicates", replicates), array.shape[1]))
    for i in range(replicates):
        totals[i] = _draw(n, rng) @ array
    return _percentile(float(statistic(array.sum(axis=0))), np.asarray(statistic(totals), dtype=np.float64), level)


def bootstrap_mean(
    values: ArrayLike, units: ArrayLike, *, rng: np.random.Generator, replicates: int = 1000, level: float = 0.95
) -> Interval:
    """Mean over rows, with an interval over units.

    Args:
        values: number of each row, shape (rows,).
        units: unit of each row, shape (rows,).
        rng: generator for the draws.
        replicates: number of resampled worlds.
        level: coverage, in (0, 1).

    Raises:
        ValueError: see :func:`sums_by_unit` and :func:`cluster_bootstrap`.
    """
    values = validate.finite("values", values)
    return bootstrap_ratio(values, np.ones(len(values)), units, rng=rng, replicates=replicates, level=level)


def bootstrap_ratio(
    numerator: ArrayLike,
    denominator: ArrayLike,
    units: ArrayLike,
    *,
    rng: np.random.Generator,
    replicates: int = 1000,
    level: float = 0.95,
) -> Interval:
    """Sum of the numerator over sum of the denominator, with an interval over units.

    Predictions over labels give the calibration ratio; clicks over impressions give the CTR.

    Args:
        numerator: number of each row, shape (rows,).
        denominator: number of each row, shape (rows,).
        units: unit of each row, shape (rows,).
        rng: generator for the draws.
        replicates: number of resampled worlds.
        level: coverage, in (0, 1).

    Raises:
        ValueError: a denominator that sums to 0 on the data or on a replicate; see also :func:`sums_by_unit`.
    """
    numerator = validate.finite("numerator", numerator)
    denominator = validate.finite("denominator", denominator)
    validate.same_length(numerator=numerator, denominator=denominator)
    sums = sums_by_unit(units, numerator, denominator)
    if denominator.sum() == 0:
        raise ValueError("denominator sums to 0: expected a sum other than 0")
    return cluster_bootstrap(lambda t: t[..., 0] / t[..., 1], sums, rng=rng, replicates=replicates, level=level)


def paired_bootstrap(
    loss_a: ArrayLike,
    loss_b: ArrayLike,
    units: ArrayLike,
    *,
    rng: np.random.Generator,
    replicates: int = 1000,
    level: float = 0.95,
) -> Interval:
    """Mean loss of model A minus that of model B on the same rows, with an interval over units.

    Both models meet the same luck, so the difference is far surer than either loss.

    Args:
        loss_a: loss of model A on each row, shape (rows,).
        loss_b: loss of model B on the same rows, shape (rows,).
        units: unit of each row, shape (rows,).
        rng: generator for the draws.
        replicates: number of resampled worlds.
        level: coverage, in (0, 1).

    Raises:
        ValueError: lengths that differ; see also :func:`sums_by_unit` and :func:`cluster_bootstrap`.
    """
    loss_a, loss_b = validate.finite("loss_a", loss_a), validate.finite("loss_b", loss_b)
    validate.same_length(loss_a=loss_a, loss_b=loss_b)
    return bootstrap_mean(loss_a - loss_b, units, rng=rng, replicates=replicates, level=level)


def bootstrap_metric(
    metric: Callable[..., float],
    *columns: ArrayLike,
    units: ArrayLike,
    rng: np.random.Generator,
    replicates: int = 200,
    level: float = 0.95,
) -> Interval:
    """Any metric of rows, such as the AUC, with an interval over units.

    A replicate calls the metric on all the rows of the units drawn, so it costs what the metric costs: prefer
    :func:`cluster_bootstrap` where the metric is a function of sums. For the difference of two models, pass both
    models' predictions and a metric that subtracts.

    Args:
        metric: called with the resampled columns.
        columns: the metric's arguments, each of shape (rows,).
        units: unit of each row, shape (rows,).
        rng: generator for the draws.
        replicates: number of resampled worlds.
        level: coverage, in (0, 1).

    Raises:
        ValueError: no column, lengths that differ, fewer than two units, a metric that is not finite.
    """
    if not columns:
        raise ValueError("columns is empty: expected the metric's arguments")
    arrays = [validate.array(f"columns[{i}]", column) for i, column in enumerate(columns)]
    codes, n = unit_codes("units", units)
    for i, array in enumerate(arrays):
        validate.same_length(**{"units": codes, f"columns[{i}]": array})
    _at_least_two_units(n)
    validate.generator("rng", rng)
    values = np.empty(validate.positive_int("replicates", replicates))
    for i in range(replicates):
        rows = np.repeat(np.arange(len(codes)), _draw(n, rng)[codes])
        values[i] = metric(*(array[rows] for array in arrays))
    return _percentile(float(metric(*arrays)), values, level)


def unit_codes(name: str, units: ArrayLike) -> tuple[NDArray[np.intp], int]:
    """Units numbered from 0 in order of first appearance, and how many there are; none may be missing."""
    codes, distinct = pd.factorize(validate.array(name, units))
    if (codes < 0).any():
        raise ValueError(f"{name} is missing at {int(np.argmax(codes < 0))}: expected one for every row")
    return codes, len(distinct)


def _z(level: float) -> float:
    """The normal quantile that leaves half of 1 - level in each tail."""
    return float(stats.norm.ppf(0.5 + validate.number("level", level, above=0, below=1) / 2))


def _at_least_two_units(n: int) -> int:
    if n < 2:
        raise ValueError(f"units has {n} distinct value: expected at least 2, for one unit says nothing of the others")
    return n


def _draw(n: int, rng: np.random.Generator) -> NDArray[np.intp]:
    """How often each of n units is drawn in n draws with replacement."""
    return np.bincount(rng.integers(n, size=n), minlength=n)


def _percentile(estimate: float, values: NDArray[np.float64], level: float) -> Interval:
    validate.number("level", level, above=0, below=1)
    bad = int((~np.isfinite(values)).sum())
    if bad or not np.isfinite(estimate):
        raise ValueError(f"statistic is {estimate:g}, not finite on {bad} of {len(values)} draws: expected numbers")
    low, high = np.quantile(values, [0.5 - level / 2, 0.5 + level / 2])
    return Interval(estimate, float(low), float(high), level)
