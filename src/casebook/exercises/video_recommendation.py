"""The two exercises in code of the video recommendation case."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from casebook import rng
from casebook.exercises.result import Result, compare

__all__ = ["check_candidate_count", "check_expected_minutes"]

Array = NDArray[np.float64]


def _expected_minutes(logit: Array, p_click: Array) -> Array:
    return np.exp(logit) * (1 - p_click)


def check_expected_minutes(answer: Callable[..., Any]) -> Result:
    """Checks a function that turns a weighted logistic regression into expected minutes.

    The answer takes ``logit``, that of a regression in which each click weighs its minutes and each other impression
    one (Covington, Adams and Sargin 2016), and ``p_click``, the probability of a click; it returns the expected minutes
    of an impression. The odds are minutes of clicks over the number of other impressions, so they are the expected
    minutes over 1 - p.
    """
    draws = rng.stream("exercises", "expected minutes", seed=0)
    cases = [(draws.normal(-2, 1.5, 50), draws.uniform(0, 0.6, 50)), (np.array([0.0, 3.0]), np.array([0.0, 0.9]))]
    mistakes = [
        (
            lambda logit, p: np.exp(logit),
            "these are the odds: close for rare clicks, too high where clicks are frequent",
        ),
        (lambda logit, p: 1 / (1 + np.exp(-logit)), "this is the weighted probability: it cannot exceed one minute"),
        (lambda logit, p: np.exp(logit) * p, "the odds already count the clicks: a second p is one too many"),
        (lambda logit, p: np.exp(logit) / (1 - p), "the correction went the wrong way: the odds are too high already"),
    ]
    praise = "the odds times the share that does not click: exact, and next to the odds while clicks are rare"
    return compare(answer, _expected_minutes, cases, mistakes, praise)


def _candidate_count(counts: Array, value: Array, cost: Array, price: float) -> int:
    return int(np.asarray(counts)[np.argmax(np.asarray(value) - price * np.asarray(cost))])


def _most_valuable(counts: Array, value: Array, cost: Array, price: float) -> int:
    return int(counts[np.argmax(value)])


def _best_ratio(counts: Array, value: Array, cost: Array, price: float) -> int:
    return int(counts[np.argmax(value / np.maximum(cost, 1e-9))])


def _first_worse_step(counts: Array, value: Array, cost: Array, price: float) -> int:
    gain = np.diff(value) - price * np.diff(cost)
    worse = np.flatnonzero(gain <= 0)
    return int(counts[worse[0]] if len(worse) else counts[-1])


def check_candidate_count(answer: Callable[..., Any]) -> Result:
    """Checks a function that chooses how many candidates the ranker gets.

    The answer takes ``counts`` (candidates tried), ``value`` (minutes a page at each), ``cost`` (milliseconds of the
    ranker at each) and ``price`` (minutes that a millisecond must earn); it returns the count with the largest value
    less price times cost. Measured curves are noisy, so one flat step is no reason to stop.
    """
    counts = np.array([20, 50, 100, 200, 400, 800])
    value = np.array([14.0, 17.5, 19.6, 19.5, 20.9, 21.0])
    cost = np.array([0.4, 0.8, 1.5, 2.9, 5.7, 11.3])
    cases = [(counts, value, cost, price) for price in (0.0, 0.02, 0.2, 1.0, 20.0)]
    mistakes = [
        (_most_valuable, "that is the most valuable count whatever it costs: subtract the price of its milliseconds"),
        (_best_ratio, "value per millisecond rewards doing little: compare what the last step adds with what it costs"),
        (_first_worse_step, "it stopped at the first flat step of a noisy curve: look at all counts"),
    ]
    praise = "where value less cost is largest; the curve saturates long before the catalogue ends"
    return compare(answer, _candidate_count, cases, mistakes, praise)
