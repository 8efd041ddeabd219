"""The two exercises in code of the ad click case."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from casebook import rng
from casebook.exercises.result import Result, compare

__all__ = ["check_delayed_feedback", "check_recalibration"]

Array = NDArray[np.float64]


def _recalibrated(p: Array, rate: float) -> Array:
    return p / (p + (1 - p) / rate)


def check_recalibration(answer: Callable[..., Any]) -> Result:
    """Checks a function that undoes negative downsampling.

    The answer takes ``p``, the probabilities of a model that was trained on every positive and on a share ``rate`` of
    the negatives, and returns the probabilities for all traffic (He et al. 2014, section 6.3).
    """
    draws = rng.stream("exercises", "recalibration", seed=0)
    cases = [(draws.uniform(0, 1, 50), rate) for rate in (0.1, 0.5, 1.0)] + [(np.array([0.0, 1.0]), 0.01)]
    mistakes = [
        (lambda p, rate: p * rate, "p x rate is the shortcut for small p: it sends 1 to the rate. Correct the odds."),
        (lambda p, rate: p / (p + (1 - p) * rate), "the odds went the wrong way: sampling made clicks look frequent"),
        (lambda p, rate: p, "the probabilities came back unchanged"),
        (lambda p, rate: rate * p / (1 - p), "these are the odds: turn them back into probabilities"),
    ]
    return compare(
        answer, _recalibrated, cases, mistakes, "the odds shrink by the rate, and 0 and 1 stay where they are"
    )


def _delayed_feedback(p: Array, rate: Array, converted: Array, elapsed: Array) -> float:
    seen = np.log(p) + np.log(rate) - rate * elapsed
    unseen = np.log(1 - p + p * np.exp(-rate * elapsed))
    return float(-np.mean(np.where(converted == 1, seen, unseen)))


def _without_density(p: Array, rate: Array, converted: Array, elapsed: Array) -> float:
    seen = np.log(p) - rate * elapsed
    unseen = np.log(1 - p + p * np.exp(-rate * elapsed))
    return float(-np.mean(np.where(converted == 1, seen, unseen)))


def _naive(p: Array, rate: Array, converted: Array, elapsed: Array) -> float:
    return float(-np.mean(np.where(converted == 1, np.log(p), np.log1p(-p))))


def check_delayed_feedback(answer: Callable[..., Any]) -> Result:
    """Checks the loss of a model of delayed conversions (Chapelle 2014).

    The answer takes arrays ``p`` (probability that a click ever converts), ``rate`` (of the exponential delay, a day),
    ``converted`` (1 if the conversion has been seen) and ``elapsed`` (days: the delay where it has been seen, the time
    since the click where it has not), and returns the mean negative log likelihood.
    """
    draws = rng.stream("exercises", "delayed feedback", seed=0)
    cases = []
    for n in (1, 1, 200):
        p, rate = draws.uniform(0.05, 0.9, n), draws.uniform(0.2, 3, n)
        cases.append((p, rate, (draws.random(n) < p).astype(float), draws.exponential(2.0, n)))
    cases[0][2][:] = 1
    cases[1][2][:] = 0
    mistakes = [
        (_naive, "this counts a conversion that is still to come as one that will never come"),
        (_without_density, "a seen delay has a density, rate x exp(-rate x delay): the factor rate is missing"),
        (lambda *a: -_delayed_feedback(*a), "the sign: a loss is the negative of the log likelihood"),
        (lambda *a: len(a[0]) * _delayed_feedback(*a), "this is the sum: the mean was asked for"),
    ]
    return compare(
        answer, _delayed_feedback, cases, mistakes, "an unseen conversion is either none, or one that takes longer"
    )
