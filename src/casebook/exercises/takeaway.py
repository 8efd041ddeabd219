"""It got worse: find out why. Five logs of the Takeaway feed, each with a hidden fault, and what checks the answer."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from casebook import rng, settings, validate
from casebook.exercises.result import Result
from casebook.worlds.takeaway import Takeaway

__all__ = ["FAULTS", "NAMES", "Case", "case", "check_diagnosis", "check_fault"]

NOTHING = "nothing"
FAULTS = ("kitchens closed", "prices in cents", "ratings stale", "clicks not logged", "history empty")
EVIDENCE = {
    "kitchens closed": "one cuisine would be clicked as before and never ordered",
    "prices in cents": "some restaurants would cost a hundred times what they did before",
    "ratings stale": "no restaurant's rating would move, while the count of its ratings grows",
    "clicks not logged": "people on one device would order without a click",
    "history empty": "everybody would look new: no past sessions, clicks or orders in what was served",
    "ranking reversed": "the top of the slate would have the lowest scores",
    "rain": "the days after would be wetter than the days before",
    NOTHING: "every column and every rate would look as it did in the two weeks before",
}
NAMES = tuple(EVIDENCE)
"""What an answer may be: the five faults, two that are not among them, and none."""

ONSET, DAYS = 21, 24
HISTORY = ["seen", "user_sessions", "user_orders_here", "user_clicks_of_cuisine", "user_orders_of_cuisine"]
TOWNS, USERS = 4, 1_600
MISSED = 150  # orders of a cuisine in two weeks, from which on three days without any say something


@dataclass(frozen=True)
class Case:
    """A log before something happened and after it, one row an impression, columns as served, with the ``score``."""

    before: pd.DataFrame
    after: pd.DataFrame


def case(number: int, *, seed: int | None = None) -> Case:
    """A log with one of the five faults: two weeks before its onset and three days after.

    Args:
        number: which of the five, 1 to 5.
        seed: of the company and of the order of the faults; by default that of the run.

    Raises:
        ValueError: a number outside 1 to 5.
    """
    fault, seed = _hidden(number, seed)
    return _copied(_made(fault, f"case {number}", seed))


def check_fault(number: int, answer: str, *, seed: int | None = None) -> Result:
    """Whether a case has the fault that the answer names, one of :data:`NAMES`, and what speaks for or against it.

    Raises:
        ValueError: a number outside 1 to 5, a name that is not among those to choose from.
    """
    fault, _ = _hidden(number, seed)
    validate.choice("answer", answer, NAMES)
    if answer == fault:
        return Result(True, f"yes: if you look, {EVIDENCE[fault].replace('would be', 'is').replace('would ', '')}")
    return Result(False, f"if it were that, {EVIDENCE[answer]}: is it so?")


def check_diagnosis(answer: Callable[[pd.DataFrame, pd.DataFrame], Any], *, seed: int | None = None) -> Result:
    """Runs a diagnosis on six logs of another company: the five faults and one in which nothing is wrong.

    The answer takes the rows before and the rows after, as :func:`case` gives them, and returns one of :data:`NAMES`.

    Raises:
        ValueError: the answer is not a function.
    """
    if not callable(answer):
        raise ValueError(f"answer is {answer!r}: expected a function")
    other = (settings.seed() if seed is None else seed) + 1_000
    for fault in (*FAULTS, NOTHING):
        log = _copied(_made(fault, "diagnosis", other))
        try:
            said = answer(log.before, log.after)
        except Exception as error:
            return Result(False, f"it ended with {type(error).__name__}: {error}")
        if said != fault:
            clue = EVIDENCE[fault].replace("would ", "should ")
            return Result(False, f"it said {said!r} of a log in which {clue}")
    return Result(True, "five faults named, and no fault found where there is none")


def _hidden(number: int, seed: int | None) -> tuple[str, int]:
    """The fault behind a number, and the seed."""
    number = validate.positive_int("number", number)
    if number > len(FAULTS):
        raise ValueError(f"number is {number}: expected 1 to {len(FAULTS)}")
    seed = settings.seed() if seed is None else validate.positive_int("seed", seed, least=0)
    order = rng.stream("exercises", "takeaway faults", seed=seed).permutation(len(FAULTS))
    return FAULTS[order[number - 1]], seed


def _score(rows: pd.DataFrame) -> NDArray[np.floating]:
    """A feed without a model: what sells, what this user orders, not too far, not too dear, well rated."""
    sells = np.log((rows["restaurant_orders"] + 10) / (rows["restaurant_shown"] + 200))
    own = (rows["user_orders_of_cuisine"] + 0.3) / (rows["user_sessions"] + 1)
    dear = np.log(rows["price"] / 14)
    score = sells + 1.5 * own - 0.1 * rows["distance"] - 0.3 * dear + 0.3 * (rows["restaurant_rating"] - 3.5)
    return score.to_numpy(dtype=np.float64)


def _served(rows: pd.DataFrame, fault: str) -> pd.DataFrame:
    """The rows as the service saw them."""
    if fault != "history empty":
        return rows
    late = rows["day"].to_numpy() >= ONSET
    return rows.assign(**{name: rows[name].mask(late, 0) for name in HISTORY})


@lru_cache(maxsize=12)
def _made(fault: str, stream: str, seed: int) -> Case:
    """A log with the fault, of a company in which it can be found: nobody misses a cuisine that hardly sells."""
    for company in range(seed, seed + 20 * 10_000, 10_000):
        world, frame = _logged(fault, stream, company)
        late = frame["day"] >= ONSET
        before = frame[(frame["day"] >= ONSET - 14) & ~late].reset_index(drop=True)
        sold = before.loc[before["cuisine"] == world.outage_cuisine, "order"].sum()
        if fault != "kitchens closed" or sold >= MISSED:
            return Case(before, frame[late].reset_index(drop=True))
    raise RuntimeError(f"seed is {seed}: no company in twenty sells enough of the cuisine that closes")


def _logged(fault: str, stream: str, seed: int) -> tuple[Takeaway, pd.DataFrame]:
    """A company and what its feed logged, with the fault from its onset on."""
    knobs = {"kitchens closed": "kitchen_outage_day", "prices in cents": "price_bug_day"}
    knobs["ratings stale"] = "stale_rating_day"
    incident: dict[str, Any] = {knobs[fault]: ONSET} if fault in knobs else {}
    world = Takeaway(seed=seed, towns=TOWNS, users=USERS, **incident)

    def policy(rows: pd.DataFrame) -> NDArray[np.floating]:
        return _score(_served(rows, fault))

    run = world.rollout(policy, range(DAYS), explore=0.1, features=True, stream=stream)
    frame = _served(run.frame.drop(columns="arm"), fault)
    frame["score"] = _score(frame)
    if fault == "clicks not logged":
        late = frame["day"] >= ONSET
        frame["click"] = frame["click"].mask(late & (frame["device"] == 1), 0)
    return world, frame


def _copied(log: Case) -> Case:
    """The reader's own: an answer that writes into its rows must not change the next check."""
    return Case(log.before.copy(), log.after.copy())
