"""Checks of arguments: what they let through, and that a refusal names argument, value and what was expected."""

import math

import numpy as np
import pandas as pd
import pytest

from casebook import validate


def test_what_is_right_passes_through():
    assert validate.array("x", [["a"], ["b"]], ndim=2).shape == (2, 1)
    assert validate.array("x", [], empty=True).size == 0
    assert validate.finite("x", pd.Series([1, 2], index=[5, 6])).tolist() == [1.0, 2.0]
    assert validate.finite("x", 3, ndim=None).tolist() == 3.0
    assert validate.probabilities("p", [0, 0.5, 1]).dtype == np.float64
    assert validate.binary("y", [True, False]).tolist() == [1.0, 0.0]
    assert validate.same_length(a=np.arange(3), b=np.ones((3, 2))) == 3
    assert validate.number("n", np.float32(0.5), above=0, most=0.5) == 0.5
    assert validate.number("n", np.int64(2), least=2, below=3) == 2.0
    assert validate.probability("p", 1) == 1.0
    assert validate.positive_int("n", np.int32(4)) == 4
    assert validate.positive_int("n", 0, least=0) == 0
    assert validate.choice("c", "a", ("a", "b")) == "a"
    rng = np.random.default_rng(0)
    assert validate.generator("rng", rng) is rng
    validate.known("knobs", {"drift": 1}, ("drift", "delay"))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: validate.array("x", [[1], [1, 2]]), "x is ragged: expected a rectangular array"),
        (lambda: validate.array("x", [[1, 2]]), r"x has shape \(1, 2\): expected 1 dimension$"),
        (lambda: validate.array("x", [1], ndim=2), r"x has shape \(1,\): expected 2 dimensions"),
        (lambda: validate.array("x", []), "x is empty: expected at least one value"),
        (lambda: validate.finite("x", ["a"]), "x has dtype .*: expected numbers"),
        (lambda: validate.finite("x", [1, None]), r"x has nan at 1 \(1 in all\): expected finite numbers"),
        (lambda: validate.finite("x", [[0, 1], [math.inf, math.nan]], ndim=2), r"x has inf at \(1, 0\) \(2 in all\)"),
        (lambda: validate.finite("x", math.nan, ndim=None), r"x has nan at \(\) \(1 in all\)"),
        (lambda: validate.probabilities("p", [0.5, -0.1]), r"p has -0.1 at 1 \(1 in all\): expected probabilities"),
        (lambda: validate.binary("y", [0, 1, 0.5]), "y has 0.5 at 2 .*: expected labels 0 or 1"),
        (
            lambda: validate.same_length(a=np.ones(2), b=np.ones(3)),
            "lengths differ: a has 2, b has 3; expected the same",
        ),
        (lambda: validate.number("n", "1"), "n is '1': expected a finite number"),
        (lambda: validate.number("n", True), "n is True"),
        (lambda: validate.number("n", np.True_), "n is np.True_"),
        (lambda: validate.number("n", [1]), r"n is \[1\]"),
        (lambda: validate.number("n", math.nan), "n is nan"),
        (lambda: validate.number("n", math.inf, above=0), "n is inf: expected a finite number and above 0"),
        (lambda: validate.number("n", 0, above=0, below=1), "n is 0: expected a finite number and above 0 and below 1"),
        (lambda: validate.number("n", 1, above=0, below=1), "n is 1: .*below 1"),
        (lambda: validate.number("n", -1, least=0), "n is -1: expected a finite number and at least 0"),
        (lambda: validate.number("n", 2, most=1), "n is 2: expected a finite number and at most 1"),
        (lambda: validate.probability("p", 1.1), "p is 1.1"),
        (lambda: validate.positive_int("n", 0), "n is 0: expected a whole number of at least 1"),
        (lambda: validate.positive_int("n", 1.0), "n is 1.0"),
        (lambda: validate.positive_int("n", True), "n is True"),
        (lambda: validate.choice("c", "z", ("a", "b")), "c is 'z': expected one of a, b"),
        (lambda: validate.generator("rng", 0), "rng is 0: expected a numpy.random.Generator"),
        (lambda: validate.known("knobs", {"drif": 1}, ("drift", "delay")), "knobs has no 'drif': .*among delay, drift"),
    ],
)
def test_what_is_wrong_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
