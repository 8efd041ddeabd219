"""Metrics of predicted probabilities: how well they rank, how true they are, and what share of the possible they reach.

Labels are 0 or 1, predictions are probabilities, one of each a row.
"""

from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from casebook import validate
from casebook.evaluate.intervals import unit_codes, wilson_interval

__all__ = [
    "GroupedAUC", "brier_score", "calibration_by_slice", "calibration_ratio", "expected_calibration_error",
    "grouped_auc", "log_loss", "normalized_entropy", "pointwise_log_loss", "reliability_curve", "roc_auc",
    "share_of_gain",
]  # fmt: skip

Strategy = Literal["quantile", "uniform"]


class GroupedAUC(NamedTuple):
    """The mean AUC within groups, and the share of rows in groups where it is defined."""

    value: float
    coverage: float


def pointwise_log_loss(y: ArrayLike, p: ArrayLike) -> NDArray[np.float64]:
    """Log loss of each row in nats: -log p of what happened.

    Predictions are clipped to within 2.2e-16 of 0 and 1, as scikit-learn does: a certain prediction that is wrong costs
    36 nats and not infinity.

    Args:
        y: labels, shape (rows,).
        p: predicted probabilities, shape (rows,).

    Raises:
        ValueError: wrong shapes, lengths that differ, labels other than 0 and 1, probabilities outside [0, 1].
    """
    y, p = _checked(y, p)
    epsilon = np.finfo(np.float64).eps
    p = np.clip(p, epsilon, 1 - epsilon)
    return -np.where(y == 1, np.log(p), np.log1p(-p))


def log_loss(y: ArrayLike, p: ArrayLike) -> float:
    """Mean log loss in nats; arguments and errors as :func:`pointwise_log_loss`."""
    return float(pointwise_log_loss(y, p).mean())


def normalized_entropy(y: ArrayLike, p: ArrayLike, base_rate: float | None = None) -> float:
    """Log loss as a share of that of a constant: 1 is no better than the base rate, lower is better.

    The denominator is the log loss of predicting the base rate on every row, so that a data set with rare clicks does
    not look easy (He et al. 2014). One minus it is the share of the label's entropy that was explained.

    Args:
        y: labels, shape (rows,).
        p: predicted probabilities, shape (rows,).
        base_rate: the constant, in (0, 1); by default the mean label of these rows. Give the training set's rate to
            compare with the constant that was known when the model was trained.

    Raises:
        ValueError: as :func:`pointwise_log_loss`; labels all of one class and no base rate.
    """
    model = log_loss(y, p)
    positives = float(np.mean(np.asarray(y, dtype=np.float64)))
    if base_rate is None:
        if positives in (0.0, 1.0):
            raise ValueError(f"y is {positives:g} everywhere: expected both classes, or a base_rate")
        base_rate = positives
    base_rate = validate.number("base_rate", base_rate, above=0, below=1)
    return model / -(positives * np.log(base_rate) + (1 - positives) * np.log1p(-base_rate))


def brier_score(y: ArrayLike, p: ArrayLike) -> float:
    """Mean squared error of the probabilities (Brier 1950); arguments and errors as :func:`pointwise_log_loss`."""
    y, p = _checked(y, p)
    return float(np.mean((p - y) ** 2))


def calibration_ratio(y: ArrayLike, p: ArrayLike) -> float:
    """Expected over observed positives, sum(p) / sum(y): 1.1 is ten per cent too optimistic (He et al. 2014).

    Args:
        y: labels, shape (rows,).
        p: predicted probabilities, shape (rows,).

    Raises:
        ValueError: as :func:`pointwise_log_loss`; no positive label.
    """
    y, p = _checked(y, p)
    if not y.any():
        raise ValueError("y is 0 everywhere: expected at least one positive")
    return float(p.sum() / y.sum())


