"""Experiments with two arms: how many users are needed, what was found, and whether the split can be trusted.

Every array holds one number for each randomised unit, usually a user.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from casebook import validate
from casebook.evaluate.intervals import Interval

__all__ = [
    "Cuped", "Difference", "SampleRatio", "analyse_difference", "analyse_ratio", "cuped", "minimum_detectable_effect",
    "sample_ratio_check", "sample_size", "statistical_power",
]  # fmt: skip


@dataclass(frozen=True)
class Difference:
    """Treatment minus control: the value of each arm, the effect, and the effect relative to control (the lift)."""

    control: float
    treatment: float
    effect: Interval
    lift: Interval
    standard_error: float
    p_value: float


@dataclass(frozen=True)
class Cuped:
    """A difference adjusted by a covariate from before the experiment, and what the adjustment bought."""

    difference: Difference
    theta: float
    variance_reduction: float


@dataclass(frozen=True)
class SampleRatio:
    """The arms' shares of the units, the probability of so large a mismatch by chance, and the verdict."""

    observed: tuple[float, ...]
    expected: tuple[float, ...]
    p_value: float
    mismatch: bool


def sample_size(effect: float, *, sd: float, power: float = 0.8, alpha: float = 0.05) -> int:
    """Units in each of two equal arms that detect an effect on a mean with the given power.

    n = 2 (z_{1 - alpha/2} + z_{power})^2 sd^2 / effect^2, the normal approximation of a two-sided test.

    Args:
        effect: absolute effect to detect, other than 0, in the metric's unit.
        sd: standard deviation between units; of a rate p counted once a unit, sqrt(p (1 - p)).
        power: probability of detecting it, in (alpha, 1).
        alpha: probability of a false alarm, in (0, 1).

    Returns:
        Units an arm, rounded up.

    Raises:
        ValueError: an effect of 0, an sd of 0 or less, a probability outside its range.
    """
    effect = validate.number("effect", effect)
    sd = validate.number("sd", sd, above=0)
    if effect == 0:
        raise ValueError("effect is 0: expected a number other than 0, for no sample detects nothing")
    return math.ceil(2 * (_z_sum(power, alpha) * sd / effect) ** 2)


def minimum_detectable_effect(
    *, sd: float, n_control: int, n_treatment: int, power: float = 0.8, alpha: float = 0.05
) -> float:
    """Smallest absolute effect on a mean that a two-sided test detects with the given power.

    Args:
        sd: standard deviation between units.
        n_control: units in control, at least 2.
        n_treatment: units in treatment, at least 2.
        power: probability of detecting it, in (alpha, 1).
        alpha: probability of a false alarm, in (0, 1).

    Raises:
        ValueError: an sd of 0 or less, too few units, a probability outside its range.
    """
    return _z_sum(power, alpha) * _standard_error(sd, n_control, n_treatment)


def statistical_power(effect: float, *, sd: float, n_control: int, n_treatment: int, alpha: float = 0.05) -> float:
    """Probability that a two-sided test of the difference of two means detects a true effect.

    Args:
        effect: true absolute effect, in the metric's unit.
        sd: standard deviation between units.
        n_control: units in control, at least 2.
        n_treatment: units in treatment, at least 2.
        alpha: probability of a false alarm, in (0, 1).

    Raises:
        ValueError: an sd of 0 or less, too few units, an alpha outside (0, 1).
    """
    shift = validate.number("effect", effect) / _standard_error(sd, n_control, n_treatment)
    z = stats.norm.isf(validate.number("alpha", alpha, above=0, below=1) / 2)
    return float(stats.norm.sf(z - shift) + stats.norm.cdf(-z - shift))


