"""Analysis of experiments, against statsmodels, scipy and simulation."""

import math

import numpy as np
import pytest
import statsmodels.api as sm
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.power import NormalIndPower
from statsmodels.stats.weightstats import CompareMeans, DescrStatsW

from casebook.evaluate import (
    analyse_difference,
    analyse_ratio,
    cuped,
    minimum_detectable_effect,
    sample_ratio_check,
    sample_size,
    statistical_power,
)
from casebook.rng import stream


def rng(name, seed=0):
    return stream("test_experiments", name, seed=seed)


def test_sample_size_of_the_textbook():
    # 16 sd^2 / effect^2 is the rule of thumb at 80 % power and 5 %; the exact factor is 15.70.
    assert sample_size(1, sd=10) == math.ceil(2 * (1.959964 + 0.841621) ** 2 * 100)


@given(st.floats(0.01, 1), st.floats(0.5, 0.99), st.floats(0.001, 0.2))
def test_sample_size_and_power_match_statsmodels(effect, power, alpha):
    n = sample_size(effect, sd=2, power=power, alpha=alpha)
    theirs = NormalIndPower().power(effect / 2, n, alpha)
    assert statistical_power(effect, sd=2, n_control=n, n_treatment=n, alpha=alpha) == pytest.approx(theirs)
    assert theirs >= power - 1e-9


def test_power_with_unequal_arms_matches_statsmodels():
    ours = statistical_power(0.1, sd=1.5, n_control=9000, n_treatment=1000)
    assert ours == pytest.approx(NormalIndPower().power(0.1 / 1.5, 9000, 0.05, ratio=1 / 9))


def test_power_of_no_effect_is_the_false_alarm_rate():
    assert statistical_power(0, sd=1, n_control=50, n_treatment=70, alpha=0.03) == pytest.approx(0.03)


@given(st.integers(10, 10**6), st.integers(10, 10**6), st.floats(0.6, 0.99))
def test_minimum_detectable_effect_inverts_power(n_control, n_treatment, power):
    effect = minimum_detectable_effect(sd=3, n_control=n_control, n_treatment=n_treatment, power=power)
    found = statistical_power(effect, sd=3, n_control=n_control, n_treatment=n_treatment)
    assert found == pytest.approx(power, abs=1e-4)


def test_difference_matches_statsmodels_and_scipy():
    control, treatment = rng("control").exponential(1.0, 300), rng("treatment").exponential(1.2, 500)
    result = analyse_difference(control, treatment, level=0.9)
    compare = CompareMeans(DescrStatsW(treatment), DescrStatsW(control))
    assert (result.effect.low, result.effect.high) == pytest.approx(compare.tconfint_diff(alpha=0.1, usevar="unequal"))
    assert result.p_value == pytest.approx(compare.ttest_ind(usevar="unequal")[1])
    assert result.standard_error == pytest.approx(compare.std_meandiff_separatevar)
    assert result.effect.estimate == pytest.approx(result.treatment - result.control)
    assert result.lift.estimate == pytest.approx(result.treatment / result.control - 1)


def test_lift_of_a_control_of_zero_is_not_a_number():
    result = analyse_difference([-1, 1], [0, 2])
    assert math.isnan(result.lift.estimate) and result.effect.estimate == 1


def test_lift_interval_covers_the_truth():
    covered = 0
    for seed in range(200):
        control, treatment = rng("c", seed).exponential(1.0, 200), rng("t", seed).exponential(1.1, 200)
        covered += 0.1 in analyse_difference(control, treatment).lift
    assert 181 <= covered <= 199


def test_ratio_of_constant_denominators_is_the_difference_of_means():
    control, treatment = rng("control").normal(2, 1, 400), rng("treatment").normal(2.1, 1, 400)
    ratio = analyse_ratio(control * 5, np.full(400, 5), treatment * 5, np.full(400, 5))
    plain = analyse_difference(control, treatment)
    assert ratio.effect.estimate == pytest.approx(plain.effect.estimate)
    assert ratio.standard_error == pytest.approx(plain.standard_error)


def users(seed, lift, n=300):
    """Clicks and impressions of users with rates of their own; heavy users click less."""
    draw = rng("users", seed)
    shown = 1 + draw.negative_binomial(1, 0.1, n)
    rate = draw.beta(2, 10, n) * (1 + lift) / (1 + shown / 40)
    return draw.binomial(shown, np.minimum(rate, 1)), shown


def test_delta_method_keeps_its_false_alarm_rate_where_rows_do_not():
    delta = naive = 0
    for seed in range(200):
        clicks_c, shown_c = users(2 * seed, 0)
        clicks_t, shown_t = users(2 * seed + 1, 0)
        delta += analyse_ratio(clicks_c, shown_c, clicks_t, shown_t).p_value < 0.05
        rows = [clicks_c.sum(), clicks_t.sum()], [shown_c.sum(), shown_t.sum()]
        pooled = sum(rows[0]) / sum(rows[1])
        error = math.sqrt(pooled * (1 - pooled) * (1 / rows[1][0] + 1 / rows[1][1]))
        naive += 2 * stats.norm.sf(abs(rows[0][1] / rows[1][1] - rows[0][0] / rows[1][0]) / error) < 0.05
    assert 2 <= delta <= 20
    assert naive > 30


