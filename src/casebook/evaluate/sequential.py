"""A test that may be looked at every day: always-valid p-values and intervals for a difference of two arms.

A test of fixed length keeps its promise at one moment, chosen beforehand. Who looks daily and stops at the first
significant day has given every day a chance to be wrong. The mixture sequential probability ratio test (Robbins 1970;
Johari, Koomen, Pekelis and Walsh 2022) keeps the promise at all moments together, at the price of wider intervals.
"""

import math

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from casebook import validate

__all__ = ["always_valid", "always_valid_half_width", "first_crossing"]


def always_valid(
    estimates: ArrayLike, standard_errors: ArrayLike, *, scale: float, level: float = 0.95
) -> pd.DataFrame:
    """What is known at each look at a growing experiment, valid whenever one decides to stop.

    The likelihood ratio of "the effect is drawn from N(0, scale^2)" against "the effect is 0", given an estimate d with
    variance V, is sqrt(V / (V + scale^2)) exp(scale^2 d^2 / (2 V (V + scale^2))). Without an effect its mean is 1 at
    every look, so it ever reaches 1 / alpha with a probability of at most alpha (Ville's inequality). This is exact for
    normal estimates whose new data are independent of the old, and holds approximately for means of many units.

    Args:
        estimates: treatment minus control at each look, in order, shape (looks,).
        standard_errors: of the same, above 0, from all units seen so far.
        scale: standard deviation of the effects that one expects, above 0; the effect that one hopes for will do. It
            moves the power and never the validity.
        level: coverage over all looks together, in (0, 1).

    Returns:
        A row for each look: ``estimate``, ``low`` and ``high`` of its interval, and ``p_value``, which never rises from
        one look to the next.

    Raises:
        ValueError: lengths that differ, a standard error or a scale of 0 or less, a level outside (0, 1).
    """
    d, error = _looks(estimates, standard_errors)
    half = always_valid_half_width(error, scale=scale, level=level)
    shrink = scale**2 / (error**2 + scale**2)
    log_ratio = 0.5 * np.log1p(-shrink) + 0.5 * shrink * (d / error) ** 2
    p_value = np.minimum.accumulate(np.exp(-np.maximum(log_ratio, 0)))
    return pd.DataFrame({"estimate": d, "low": d - half, "high": d + half, "p_value": p_value})


def always_valid_half_width(standard_errors: ArrayLike, *, scale: float, level: float = 0.95) -> NDArray[np.float64]:
    """Half the width of the always-valid interval for each standard error; see :func:`always_valid`.

    An effect is called significant at a look if its estimate is farther from 0 than this.

    Args:
        standard_errors: above 0, any shape.
        scale: standard deviation of the effects that one expects, above 0.
        level: coverage over all looks together, in (0, 1).

    Raises:
        ValueError: a standard error or a scale of 0 or less, a level outside (0, 1).
    """
    error = _positive("standard_errors", standard_errors, ndim=None)
    scale = validate.number("scale", scale, above=0)
    alpha = 1 - validate.number("level", level, above=0, below=1)
    odds = (scale / error) ** 2
    return error * np.sqrt((1 + 1 / odds) * (2 * math.log(1 / alpha) + np.log1p(odds)))


def first_crossing(estimates: ArrayLike, limits: ArrayLike) -> NDArray[np.int64]:
    """The first look at which each experiment is called significant, or -1 for never.

    Args:
        estimates: estimate at each look of each experiment, shape (experiments, looks).
        limits: how far from 0 is significant, of a shape that broadcasts to it: 1.96 standard errors for a test that is
            repeated at every look, :func:`always_valid_half_width` for one that may be.

    Raises:
        ValueError: wrong shapes, limits of 0 or less.
    """
    d = validate.finite("estimates", estimates, ndim=2)
    limit = _positive("limits", limits, ndim=None)
    try:
        crossed = np.abs(d) > np.broadcast_to(limit, d.shape)
    except ValueError as error:
        raise ValueError(f"limits has shape {limit.shape}: expected one that broadcasts to {d.shape}") from error
    return np.where(crossed.any(axis=1), crossed.argmax(axis=1), -1)


def _looks(estimates: ArrayLike, standard_errors: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    d, error = validate.finite("estimates", estimates), _positive("standard_errors", standard_errors, ndim=1)
    validate.same_length(estimates=d, standard_errors=error)
    return d, error


def _positive(name: str, values: ArrayLike, *, ndim: int | None) -> NDArray[np.float64]:
    array = validate.finite(name, values, ndim=ndim)
    if (array <= 0).any():
        raise ValueError(f"{name} has {array.min():g}: expected numbers above 0")
    return array
