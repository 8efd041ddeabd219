"""The auction: against small cases done by hand, an auction written as a loop, and what second prices promise."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from casebook.worlds.auction import Allocation, second_price


def auction(pctr, bid, per_click=None, eligible=None, **more) -> Allocation:
    """Auctions whose candidates all pay per click and may all win, unless said otherwise."""
    pctr, bid = np.atleast_2d(pctr), np.atleast_2d(bid)
    flags = (np.ones(pctr.shape, bool) if f is None else np.atleast_2d(f) for f in (per_click, eligible))
    return second_price(pctr, bid, *flags, **more)


# A request: worth by click .05 x 2 = .10 and .10 x .8 = .08; by impression .06.
PCTR, BID, PER_CLICK = [0.05, 0.10, 0.20], [2.0, 0.8, 0.06], [True, True, False]


@pytest.mark.parametrize(
    ("eligible", "winner", "price"),
    [
        ([1, 1, 1], 0, 0.08 / 0.05),  # the runner-up's .08, spread over the winner's clicks
        ([0, 1, 1], 1, 0.06 / 0.10),
        ([1, 0, 1], 0, 0.06 / 0.05),
        ([0, 0, 1], 2, 0.0),  # alone: no price to beat
        ([0, 0, 0], -1, 0.0),
    ],
)
def test_by_hand(eligible, winner, price):
    result = auction(PCTR, BID, PER_CLICK, np.array(eligible, bool))
    assert result.winner.tolist() == [winner]
    assert result.price[0] == pytest.approx(price)
    assert result.propensity.tolist() == [float(winner >= 0)]


def test_by_hand_per_impression():
    result = auction(PCTR, [2.0, 0.8, 0.15], PER_CLICK)
    assert result.winner.tolist() == [2]
    assert result.price[0] == pytest.approx(0.10), "the runner-up's worth of an impression, whatever the winner's pCTR"


def test_scale_moves_money_only_where_bids_are_mixed():
    """Halving every pCTR: among per-click bids nothing changes; against per-impression bids the wrong side wins."""
    pctr, bid = np.array([0.10, 0.05]), np.array([1.0, 1.2])
    whole, half = auction(pctr, bid), auction(pctr / 2, bid)
    assert whole.winner == half.winner == [0] and whole.price[0] == half.price[0] == pytest.approx(0.6)

    mixed = [True, False]
    whole, half = (auction(p, [1.0, 0.06], mixed) for p in (pctr, pctr / 2))
    assert (whole.winner[0], half.winner[0]) == (0, 1)
    revenue = 0.10 * whole.price[0], half.price[0]
    assert revenue == (pytest.approx(0.06), pytest.approx(0.05))


def test_more_bids_per_impression_make_scale_matter_more():
    """The share of requests whose winner changes when every pCTR is halved grows with the share that pays so."""
    rng = np.random.default_rng(0)
    pctr, value = rng.uniform(0.01, 0.2, (2000, 8)), rng.lognormal(size=(2000, 8))
    draw = rng.random((2000, 8))
    changed = []
    for share in (0.0, 0.1, 0.4):
        per_click = draw >= share
        bid = np.where(per_click, value, value * pctr)
        whole, half = (auction(p, bid, per_click).winner for p in (pctr, pctr / 2))
        changed.append((whole != half).mean())
    assert changed[0] == 0 < changed[1] < changed[2]


@st.composite
def cases(draw, *, only_per_click=False):
    n, k = draw(st.integers(1, 5)), draw(st.integers(1, 6))

    def grid(element):
        return np.array(draw(st.lists(st.lists(element, min_size=k, max_size=k), min_size=n, max_size=n)))

    return (
        grid(st.sampled_from([0.0, 1e-12, 1e-6, 0.01, 0.03, 0.1, 0.35, 1.0])),
        grid(st.sampled_from([0.0, 1e-9, 0.05, 0.2, 0.7, 1.0, 3.5, 40.0])),
        grid(st.just(True) if only_per_click else st.booleans()),
        grid(st.booleans()),
    )


def one_by_one(pctr, bid, per_click, eligible):
    """The same auction as a loop."""
    winners, prices = [], []
    for p, b, clicks, may in zip(pctr, bid, per_click, eligible, strict=True):
        worth = [(p[i] * b[i] if clicks[i] else b[i], -i) for i in range(len(p)) if may[i]]
        if not worth:
            winners.append(-1), prices.append(0.0)
            continue
        best, *others = sorted(worth, reverse=True)
        winner, second = -best[1], others[0][0] if others else 0.0
        owed = second / max(p[winner], 1e-9) if clicks[winner] else second
        winners.append(winner), prices.append(min(owed, b[winner]))
    return winners, prices


@given(cases())
def test_against_a_loop(case):
    result = second_price(*case)
    winners, prices = one_by_one(*case)
    assert result.winner.tolist() == winners
    np.testing.assert_allclose(result.price, prices, rtol=1e-12)


@given(cases(), st.floats(0, 1), st.integers(0, 10_000))
def test_invariants(case, explore, seed):
    pctr, bid, per_click, eligible = case
    uniform = np.random.default_rng(seed).random((len(pctr), 2))
    result = second_price(pctr, bid, per_click, eligible, explore=explore, uniform=uniform)
    rows = np.arange(len(pctr))
    shown = result.winner >= 0
    assert (shown == eligible.any(axis=1)).all()
    assert eligible[rows, result.winner][shown].all()
    assert (result.price >= 0).all() and (result.price <= bid[rows, result.winner])[shown].all()
    assert (result.price[~shown] == 0).all() and (result.propensity[~shown] == 0).all()
    assert ((result.propensity >= 0) & (result.propensity <= 1)).all()
    assert (result.propensity[shown] > 0).all(), "nothing is shown that could not have been"


@given(cases(only_per_click=True), st.integers(1, 20))
def test_scale_cancels_among_bids_per_click(case, halvings):
    pctr, bid, per_click, eligible = case
    pctr = np.where(pctr < 1e-3, 0.02, pctr)
    whole = second_price(pctr, bid, per_click, eligible)
    scaled = second_price(pctr * 0.5**halvings, bid, per_click, eligible)  # exact in binary, so ties stay ties
    assert (whole.winner == scaled.winner).all()
    np.testing.assert_array_equal(whole.price, scaled.price)


@given(cases(), st.floats(1.0, 100.0))
def test_a_winner_cannot_pay_less_by_bidding_more(case, factor):
    pctr, bid, per_click, eligible = case
    before = second_price(pctr, bid, per_click, eligible)
    rows, winner = np.arange(len(pctr)), np.maximum(before.winner, 0)
    raised = bid.copy()
    raised[rows, winner] *= factor
    after = second_price(pctr, raised, per_click, eligible)
    assert (after.winner == before.winner).all()
    # What binds is the runner-up, or the bid itself where the pCTR is too small to reach the runner-up's worth.
    binding = before.price < bid[rows, winner]
    np.testing.assert_array_equal(after.price[binding], before.price[binding])


def test_exploring_shows_each_candidate_as_often_as_its_propensity_says():
    steps, explore = 200, 0.3
    grid = (np.arange(steps) + 0.5) / steps
    uniform = np.stack([axis.ravel() for axis in np.meshgrid(grid, grid)], axis=1)
    n = len(uniform)
    tile = [np.tile(row, (n, 1)) for row in ([0.1, 0.4, 0.2, 0.9], [1.0, 1.0, 1.0, 1.0], [True] * 4)]
    eligible = np.tile([True, True, True, False], (n, 1))
    result = second_price(*tile, eligible, explore=explore, uniform=uniform)
    shares = np.bincount(result.winner, minlength=4) / n
    expected = [0.1, 0.8, 0.1, 0.0]
    np.testing.assert_allclose(shares, expected, atol=0.002)
    np.testing.assert_allclose(result.propensity, np.array(expected)[result.winner])
    assert (result.price[result.winner != 1] == 0).all(), "shown by chance, it pays nothing"
    np.testing.assert_allclose(result.price[result.winner == 1], 0.2 / 0.4)


def test_rounding_takes_no_price_above_the_bid():
    pctr, bid = np.random.default_rng(2).random((2, 5_000))
    assert (pctr * bid / pctr > bid).any(), "the case this test is about"
    tied = auction(np.stack([pctr, pctr], axis=1), np.stack([bid, bid], axis=1))
    assert (tied.price <= bid).all()


def test_requests_do_not_touch_each_other():
    rng = np.random.default_rng(1)
    pctr, bid = rng.random((50, 5)), rng.random((50, 5))
    together = auction(pctr, bid)
    alone = [auction(p, b) for p, b in zip(pctr, bid, strict=True)]
    assert together.winner.tolist() == [int(a.winner[0]) for a in alone]
    assert together.price.tolist() == [float(a.price[0]) for a in alone]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"pctr": [0.1, 1.2]}, r"pctr has 1\.2 at 1 .*: expected probabilities in \[0, 1\]"),
        ({"pctr": [0.1, np.nan]}, r"pctr has nan at \(0, 1\) .*: expected finite numbers"),
        ({"pctr": np.empty((0, 2)), "bid": np.empty((0, 2))}, "pctr is empty"),
        ({"bid": [1.0, -2.0]}, "bid has -2: expected bids of at least 0"),
        ({"bid": [1.0, np.inf]}, "bid has inf"),
        ({"bid": [1.0, 2.0, 3.0]}, r"bid has shape \(1, 3\): expected that of pctr, \(1, 2\)"),
        ({"per_click": [[True]]}, r"per_click has shape \(1, 1\): expected that of pctr"),
        ({"eligible": [[True]]}, r"eligible has shape \(1, 1\): expected that of pctr"),
        ({"eligible": [[0.5, 1]]}, r"eligible has 0\.5 at 0 .*: expected"),
        ({"explore": 1.5}, r"explore is 1\.5: expected"),
        ({"explore": 0.1}, r"uniform is None: expected draws of shape \(1, 2\), since explore is 0\.1"),
        ({"explore": 0.1, "uniform": np.zeros((2, 2))}, r"uniform has shape \(2, 2\): expected \(1, 2\)"),
        ({"explore": 0.1, "uniform": np.array([[0.1, 7.0]])}, r"uniform has 7 at 1"),
    ],
)
def test_bad_input(change, message):
    with pytest.raises(ValueError, match=message):
        auction(**{"pctr": [0.1, 0.2], "bid": [1.0, 1.0], **change})
