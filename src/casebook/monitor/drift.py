"""Drift of inputs and scores: today's distribution against a reference that never moves."""

from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from casebook import validate

__all__ = ["KS", "Reference", "ks", "null_rate", "psi", "psi_threshold"]


class KS(NamedTuple):
    """The largest distance between two distribution functions, and the probability of so large a one by chance."""

    statistic: float
    p_value: float


class Reference:
    """A reference sample, binned once: every later sample is counted into the same bins.

    Numbers go into bins of equal reference counts, anything else (or with ``categorical``) into its categories.
    Missing values have a bin of their own, and so have categories that the reference never held, so that a column gone
    null or a new category shows as drift.

    Args:
        values: the reference sample, shape (rows,).
        bins: number of bins for numbers, at least 2; ties may leave fewer.
        categorical: count each distinct value, for codes that are written as numbers.

    Raises:
        ValueError: an empty sample, an infinite number, fewer than two bins.
    """

    def __init__(self, values: ArrayLike, *, bins: int = 10, categorical: bool = False) -> None:
        column = _column("values", values)
        validate.positive_int("bins", bins, least=2)
        numeric = pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column)
        self.categories: pd.Index | None = None
        self.edges = np.empty(0)
        if categorical or not numeric:
            self.categories = pd.Index(column.dropna().astype(object).unique())
        elif len(numbers := validate.finite("values", column.dropna().to_numpy(), empty=True)):
            self.edges = np.unique(np.quantile(numbers, np.linspace(0, 1, bins + 1)[1:-1]))
        self.counts = self._count("values", column)

    def psi(self, actual: ArrayLike) -> float:
        """Population stability index: sum over bins of (a - e) ln(a / e), with shares e expected and a actual.

        Half a row is added to every bin that either sample reaches, so that an empty bin gives a large number and not
        an infinite one. The customary limits of 0.1 and 0.25 ignore the sizes of the samples: see
        :func:`psi_threshold`.

        Args:
            actual: the sample to compare, shape (rows,).

        Raises:
            ValueError: an empty sample, text where the reference held numbers, an infinite number.
        """
        counts = np.stack([self.counts, self._count("actual", _column("actual", actual))])
        smoothed = counts[:, counts.any(axis=0)] + 0.5
        expected, found = smoothed / smoothed.sum(axis=1, keepdims=True)
        return float(((found - expected) * np.log(found / expected)).sum())

    def _count(self, name: str, column: pd.Series) -> NDArray[np.intp]:
        """Rows in each bin; the last is for missing values, and before it, for categories, one for unknown values."""
        present = column.dropna()
        if self.categories is None:
            index = np.searchsorted(self.edges, validate.finite(name, present.to_numpy(), empty=True))
            bins = len(self.edges) + 1
        else:
            index = self.categories.get_indexer(pd.Index(present.astype(object)))
            bins = len(self.categories) + 1
            index = np.where(index < 0, bins - 1, index)
        return np.append(np.bincount(index, minlength=bins), len(column) - len(present))


def psi(expected: ArrayLike, actual: ArrayLike, *, bins: int = 10, categorical: bool = False) -> float:
    """Population stability index of one pair of samples; to compare many with one, keep a :class:`Reference`.

    Args:
        expected: the reference sample, shape (rows,).
        actual: the sample to compare, of any length.
        bins: number of bins for numbers, at least 2.
        categorical: count each distinct value, for codes that are written as numbers.

    Raises:
        ValueError: see :class:`Reference`.
    """
    return Reference(expected, bins=bins, categorical=categorical).psi(actual)


def psi_threshold(n_expected: int, n_actual: int, bins: int, *, false_alarm_rate: float = 0.01) -> float:
    """The PSI that sampling alone exceeds at the given rate, when nothing moved.

    For large samples PSI is Pearson's chi-square statistic over the sample size, so under no drift it is distributed
    as (1 / n_expected + 1 / n_actual) times a chi-square of bins - 1 degrees of freedom. Real traffic varies from day
    to day for more reasons than sampling: this is the least that a threshold should be.

    Args:
        n_expected: rows of the reference sample.
        n_actual: rows of the sample compared.
        bins: number of bins with rows, at least 2.
        false_alarm_rate: probability of exceeding the threshold by chance, in (0, 1).

    Raises:
        ValueError: fewer than one row, fewer than two bins, a rate outside (0, 1).
    """
    n_expected = validate.positive_int("n_expected", n_expected)
    n_actual = validate.positive_int("n_actual", n_actual)
    bins = validate.positive_int("bins", bins, least=2)
    rate = validate.number("false_alarm_rate", false_alarm_rate, above=0, below=1)
    return float(stats.chi2.isf(rate, bins - 1) * (1 / n_expected + 1 / n_actual))


def ks(expected: ArrayLike, actual: ArrayLike) -> KS:
    """Two-sample Kolmogorov-Smirnov test. On large samples its p-value calls differences of no consequence drift.

    Args:
        expected: the reference sample, shape (rows,), finite.
        actual: the sample to compare, of any length, finite.

    Raises:
        ValueError: an empty sample, a number that is not finite.
    """
    result = stats.ks_2samp(validate.finite("expected", expected), validate.finite("actual", actual))
    return KS(float(result.statistic), float(result.pvalue))


def null_rate(values: ArrayLike) -> float:
    """Share of missing values (NaN, None, NaT).

    Args:
        values: a column of any type, shape (rows,).

    Raises:
        ValueError: an empty column, or more than one dimension.
    """
    return float(_column("values", values).isna().mean())


def _column(name: str, values: ArrayLike) -> pd.Series:
    validate.array(name, values)
    return pd.Series(values).reset_index(drop=True)