def analyse_difference(control: ArrayLike, treatment: ArrayLike, *, level: float = 0.95) -> Difference:
    """Difference of two means by Welch's test, which needs no equal variances.

    Args:
        control: metric of each unit in control, shape (n_control,), at least 2.
        treatment: metric of each unit in treatment, shape (n_treatment,), at least 2.
        level: coverage of the intervals, in (0, 1).

    Raises:
        ValueError: fewer than two units, values that are not finite or never vary.
    """
    control, treatment = _arm("control", control), _arm("treatment", treatment)
    validate.number("level", level, above=0, below=1)
    variances = (float(np.var(control, ddof=1) / len(control)), float(np.var(treatment, ddof=1) / len(treatment)))
    if sum(variances) == 0:
        raise ValueError("control and treatment never vary: expected values that differ between units")
    test = stats.ttest_ind(treatment, control, equal_var=False)
    ends = test.confidence_interval(level)
    means = float(control.mean()), float(treatment.mean())
    effect = Interval(means[1] - means[0], float(ends.low), float(ends.high), level)
    return Difference(*means, effect, _lift(means, variances, level), math.sqrt(sum(variances)), float(test.pvalue))


def analyse_ratio(
    control_numerator: ArrayLike,
    control_denominator: ArrayLike,
    treatment_numerator: ArrayLike,
    treatment_denominator: ArrayLike,
    *,
    level: float = 0.95,
) -> Difference:
    """Difference of two ratios of sums, such as clicks over impressions of users, by the delta method.

    Users were randomised, so impressions are not independent; the variance of a ratio R of means of x and y over n
    users is that of x - R y, divided by n mean(y)^2 (Deng, Knoblich and Lu 2018). If the treatment moves the
    denominator too, the ratio may rise while both sums fall: report the sums a user beside it.

    Args:
        control_numerator: sum of each unit in control, shape (n_control,), at least 2.
        control_denominator: the same, with a positive mean.
        treatment_numerator: sum of each unit in treatment, shape (n_treatment,), at least 2.
        treatment_denominator: the same, with a positive mean.
        level: coverage of the intervals, in (0, 1).

    Raises:
        ValueError: fewer than two units, lengths that differ, a denominator whose mean is not positive, ratios that
            never vary.
    """
    validate.number("level", level, above=0, below=1)
    ratio_control, variance_control = _ratio("control", control_numerator, control_denominator)
    ratio_treatment, variance_treatment = _ratio("treatment", treatment_numerator, treatment_denominator)
    ratios, variances = (ratio_control, ratio_treatment), (variance_control, variance_treatment)
    if sum(variances) == 0:
        raise ValueError("control and treatment never vary: expected ratios that differ between units")
    error = math.sqrt(sum(variances))
    effect = _normal(ratio_treatment - ratio_control, error, level)
    p_value = 2 * float(stats.norm.sf(abs(effect.estimate) / error))
    return Difference(*ratios, effect, _lift(ratios, variances, level), error, p_value)


def cuped(
    control: ArrayLike,
    treatment: ArrayLike,
    control_before: ArrayLike,
    treatment_before: ArrayLike,
    *,
    level: float = 0.95,
) -> Cuped:
    """Difference of two means, adjusted by the same units' behaviour before the experiment (Deng et al. 2013).

    The metric Y becomes Y - theta (X - mean X), where X was measured before the arms differed and theta = cov(Y, X) /
    var(X), taken within arms. The adjusted difference has the same expectation and less variance.

    Args:
        control: metric of each unit in control, shape (n_control,), at least 2.
        treatment: metric of each unit in treatment, shape (n_treatment,), at least 2.
        control_before: covariate of the units in control, in the same order.
        treatment_before: covariate of the units in treatment, in the same order.
        level: coverage of the intervals, in (0, 1).

    Returns:
        The adjusted difference, theta, and the share of the difference's variance that the adjustment removed.

    Raises:
        ValueError: as :func:`analyse_difference`; lengths that differ; a covariate that never varies.
    """
    control, treatment = _arm("control", control), _arm("treatment", treatment)
    before = _arm("control_before", control_before), _arm("treatment_before", treatment_before)
    validate.same_length(control=control, control_before=before[0])
    validate.same_length(treatment=treatment, treatment_before=before[1])
    centred_x = np.concatenate([x - x.mean() for x in before])
    centred_y = np.concatenate([y - y.mean() for y in (control, treatment)])
    if not centred_x.any():
        raise ValueError("control_before and treatment_before never vary: expected values that differ between units")
    theta = float(centred_x @ centred_y / (centred_x @ centred_x))
    centre = np.concatenate(before).mean()
    raw = analyse_difference(control, treatment, level=level)
    adjusted = analyse_difference(
        control - theta * (before[0] - centre), treatment - theta * (before[1] - centre), level=level
    )
    return Cuped(adjusted, theta, 1 - (adjusted.standard_error / raw.standard_error) ** 2)


