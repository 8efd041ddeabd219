"""Negative downsampling and its correction."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from casebook.data import correct_downsampled, downsample_negatives
from casebook.evaluate import calibration_ratio, roc_auc
from casebook.rng import stream


def test_every_positive_and_the_asked_share_of_negatives_are_kept():
    y = (np.arange(50_000) % 20 == 0).astype(int)
    kept = downsample_negatives(y, 0.1, stream("test_sampling", "kept", seed=0))
    assert kept[y == 1].all()
    assert kept[y == 0].mean() == pytest.approx(0.1, abs=0.005)
    again = downsample_negatives(y, 0.1, stream("test_sampling", "kept", seed=0))
    assert (kept == again).all()
    assert downsample_negatives(y, 1, stream("test_sampling", "kept", seed=0)).all()


@given(st.floats(1e-6, 1 - 1e-6), st.floats(0.001, 1))
def test_correction_inverts_sampling(p, rate):
    """Bayes: of the rows kept, p positives and (1 - p) rate negatives."""
    sampled = p / (p + (1 - p) * rate)
    assert correct_downsampled(sampled, rate) == pytest.approx(p, rel=1e-6)


def test_correction_by_hand_and_at_the_ends():
    assert correct_downsampled([0, 0.5, 1], 0.1) == pytest.approx([0, 1 / 11, 1])
    assert correct_downsampled(np.array([[0.2, 0.7]]), 1) == pytest.approx(np.array([[0.2, 0.7]]))


def test_correction_restores_calibration_and_leaves_the_ranking():
    rng = stream("test_sampling", "world", seed=0)
    p = rng.beta(1, 30, 200_000)
    y = (rng.random(200_000) < p).astype(int)
    sampled = p / (p + (1 - p) * 0.1)
    assert calibration_ratio(y, sampled) > 4
    assert calibration_ratio(y, correct_downsampled(sampled, 0.1)) == pytest.approx(1, abs=0.03)
    assert roc_auc(y, correct_downsampled(sampled, 0.1)) == pytest.approx(roc_auc(y, sampled))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: downsample_negatives([0, 1], 0, np.random.default_rng(0)), "rate is 0: expected a finite number"),
        (lambda: downsample_negatives([0, 1], 1.1, np.random.default_rng(0)), r"rate is 1.1.*at most 1"),
        (lambda: downsample_negatives([0, 0.5], 0.1, np.random.default_rng(0)), "y has 0.5 at 1"),
        (lambda: downsample_negatives([0, 1], 0.1, 7), "rng is 7"),
        (lambda: correct_downsampled([0.5, 1.5], 0.1), "p has 1.5 at 1"),
        (lambda: correct_downsampled([0.5], -1), "rate is -1"),
    ],
)
def test_bad_input_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