def test_delta_method_matches_the_jackknife():
    clicks, shown = users(7, 0.1, n=1000)
    result = analyse_ratio(clicks[:500], shown[:500], clicks[500:], shown[500:])
    variance = 0.0
    for x, y in ((clicks[:500], shown[:500]), (clicks[500:], shown[500:])):
        left_out = (x.sum() - x) / (y.sum() - y)
        variance += 499 / 500 * ((left_out - left_out.mean()) ** 2).sum()
    assert result.standard_error == pytest.approx(math.sqrt(variance), rel=0.01)


def test_cuped_matches_regression_with_the_covariate():
    draw = rng("cuped")
    before = draw.gamma(2, size=1000)
    after = 0.8 * before + draw.normal(size=1000) + np.repeat([0, 0.3], 500)
    result = cuped(after[:500], after[500:], before[:500], before[500:])
    design = sm.add_constant(np.column_stack([np.repeat([0, 1], 500), before]))
    fit = sm.OLS(after, design).fit()
    assert result.theta == pytest.approx(fit.params[2])
    assert result.difference.effect.estimate == pytest.approx(fit.params[1])
    assert result.difference.standard_error == pytest.approx(fit.bse[1], rel=0.01)


def test_cuped_removes_the_squared_correlation_of_the_variance():
    draw = rng("reduction")
    before = draw.normal(size=20_000)
    after = 0.6 * before + 0.8 * draw.normal(size=20_000)
    result = cuped(after[:10_000], after[10_000:], before[:10_000], before[10_000:])
    assert result.variance_reduction == pytest.approx(0.36, abs=0.02)
    shuffled = draw.permutation(before)
    useless = cuped(after[:10_000], after[10_000:], shuffled[:10_000], shuffled[10_000:])
    assert useless.variance_reduction == pytest.approx(0, abs=0.005)


def test_sample_ratio_check_matches_scipy():
    result = sample_ratio_check([5050, 4950], (0.5, 0.5))
    assert result.p_value == pytest.approx(stats.chisquare([5050, 4950]).pvalue)
    assert result.observed == (0.505, 0.495) and not result.mismatch


def test_sample_ratio_check_sounds_the_alarm_on_a_small_loss_of_many_users():
    assert sample_ratio_check([500_000, 495_000]).mismatch
    assert not sample_ratio_check([500, 495]).mismatch
    assert sample_ratio_check([9000, 1200], (0.9, 0.1)).mismatch
    assert not sample_ratio_check([9000, 1010], (0.9, 0.1)).mismatch


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: sample_size(0, sd=1), "effect is 0"),
        (lambda: sample_size(1, sd=0), "sd is 0: expected a finite number and above 0"),
        (lambda: sample_size(1, sd=1, power=0.01), r"power is 0.01.*above 0.05"),
        (lambda: statistical_power(1, sd=1, n_control=1, n_treatment=2), "n_control is 1"),
        (lambda: minimum_detectable_effect(sd=1, n_control=2, n_treatment=2, alpha=0), "alpha is 0"),
        (lambda: analyse_difference([1], [1, 2]), "control has 1 unit: expected at least 2"),
        (lambda: analyse_difference([1, 1], [2, 2]), "never vary"),
        (lambda: analyse_difference([1, math.nan], [1, 2]), "control has nan at 1"),
        (lambda: analyse_difference([1, 2], [1, 2], level=95), "level is 95"),
        (lambda: analyse_ratio([1, 2], [1, 1], [1, 2], [0, 0]), "treatment_denominator has mean 0"),
        (lambda: analyse_ratio([1, 2], [1], [1, 2], [1, 1]), "control_denominator has 1 unit"),
        (lambda: analyse_ratio([1, 2], [1, 2], [1, 2], [1, 2]), "never vary"),
        (lambda: cuped([1, 2], [1, 3], [1, 1], [1, 1]), "never vary"),
        (lambda: cuped([1, 2], [1, 3], [1, 2, 3], [1, 1]), "lengths differ: control has 2, control_before has 3"),
        (lambda: sample_ratio_check([1, 2], (0.5, 0.6)), "expected shares above 0 that sum to 1"),
        (lambda: sample_ratio_check([0, 0]), "expected units in at least two arms"),
        (lambda: sample_ratio_check([1, -2]), r"counts\[1\] is -2"),
        (lambda: sample_ratio_check([1, 2, 3]), "lengths differ: counts has 3, shares has 2"),
    ],
)
def test_bad_input_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
