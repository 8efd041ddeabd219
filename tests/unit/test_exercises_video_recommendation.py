"""The exercises of the video recommendation case: right answers pass, known mistakes are named."""

import numpy as np
import pytest

from casebook import rng
from casebook.exercises import video_recommendation as exercises


def test_right_answers_pass():
    assert exercises.check_expected_minutes(lambda logit, p: np.exp(logit) * (1 - p)).passed
    assert exercises.check_candidate_count(lambda n, v, c, price: n[np.argmax(v - price * c)]).passed


@pytest.mark.parametrize(
    ("answer", "hint"),
    [
        (lambda logit, p: np.exp(logit), "these are the odds"),
        (lambda logit, p: 1 / (1 + np.exp(-logit)), "weighted probability"),
        (lambda logit, p: np.exp(logit) * p, "a second p"),
        (lambda logit, p: np.exp(logit) / (1 - p), "wrong way"),
        (lambda logit, p: logit, "case 1"),
        (lambda logit: logit, "TypeError"),
    ],
)
def test_mistakes_with_minutes_are_named(answer, hint):
    result = exercises.check_expected_minutes(answer)
    assert not result.passed
    assert hint in result.feedback


@pytest.mark.parametrize(
    ("answer", "hint"),
    [
        (lambda n, v, c, price: n[np.argmax(v)], "whatever it costs"),
        (lambda n, v, c, price: n[np.argmax(v / c)], "rewards doing little"),
        (lambda n, v, c, price: exercises._first_worse_step(n, v, c, price), "first flat step"),
        (lambda n, v, c, price: 50, "case 1"),
    ],
)
def test_mistakes_with_counts_are_named(answer, hint):
    result = exercises.check_candidate_count(answer)
    assert not result.passed
    assert hint in result.feedback


def test_what_is_no_function_is_refused():
    for check in (exercises.check_expected_minutes, exercises.check_candidate_count):
        with pytest.raises(ValueError, match="answer is 3: expected a function"):
            check(3)


def test_the_solution_is_the_expectation_of_a_weighted_regression():
    """The odds that weighting learns, from events: minutes of clicks over the number of other impressions."""
    draws = rng.stream("tests", "weighted regression", seed=0)
    p, n = 0.3, 400_000
    click = draws.random(n) < p
    minutes = np.where(click, draws.exponential(5.0, n), 0.0)
    logit = np.log(minutes.sum() / (~click).sum())
    assert exercises._expected_minutes(np.array(logit), np.array(p)) == pytest.approx(minutes.mean(), rel=0.01)