def reliability_curve(
    y: ArrayLike, p: ArrayLike, *, bins: int = 20, strategy: Strategy = "quantile", level: float = 0.95
) -> pd.DataFrame:
    """What was predicted against what happened, by bin of the prediction.

    Args:
        y: labels, shape (rows,).
        p: predicted probabilities, shape (rows,).
        bins: number of bins; those that no row falls into are left out.
        strategy: ``"quantile"`` for bins of equal counts, ``"uniform"`` for bins of equal width.
        level: coverage of the interval, in (0, 1).

    Returns:
        A row for each bin, in order of the prediction: ``predicted`` (mean), ``observed`` (rate), ``count``, and the
        ends ``low`` and ``high`` of the Wilson interval of the observed rate.

    Raises:
        ValueError: as :func:`pointwise_log_loss`; an unknown strategy, fewer than one bin.
    """
    y, p = _checked(y, p)
    count, predicted, positives = _binned(y, p, bins, strategy)
    low, high = wilson_interval(positives, count, level=level)
    curve = {"predicted": predicted / count, "observed": positives / count, "count": count, "low": low, "high": high}
    return pd.DataFrame(curve).astype({"count": int})


def expected_calibration_error(y: ArrayLike, p: ArrayLike, *, bins: int = 20, strategy: Strategy = "quantile") -> float:
    """Mean distance between predicted and observed rate over bins, weighted by count (Naeini, Cooper, Hauskrecht 2015).

    Chance alone keeps it above 0, the more so the fewer the rows in a bin: compare models on the same rows and bins.

    Args:
        y: labels, shape (rows,).
        p: predicted probabilities, shape (rows,).
        bins: number of bins.
        strategy: ``"quantile"`` for bins of equal counts, ``"uniform"`` for bins of equal width.

    Raises:
        ValueError: as :func:`reliability_curve`.
    """
    y, p = _checked(y, p)
    _, predicted, positives = _binned(y, p, bins, strategy)
    return float(np.abs(predicted - positives).sum() / len(y))


def calibration_by_slice(y: ArrayLike, p: ArrayLike, slices: ArrayLike, *, level: float = 0.95) -> pd.DataFrame:
    """The calibration ratio of each slice: a model can be right on average and wrong for every advertiser.

    Args:
        y: labels, shape (rows,).
        p: predicted probabilities, shape (rows,).
        slices: slice of each row, shape (rows,); missing values are a slice of their own.
        level: coverage of the interval, in (0, 1).

    Returns:
        A row for each slice, in order: ``slice``, ``n``, ``positives``, ``predicted`` (mean), ``observed`` (rate),
        ``ratio`` (predicted / observed, infinite without positives), and its ends ``low`` and ``high``: the mean
        prediction over the ends of the observed rate's Wilson interval.

    Raises:
        ValueError: as :func:`pointwise_log_loss`.
    """
    y, p = _checked(y, p)
    # A Series keeps a categorical's order and its missing values, which an array would lose.
    column = pd.Series(slices).reset_index(drop=True)
    validate.same_length(y=y, slices=column.to_numpy())
    frame = pd.DataFrame({"slice": column, "y": y, "p": p})
    grouped = frame.groupby("slice", dropna=False, observed=True)
    table = grouped.agg(n=("y", "size"), positives=("y", "sum"), predicted=("p", "mean"), observed=("y", "mean"))
    table = table.reset_index().astype({"positives": int})
    rate_low, rate_high = wilson_interval(table["positives"], table["n"], level=level)
    with np.errstate(divide="ignore"):
        for name, rate in (("ratio", table["observed"].to_numpy()), ("low", rate_high), ("high", rate_low)):
            table[name] = np.divide(table["predicted"].to_numpy(), rate)
    return table


