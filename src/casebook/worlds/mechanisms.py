"""What happens to observations: examination by position, late labels, drift, values that go missing."""

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from casebook import validate

__all__ = [
    "delay_cdf", "examination", "exponential_delay", "intercept_for", "missing_mask", "random_walk", "sigmoid",
]  # fmt: skip

Mechanism = Literal["mcar", "mar", "mnar"]


def examination(position: ArrayLike, exponent: float) -> NDArray[np.float64]:
    """Probability that a position is looked at: (1 + position)**-exponent, positions from 0; exponent 0 is no bias.

    The position-based click model (Richardson, Dominowska and Ragno 2007): a click needs examination and appeal.

    Raises:
        ValueError: a negative position or exponent.
    """
    validate.number("exponent", exponent, least=0)
    position = validate.finite("position", position, ndim=None, empty=True)
    if (position < 0).any():
        raise ValueError(f"position has {position.min():g}: expected positions from 0")
    return (1.0 + position) ** -exponent


def exponential_delay(mean: ArrayLike, uniform: ArrayLike) -> NDArray[np.float64]:
    """Delays of exponential distribution, from uniform draws by inversion.

    Args:
        mean: mean delay of each event, in days; 0 is none.
        uniform: a draw in [0, 1) for each event.

    Raises:
        ValueError: a negative mean, or draws outside [0, 1].
    """
    mean = validate.finite("mean", mean, ndim=None, empty=True)
    if (mean < 0).any():
        raise ValueError(f"mean has {mean.min():g}: expected delays of at least 0 days")
    return -mean * np.log1p(-validate.probabilities("uniform", uniform, ndim=None, empty=True))


def delay_cdf(elapsed: ArrayLike, mean: ArrayLike) -> NDArray[np.float64]:
    """Probability that an exponential delay of the given mean is over after the elapsed time, both in days.

    Raises:
        ValueError: a negative mean.
    """
    elapsed, mean = np.broadcast_arrays(
        validate.finite("elapsed", elapsed, ndim=None, empty=True),
        validate.finite("mean", mean, ndim=None, empty=True),
    )
    if (mean < 0).any():
        raise ValueError(f"mean has {mean.min():g}: expected delays of at least 0 days")
    waiting = np.maximum(elapsed, 0.0)
    share = -np.expm1(-np.divide(waiting, mean, out=np.full(waiting.shape, np.inf), where=mean > 0))
    return np.where(elapsed < 0, 0.0, share)


def random_walk(steps: int, things: int, scale: float, rng: np.random.Generator) -> NDArray[np.float32]:
    """Drift: independent Gaussian walks from 0, one column a thing, one row a step; ``scale`` is a step's deviation.

    Raises:
        ValueError: sizes below 1 or a negative scale.
    """
    validate.positive_int("steps", steps)
    validate.positive_int("things", things)
    validate.number("scale", scale, least=0)
    validate.generator("rng", rng)
    moves = rng.standard_normal((steps, things)) * scale
    moves[0] = 0
    return np.cumsum(moves, axis=0).astype(np.float32)


def missing_mask(
    mechanism: Mechanism,
    rate: float,
    *,
    values: ArrayLike,
    observed: ArrayLike,
    rng: np.random.Generator,
    slope: float = 1.5,
) -> NDArray[np.bool_]:
    """Which values go missing, under one of the three mechanisms of Rubin (1976).

    Args:
        mechanism: ``mcar``, by chance alone; ``mar``, more often where ``observed`` is high; ``mnar``, more often where
            the value itself is high.
        rate: share that goes missing, in [0, 1).
        values: the values that may go missing.
        observed: an observed trait of the same things, which drives ``mar``.
        rng: source of the draws. The same draws serve every mechanism, so that only the mechanism differs.
        slope: log-odds of being missing per standard deviation of the driver.

    Returns:
        A mask, true where a value is missing; its expected share is ``rate``.

    Raises:
        ValueError: an unknown mechanism, a rate outside [0, 1), lengths that differ.
    """
    validate.choice("mechanism", mechanism, ("mcar", "mar", "mnar"))
    validate.number("rate", rate, least=0, most=0.99)
    values = validate.finite("values", values)
    observed = validate.finite("observed", observed)
    validate.same_length(values=values, observed=observed)
    validate.generator("rng", rng)
    draws = rng.random(len(values))
    if rate == 0:
        return np.zeros(len(values), dtype=bool)
    driver = {"mcar": np.zeros(len(values)), "mar": observed, "mnar": values}[mechanism]
    spread = driver.std()
    score = slope * (driver - driver.mean()) / (spread if spread > 0 else 1.0)
    return draws < sigmoid(score + intercept_for(score, rate))


def sigmoid(x: ArrayLike) -> NDArray[np.floating]:
    """The logistic function, in the precision of its argument."""
    x = np.asarray(x)
    x = x if x.dtype.kind == "f" else x.astype(np.float64)
    return 1.0 / (1.0 + np.exp(-np.clip(x, -30, 30)))


def intercept_for(score: NDArray[np.floating], mean: float, *, weight: NDArray[np.floating] | None = None) -> float:
    """The constant that gives the mean of weight x sigmoid(score + constant) the wanted value, by bisection.

    Raises:
        ValueError: a mean outside (0, 1), or one that the weights cannot reach.
    """
    score = validate.finite("score", score, ndim=None)
    validate.number("mean", mean, above=0, most=0.999)
    share = np.ones(1) if weight is None else validate.finite("weight", weight, ndim=None)
    low, high = -40.0 - float(score.max()), 40.0 - float(score.min())
    if (share * np.ones_like(score)).mean() <= mean:
        raise ValueError(f"mean is {mean:g}: expected less than the mean weight, {share.mean():g}")
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if (share * sigmoid(score + middle)).mean() < mean else (low, middle)
    return (low + high) / 2
