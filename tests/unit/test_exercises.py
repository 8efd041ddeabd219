"""The checkers accept a right answer in any style, and tell the usual wrong ones apart."""

import numpy as np
import pytest

from casebook.exercises import ad_click


def recalibrate(p, rate):
    odds = np.divide(p, 1 - p, out=np.full_like(p, np.inf), where=p < 1) * rate
    return np.where(np.isinf(odds), 1.0, odds / (1 + np.where(np.isinf(odds), 0, odds)))


def delayed_loss(p, rate, converted, elapsed):
    total = 0.0
    for a, b, c, d in zip(p, rate, converted, elapsed, strict=True):
        total -= np.log(a * b * np.exp(-b * d)) if c else np.log(1 - a * (1 - np.exp(-b * d)))
    return total / len(p)


def test_right_answers_pass():
    assert ad_click.check_recalibration(recalibrate).passed
    assert ad_click.check_delayed_feedback(delayed_loss).passed
    assert repr(ad_click.check_recalibration(recalibrate)).startswith("passed: ")


@pytest.mark.parametrize(
    ("answer", "hint"),
    [
        (lambda p, rate: p * rate, "shortcut for small p"),
        (lambda p, rate: p, "unchanged"),
        (lambda p, rate: p / (p + (1 - p) * rate), "wrong way"),
        (lambda p, rate: p.mean(), "shape ()"),
        (lambda p, rate: p + 0.1, "is right"),
        (lambda p, rate: 1 / 0, "ZeroDivisionError"),
        (lambda p, rate: p * np.nan, "is right"),
    ],
)
def test_recalibration_names_the_mistake(answer, hint):
    result = ad_click.check_recalibration(answer)
    assert not result.passed
    assert hint in result.feedback


@pytest.mark.parametrize(
    ("answer", "hint"),
    [
        (lambda p, r, c, e: -np.mean(np.where(c == 1, np.log(p), np.log(1 - p))), "never come"),
        (
            lambda p, r, c, e: -np.mean(np.where(c == 1, np.log(p) - r * e, np.log(1 - p + p * np.exp(-r * e)))),
            "factor rate",
        ),
        (lambda *a: -delayed_loss(*a), "the sign"),
        (lambda *a: len(a[0]) * delayed_loss(*a), "the mean"),
    ],
)
def test_delayed_feedback_names_the_mistake(answer, hint):
    result = ad_click.check_delayed_feedback(answer)
    assert not result.passed
    assert hint in result.feedback


def test_an_answer_may_change_its_arguments():
    def careless(p, rate):
        p /= p + (1 - p) / rate
        return p

    assert ad_click.check_recalibration(careless).passed


def test_an_answer_that_is_no_function_is_refused():
    with pytest.raises(ValueError, match="answer is 3: expected a function"):
        ad_click.check_recalibration(3)
