"""Alerts: thresholds that state how often they cry wolf, and how late they are when something breaks.

An alarm is a statistic above its threshold. Periods are counted from 0.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from casebook import validate
from casebook.evaluate.intervals import Interval

__all__ = [
    "AlertThreshold", "alarms", "average_run_length", "block_bootstrap", "detection_delay", "first_alarm",
    "threshold_for_run_length", "threshold_from_history",
]  # fmt: skip


class AlertThreshold(NamedTuple):
    """A threshold, and the false alarms a period that it makes, with what history leaves unsure of that."""

    value: float
    false_alarm_rate: Interval


def alarms(statistic: ArrayLike, threshold: float) -> NDArray[np.bool_]:
    """Whether each period raises an alarm.

    Args:
        statistic: any monitored statistic, shape (..., periods).
        threshold: level above which it alarms.

    Raises:
        ValueError: values that are not finite.
    """
    return validate.finite("statistic", statistic, ndim=None) > validate.number("threshold", threshold)


def first_alarm(statistic: ArrayLike, threshold: float) -> int | None:
    """The first period that raises an alarm, if any does; arguments and errors as :func:`alarms`, one series."""
    raised = alarms(validate.array("statistic", statistic), threshold)
    return int(np.argmax(raised)) if raised.any() else None


def detection_delay(statistic: ArrayLike, threshold: float, onset: int) -> int | None:
    """Periods from the onset of a fault to the first alarm at or after it: 0 is the same period, None is never.

    Args:
        statistic: the monitored statistic, shape (periods,).
        threshold: level above which it alarms.
        onset: the period in which the fault begins, at least 0 and before the end.

    Raises:
        ValueError: values that are not finite, an onset outside the series.
    """
    statistic = validate.array("statistic", statistic)
    onset = validate.positive_int("onset", onset, least=0)
    if onset >= len(statistic):
        raise ValueError(f"onset is {onset}: expected a period before {len(statistic)}")
    return first_alarm(statistic[onset:], threshold)


def threshold_from_history(
    history: ArrayLike, periods_per_false_alarm: float, *, level: float = 0.95
) -> AlertThreshold:
    """The threshold that a quiet history would have crossed once in so many periods, for a statistic without memory.

    With n quiet periods the threshold is the k-th largest value, k = floor((n + 1) / periods_per_false_alarm). If the
    next period is exchangeable with them, it exceeds that value with probability k / (n + 1), whatever the
    distribution; given this history the probability has a Beta(k, n + 1 - k) law, which gives the interval. For a
    statistic that remembers, such as a CUSUM, use :func:`threshold_for_run_length`.

    Args:
        history: the statistic in periods when nothing was wrong, shape (periods,).
        periods_per_false_alarm: periods to be had for one false alarm, above 1 and at most n + 1.
        level: coverage of the interval of the false-alarm rate, in (0, 1).

    Raises:
        ValueError: values that are not finite, a history too short for so rare an alarm.
    """
    history = validate.finite("history", history)
    n = len(history)
    target = validate.number("periods_per_false_alarm", periods_per_false_alarm, above=1)
    level = validate.number("level", level, above=0, below=1)
    k = int((n + 1) / target)
    if k < 1:
        raise ValueError(
            f"history has {n} periods: expected at least {int(np.ceil(target)) - 1} to see so rare an alarm"
        )
    low, high = stats.beta.ppf([0.5 - level / 2, 0.5 + level / 2], k, n + 1 - k)
    return AlertThreshold(float(np.sort(history)[-k]), Interval(k / (n + 1), float(low), float(high), level))


def block_bootstrap(
    history: ArrayLike, *, periods: int, block: int, replicates: int, rng: np.random.Generator
) -> NDArray[np.float64]:
    """Quiet futures made of blocks of a quiet past, which keep its weekday pattern and its memory within a block.

    The circular block bootstrap: each block starts anywhere, and wraps at the end.

    Args:
        history: one or several numbers a period, shape (n,) or (n, columns); columns stay together.
        periods: length of each future.
        block: length of a block, at most n; 7 for days with a weekly pattern.
        replicates: number of futures.
        rng: generator for the draws.

    Returns:
        Array of shape (replicates, periods) or (replicates, periods, columns).

    Raises:
        ValueError: values that are not finite, a block longer than the history, sizes below 1.
    """
    history = validate.finite("history", history, ndim=None)
    if history.ndim not in (1, 2):
        raise ValueError(f"history has shape {history.shape}: expected (periods,) or (periods, columns)")
    n = len(history)
    periods, block = validate.positive_int("periods", periods), validate.positive_int("block", block)
    if block > n:
        raise ValueError(f"block is {block}: expected at most the {n} periods of history")
    size = (validate.positive_int("replicates", replicates), -(-periods // block), 1)
    starts = validate.generator("rng", rng).integers(n, size=size)
    index = ((starts + np.arange(block)) % n).reshape(replicates, -1)[:, :periods]
    return history[index]


def average_run_length(paths: ArrayLike, threshold: float, *, level: float = 0.95) -> Interval:
    """Periods until the first alarm, on average, over simulated series; those that never alarm count what they lasted.

    The estimate is all periods watched over the number of alarms, right for run lengths that are about geometric, as
    those of a CUSUM are after its start; the interval is exact for that law.

    Args:
        paths: the statistic in simulated series, shape (series, periods).
        threshold: level above which it alarms.
        level: coverage, in (0, 1).

    Raises:
        ValueError: values that are not finite, no alarm in any series.
    """
    level = validate.number("level", level, above=0, below=1)
    watched, count = _run_lengths(_highest(paths), validate.number("threshold", threshold))
    if count == 0:
        raise ValueError(f"threshold is {threshold:g}: expected one that some series crosses, or longer series")
    low = 2 * watched / stats.chi2.ppf(0.5 + level / 2, 2 * count + 2)
    high = 2 * watched / stats.chi2.ppf(0.5 - level / 2, 2 * count)
    return Interval(watched / count, float(low), float(high), level)


def threshold_for_run_length(paths: ArrayLike, periods_per_false_alarm: float) -> float:
    """The lowest threshold whose average run length over quiet series is at least the one asked for.

    Args:
        paths: the statistic in simulated quiet series, shape (series, periods), such as a CUSUM of
            :func:`block_bootstrap`'s futures. Make them longer than the run length asked for.
        periods_per_false_alarm: average periods to a false alarm, above 1.

    Raises:
        ValueError: values that are not finite, series too short or too few for so rare an alarm.
    """
    highest = _highest(paths)
    target = validate.number("periods_per_false_alarm", periods_per_false_alarm, above=1)
    # The run length changes only where the threshold passes a running maximum, and grows with it: bisect over those.
    levels = np.unique(highest)
    low, high = -1, len(levels) - 1
    while high - low > 1:
        middle = (low + high) // 2
        watched, count = _run_lengths(highest, levels[middle])
        low, high = (low, middle) if count == 0 or watched / count >= target else (middle, high)
    _, count = _run_lengths(highest, levels[high])
    if count == 0:
        raise ValueError(
            f"periods_per_false_alarm is {target:g}: expected fewer than the series can show, "
            f"{highest.shape[0]} of {highest.shape[1]} periods"
        )
    return float(levels[high])


def _highest(paths: ArrayLike) -> NDArray[np.float64]:
    """The highest value of each series so far: it exceeds a threshold from the first alarm on."""
    return np.maximum.accumulate(validate.finite("paths", paths, ndim=2), axis=1)


def _run_lengths(highest: NDArray[np.float64], threshold: float) -> tuple[int, int]:
    """Periods watched up to and including each series' first alarm, and how many series alarmed."""
    quiet = highest <= threshold
    count = int((~quiet[:, -1]).sum())
    return int(quiet.sum()) + count, count