def roc_auc(y: ArrayLike, score: ArrayLike) -> float:
    """Probability that a random positive scores above a random negative, ties counting half.

    Args:
        y: labels, shape (rows,).
        score: any finite score, shape (rows,).

    Raises:
        ValueError: wrong shapes, lengths that differ, a score that is not finite, labels all of one class.
    """
    y, score = validate.binary("y", y), validate.finite("score", score)
    validate.same_length(y=y, score=score)
    if y.min() == y.max():
        raise ValueError(f"y is {y[0]:g} everywhere: expected both classes")
    from sklearn.metrics import roc_auc_score

    return float(roc_auc_score(y, score))


def grouped_auc(y: ArrayLike, score: ArrayLike, groups: ArrayLike) -> GroupedAUC:
    """Mean of the AUC within each group, weighted by its rows, over the groups that have both classes.

    The auction ranks ads for one user, so order between users is worth nothing: a model that knows only who clicks a
    lot has a fine AUC and a grouped AUC of one half.

    Args:
        y: labels, shape (rows,).
        score: any finite score, shape (rows,).
        groups: group of each row (user, request), shape (rows,).

    Returns:
        The mean, and the share of rows in the groups that it covers.

    Raises:
        ValueError: as :func:`roc_auc`; a missing group; no group with both classes.
    """
    y, score = validate.binary("y", y), validate.finite("score", score)
    codes, groups_n = unit_codes("groups", groups)
    validate.same_length(y=y, score=score, groups=codes)
    order = np.lexsort((score, codes))
    codes, score, y = codes[order], score[order], y[order]
    # Mid-ranks: rows that tie within a group share the mean of their positions.
    starts = np.flatnonzero(np.r_[True, (np.diff(codes) != 0) | (np.diff(score) != 0)])
    lengths = np.diff(np.r_[starts, len(y)])
    position = np.repeat(starts + (lengths - 1) / 2, lengths)
    n = np.bincount(codes, minlength=groups_n)
    rank = position - np.repeat(np.cumsum(n) - n, n) + 1
    positives = np.bincount(codes, weights=y, minlength=groups_n)
    pairs = positives * (n - positives)
    if not pairs.any():
        raise ValueError("groups has none with both classes: expected at least one")
    # Mann and Whitney: the positives' ranks, less the least that they could sum to, count the pairs in right order.
    won = np.bincount(codes, weights=y * rank, minlength=groups_n) - positives * (positives + 1) / 2
    both = pairs > 0
    value = np.average(won[both] / pairs[both], weights=n[both])
    return GroupedAUC(float(value), float(n[both].sum() / len(y)))


def share_of_gain(loss_model: float, loss_baseline: float, loss_oracle: float) -> float:
    """How much of the way from the baseline to the oracle a model went: 0 is the baseline, 1 the best possible.

    Args:
        loss_model: the model's loss.
        loss_baseline: loss of the trivial predictor.
        loss_oracle: loss of the predictor that knows the truth, below the baseline's.

    Raises:
        ValueError: a loss that is not finite, or an oracle no better than the baseline.
    """
    model = validate.number("loss_model", loss_model)
    baseline = validate.number("loss_baseline", loss_baseline)
    oracle = validate.number("loss_oracle", loss_oracle, below=baseline)
    return (baseline - model) / (baseline - oracle)


def _checked(y: ArrayLike, p: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    y, p = validate.binary("y", y), validate.probabilities("p", p)
    validate.same_length(y=y, p=p)
    return y, p


def _binned(
    y: NDArray[np.float64], p: NDArray[np.float64], bins: int, strategy: Strategy
) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Rows, sum of predictions and positives of each bin that has rows."""
    inner = np.linspace(0, 1, validate.positive_int("bins", bins) + 1)[1:-1]
    validate.choice("strategy", strategy, ("quantile", "uniform"))
    edges = np.quantile(p, inner) if strategy == "quantile" else inner
    index = np.searchsorted(edges, p)
    count, predicted, positives = (np.bincount(index, weights=w, minlength=bins) for w in (np.ones(len(p)), p, y))
    used = count > 0
    return count[used], predicted[used], positives[used]