def sample_ratio_check(
    counts: Sequence[int], shares: Sequence[float] = (0.5, 0.5), *, threshold: float = 0.001
) -> SampleRatio:
    """Whether the arms got the shares of the units that were asked for, by a chi-square test.

    A mismatch means that units were lost or added unevenly; no result of the experiment can be trusted until it is
    explained (Fabijan et al. 2019). The threshold is strict because the check runs on every experiment.

    Args:
        counts: units found in each arm, at least two arms.
        shares: share asked for in each arm, above 0, summing to 1.
        threshold: the p-value below which the check raises its alarm, in (0, 1).

    Raises:
        ValueError: counts that are not whole numbers of at least 0 or are all 0, shares that do not sum to 1.
    """
    observed = np.array([validate.positive_int(f"counts[{i}]", count, least=0) for i, count in enumerate(counts)])
    expected = validate.probabilities("shares", shares)
    validate.same_length(counts=observed, shares=expected)
    validate.number("threshold", threshold, above=0, below=1)
    if len(observed) < 2 or observed.sum() == 0:
        raise ValueError(f"counts is {list(counts)}: expected units in at least two arms")
    if (expected == 0).any() or not math.isclose(expected.sum(), 1, abs_tol=1e-9):
        raise ValueError(f"shares is {list(shares)}: expected shares above 0 that sum to 1")
    p_value = float(stats.chisquare(observed, expected * observed.sum()).pvalue)
    found = tuple((observed / observed.sum()).tolist())
    return SampleRatio(found, tuple(expected.tolist()), p_value, p_value < threshold)


def _arm(name: str, values: ArrayLike) -> NDArray[np.float64]:
    array = validate.finite(name, values)
    if len(array) < 2:
        raise ValueError(f"{name} has {len(array)} unit: expected at least 2")
    return array


def _z_sum(power: float, alpha: float) -> float:
    alpha = validate.number("alpha", alpha, above=0, below=1)
    power = validate.number("power", power, above=alpha, below=1)
    return float(stats.norm.isf(alpha / 2) + stats.norm.ppf(power))


def _standard_error(sd: float, n_control: int, n_treatment: int) -> float:
    sd = validate.number("sd", sd, above=0)
    n_control = validate.positive_int("n_control", n_control, least=2)
    n_treatment = validate.positive_int("n_treatment", n_treatment, least=2)
    return sd * math.sqrt(1 / n_control + 1 / n_treatment)


def _ratio(arm: str, numerator: ArrayLike, denominator: ArrayLike) -> tuple[float, float]:
    """The ratio of an arm's sums and the variance of that ratio."""
    x, y = _arm(f"{arm}_numerator", numerator), _arm(f"{arm}_denominator", denominator)
    n = validate.same_length(**{f"{arm}_numerator": x, f"{arm}_denominator": y})
    if y.mean() <= 0:
        raise ValueError(f"{arm}_denominator has mean {y.mean():g}: expected a positive mean")
    ratio = float(x.mean() / y.mean())
    return ratio, float(np.var(x - ratio * y, ddof=1) / (n * y.mean() ** 2))


def _normal(estimate: float, error: float, level: float) -> Interval:
    half = float(stats.norm.ppf(0.5 + level / 2)) * error
    return Interval(estimate, estimate - half, estimate + half, level)


def _lift(values: tuple[float, float], variances: tuple[float, float], level: float) -> Interval:
    """Treatment / control - 1, by the delta method; not a number where control is 0."""
    control, treatment = values
    if control == 0:
        return Interval(math.nan, math.nan, math.nan, level)
    ratio = treatment / control
    error = math.sqrt(variances[1] + ratio**2 * variances[0]) / abs(control)
    return _normal(ratio - 1, error, level)
