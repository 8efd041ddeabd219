"""The closed loop of an ad platform: candidates compete for an impression by what they are believed to bring."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from casebook import validate

__all__ = ["Allocation", "second_price"]


@dataclass(frozen=True)
class Allocation:
    """Who won each request, and what the winner owes.

    Attributes:
        winner: column of the winning candidate, -1 where nobody could be shown.
        price: what the winner pays per click (CPC) or per impression (CPM), in the currency of the bids.
        propensity: probability that this candidate was shown.
    """

    winner: NDArray[np.int64]
    price: NDArray[np.float64]
    propensity: NDArray[np.float64]


def second_price(
    pctr: NDArray[np.floating],
    bid: NDArray[np.floating],
    per_click: NDArray[np.bool_],
    eligible: NDArray[np.bool_],
    *,
    explore: float = 0.0,
    uniform: NDArray[np.floating] | None = None,
) -> Allocation:
    """One-slot auctions, each won by the highest expected payment and priced by the runner-up (Edelman et al. 2007).

    A per-click bid counts as bid x pCTR, a per-impression bid as it stands: so the predicted probability is the
    exchange rate between the two, and an error in its scale does not cancel.

    Args:
        pctr: predicted click probabilities, shape (requests, candidates).
        bid: bids, per click or per impression, same shape.
        per_click: which candidates pay per click, same shape.
        eligible: which candidates may win, same shape.
        explore: share of the requests that a uniformly random eligible candidate wins; it pays its own reserve of 0.
        uniform: with ``explore``, two draws in [0, 1) a request, shape (requests, 2).

    Raises:
        ValueError: shapes that differ, probabilities outside [0, 1], negative bids, ``explore`` without draws.
    """
    pctr = validate.probabilities("pctr", pctr, ndim=2)
    bid = validate.finite("bid", bid, ndim=2)
    per_click = validate.binary("per_click", per_click, ndim=2).astype(bool)
    eligible = validate.binary("eligible", eligible, ndim=2).astype(bool)
    for name, other in (("bid", bid), ("per_click", per_click), ("eligible", eligible)):
        if other.shape != pctr.shape:
            raise ValueError(f"{name} has shape {other.shape}: expected that of pctr, {pctr.shape}")
    if (bid < 0).any():
        raise ValueError(f"bid has {bid.min():g}: expected bids of at least 0")
    validate.probability("explore", explore)
    n, k = pctr.shape
    rows = np.arange(n)
    worth = np.where(per_click, pctr * bid, bid)
    worth = np.where(eligible, worth, -1.0)
    winner = worth.argmax(axis=1)
    if k > 1:
        runner_up = np.maximum(np.partition(worth, k - 2, axis=1)[:, k - 2], 0.0)
    else:
        runner_up = np.zeros(n)
    choices = eligible.sum(axis=1)
    propensity = (1 - explore) + explore / np.maximum(choices, 1)
    if explore > 0:
        if uniform is None:
            raise ValueError(f"uniform is None: expected draws of shape {(n, 2)}, since explore is {explore:g}")
        uniform = validate.probabilities("uniform", uniform, ndim=2)
        if uniform.shape != (n, 2):
            raise ValueError(f"uniform has shape {uniform.shape}: expected {(n, 2)}")
        explores = uniform[:, 0] < explore
        nth = np.minimum((uniform[:, 1] * choices).astype(int), np.maximum(choices - 1, 0))
        pick = (np.cumsum(eligible, axis=1) > nth[:, None]).argmax(axis=1)
        best = winner
        winner = np.where(explores, pick, winner)
        propensity = np.where(winner == best, propensity, explore / np.maximum(choices, 1))
        runner_up = np.where(winner == best, runner_up, 0.0)
    won_pctr = np.maximum(pctr[rows, winner], 1e-9)
    price = np.where(per_click[rows, winner], runner_up / won_pctr, runner_up)
    price = np.minimum(price, bid[rows, winner])
    nobody = choices == 0
    return Allocation(np.where(nobody, -1, winner), np.where(nobody, 0.0, price), np.where(nobody, 0.0, propensity))
