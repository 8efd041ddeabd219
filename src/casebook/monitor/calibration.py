"""Calibration over time: counts of what happened against counts of what was predicted, by period."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from casebook import validate
from casebook.monitor.alerts import first_alarm

__all__ = ["Cusum", "calibration_cusum", "cusum_statistic", "observed_over_expected"]


@dataclass(frozen=True)
class Cusum:
    """Both sides of a CUSUM by period, its threshold, and the first period above it, with the side that crossed."""

    high: NDArray[np.float64]
    low: NDArray[np.float64]
    threshold: float
    alarm: int | None
    side: Literal["high", "low"] | None


def cusum_statistic(
    observed: ArrayLike, expected: ArrayLike, *, ratio: float = 1.2
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Two-sided Poisson CUSUM of counts against what was expected of each period (Höhle and Paul 2008).

    Each side adds up the log likelihood ratio of observed / expected having jumped to ``ratio`` (or to 1 / ``ratio``)
    against 1, which is O ln(ratio) - E (ratio - 1), and never falls below 0. A small lasting shift adds up.

    Args:
        observed: counts by period, shape (..., periods), at least 0.
        expected: sums of predictions by period, of the same shape, above 0.
        ratio: the shift to be tuned to, above 1.

    Returns:
        The statistic against too many (high) and against too few (low), each of shape (..., periods).

    Raises:
        ValueError: shapes that differ, negative counts, expectations of 0 or less, a ratio of 1 or less.
    """
    observed, expected = (
        validate.finite("observed", observed, ndim=None),
        validate.finite("expected", expected, ndim=None),
    )
    ratio = validate.number("ratio", ratio, above=1)
    if observed.shape != expected.shape or observed.ndim == 0:
        raise ValueError(f"observed has shape {observed.shape} and expected {expected.shape}: expected equal shapes")
    if (observed < 0).any():
        raise ValueError(f"observed has {observed.min():g}: expected counts of at least 0")
    if (expected <= 0).any():
        raise ValueError(f"expected has {expected.min():g}: expected sums above 0")
    high, low = (_one_sided(observed * np.log(r) - expected * (r - 1)) for r in (ratio, 1 / ratio))
    return high, low


def calibration_cusum(observed: ArrayLike, expected: ArrayLike, *, threshold: float, ratio: float = 1.2) -> Cusum:
    """The CUSUM of one series and its first alarm.

    Take the threshold from history (:func:`casebook.monitor.threshold_for_run_length`): counts of real traffic vary
    more than a Poisson law says.

    Args:
        observed: counts by period, shape (periods,).
        expected: sums of predictions by period, shape (periods,).
        threshold: level above which the CUSUM raises its alarm, above 0.
        ratio: the shift to be tuned to, above 1.

    Raises:
        ValueError: as :func:`cusum_statistic`; a threshold of 0 or less.
    """
    threshold = validate.number("threshold", threshold, above=0)
    high, low = cusum_statistic(validate.array("observed", observed), expected, ratio=ratio)
    alarm = first_alarm(np.maximum(high, low), threshold)
    side: Literal["high", "low"] | None = None
    if alarm is not None:
        side = "high" if high[alarm] > low[alarm] else "low"
    return Cusum(high, low, threshold, alarm, side)


def observed_over_expected(
    converted: ArrayLike, predicted: ArrayLike, matured: ArrayLike, periods: ArrayLike, *, level: float = 0.95
) -> pd.DataFrame:
    """Conversions seen so far against those to be expected so far, by period: not fooled by labels still on the way.

    A raw conversion rate falls over the last days of every log, because their conversions have not arrived. Here each
    prediction counts only for the share of its conversions that has had the time to arrive.

    Args:
        converted: whether each click's conversion has been seen by now, shape (rows,).
        predicted: predicted probability that it ever converts, shape (rows,).
        matured: probability that its conversion, if there is one, has arrived by now: the delay's distribution
            function at the click's age, shape (rows,).
        periods: period of each click, such as its day, shape (rows,).
        level: coverage of the interval, in (0, 1).

    Returns:
        A row for each period, in order: ``period``, ``rows``, ``observed``, ``predicted`` (sum, delay ignored),
        ``expected`` (sum, delay counted), ``ratio`` (observed / expected) and its ends ``low`` and ``high``, exact for
        a Poisson count.

    Raises:
        ValueError: lengths that differ, labels other than 0 and 1, probabilities outside [0, 1], a missing period, a
            period in which nothing can have arrived.
    """
    converted, predicted = validate.binary("converted", converted), validate.probabilities("predicted", predicted)
    matured, periods = validate.probabilities("matured", matured), validate.array("periods", periods)
    validate.same_length(converted=converted, predicted=predicted, matured=matured, periods=periods)
    level = validate.number("level", level, above=0, below=1)
    if pd.isna(periods).any():
        raise ValueError(f"periods is missing at {int(np.argmax(pd.isna(periods)))}: expected one for every row")
    frame = pd.DataFrame(
        {"period": periods, "observed": converted, "predicted": predicted, "expected": predicted * matured}
    )
    grouped = frame.groupby("period")
    table = grouped.sum()
    table.insert(0, "rows", grouped.size())
    table = table.reset_index().astype({"observed": int})
    if (table["expected"] <= 0).any():
        period = table.loc[table["expected"] <= 0, "period"].iloc[0]
        raise ValueError(f"matured leaves nothing to expect in period {period}: expected periods old enough to judge")
    table["ratio"] = table["observed"] / table["expected"]
    # chi2.ppf is not defined at 0 degrees of freedom; the lower end of a count of 0 is 0.
    low = stats.chi2.ppf((1 - level) / 2, 2 * table["observed"].clip(lower=1)) / 2
    table["low"] = np.where(table["observed"] == 0, 0.0, low) / table["expected"]
    table["high"] = stats.chi2.ppf((1 + level) / 2, 2 * table["observed"] + 2) / 2 / table["expected"]
    return table


def _one_sided(steps: NDArray[np.float64]) -> NDArray[np.float64]:
    """max(0, s_{t-1} + step_t) over the last axis: the walk less its lowest point so far, the start included."""
    walk = np.cumsum(steps, axis=-1)
    return walk - np.minimum(np.minimum.accumulate(walk, axis=-1), 0.0)
