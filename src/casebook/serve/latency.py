"""Latency: timed by stage, summarised as a distribution, drawn as a waterfall."""

import contextlib
import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from casebook import validate

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Stages", "percentiles", "waterfall"]


class Stages:
    """Milliseconds spent in each named stage of one piece of work.

    >>> stages = Stages()
    >>> with stages("features"):
    ...     pass
    >>> list(stages.ms)
    ['features']
    """

    def __init__(self) -> None:
        self.ms: dict[str, float] = {}

    @contextlib.contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        """Times the block, an exception in it included; a stage entered twice adds up."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.add(name, time.perf_counter() - start)

    def add(self, name: str, seconds: float) -> None:
        """Adds time that was measured elsewhere."""
        self.ms[name] = self.ms.get(name, 0.0) + 1000 * seconds


def percentiles(
    latencies: ArrayLike, *, at: Sequence[float] = (50, 95, 99), confidence: float = 0.95
) -> "pd.DataFrame":
    """Percentiles of a sample, each with an interval that assumes no shape of the distribution.

    The interval runs between two order statistics, found by the binomial distribution of how many of n values fall
    below the true quantile (Conover, *Practical Nonparametric Statistics*; :func:`scipy.stats.quantile_test`). It
    takes the values as independent. Latencies of neighbouring requests are not, when they waited in the same queue: a
    percentile of a busy service is less certain than this says, and only repeated runs show how much.

    Args:
        latencies: one value per request, in any unit.
        at: percentiles between 0 and 100, exclusive.
        confidence: coverage of the intervals, between 0 and 1, exclusive.

    Returns:
        One row per percentile: ``percentile``, ``value``, ``low``, ``high``, ``n``. A bound is NaN where the sample is
        too small to have one: the 99th percentile has no upper bound below some 370 values.

    Raises:
        ValueError: no values, values that are not finite, a percentile or confidence out of range.
    """
    import pandas as pd
    from scipy.stats import quantile_test

    values = validate.finite("latencies", latencies)
    confidence = validate.number("confidence", confidence, above=0, most=1)
    if confidence == 1 or not at or any(not 0 < q < 100 for q in at):
        raise ValueError(
            f"at is {tuple(at)!r}, confidence {confidence:g}: expected 0 < each < 100 and confidence below 1"
        )
    rows = []
    for q in at:
        value = float(np.percentile(values, q))
        interval = quantile_test(values, q=value, p=q / 100).confidence_interval(confidence)
        rows.append((q, value, float(interval.low), float(interval.high), len(values)))
    return pd.DataFrame(rows, columns=["percentile", "value", "low", "high", "n"])


def waterfall(
    requests: "pd.DataFrame", stages: Sequence[str], *, total: str, at: Sequence[float] = (50, 99), width: float = 2.0
) -> "pd.DataFrame":
    """Where the time of a typical and of a slow request went.

    Percentiles of stages do not add up to the percentile of the total: the slow fetch and the slow score are seldom in
    one request. Means do. So this takes the requests whose total lies near each percentile, and averages their stages.

    Args:
        requests: one row per request, a column of milliseconds for each stage and one for the total.
        stages: the columns, in the order in which the stages happen.
        total: the column of the total, at least the sum of the stages.
        at: percentiles of the total.
        width: the band around each percentile, in percentage points (49 to 51 for the median by default), narrower
            near the ends (98.5 to 99.5 for the 99th).

    Returns:
        Columns ``percentile``, ``stage``, ``start``, ``duration``, ``n`` (requests in the band). The last stage of each
        percentile, ``other``, is what no stage accounts for, so that durations add up to the mean total of the band.

    Raises:
        ValueError: no rows, no such column, missing values, a percentile out of range.
    """
    import pandas as pd

    columns = [*stages, total]
    if missing := [name for name in columns if name not in requests]:
        raise ValueError(f"requests has no {missing[0]!r}: expected the columns {', '.join(columns)}")
    values = {name: validate.finite(f"requests[{name!r}]", requests[name]) for name in columns}
    width = validate.number("width", width, above=0, most=100)
    rows = []
    for q in at:
        validate.number("at", q, above=0, most=100)
        # No wider than what is left above: a band that reached the maximum would not be the 99th percentile.
        half = min(width, q, 100 - q) / 2
        low, high = np.percentile(values[total], [q - half, q + half])
        band = (values[total] >= low) & (values[total] <= high)
        durations = {name: float(values[name][band].mean()) for name in stages}
        durations["other"] = float(values[total][band].mean()) - sum(durations.values())
        start = 0.0
        for name, duration in durations.items():
            rows.append((q, name, start, duration, int(band.sum())))
            start += duration
    return pd.DataFrame(rows, columns=["percentile", "stage", "start", "duration", "n"])
