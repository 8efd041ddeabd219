"""What the store holds for a page of videos, and how generators, ranker and blender read it.

The writer and the reader of a vector stand in one file, because a column that one side moves and the other does not is
the skew between training and serving that no error message reports.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from casebook import validate

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["HISTORY", "TAGS", "best", "page_inputs", "ranker_inputs", "spread", "user_vectors", "video_vectors"]

HISTORY = 20  # last watches of a user
TAGS = 24
WIDTH = 32  # of a video's tower

Array = NDArray[Any]


def user_vectors(users: "pd.DataFrame", tags: ArrayLike, history: ArrayLike, state: Any) -> NDArray[np.float32]:
    """What the store holds of users, a row each.

    Columns: the last watches (20, newest first, -1 for none), age band, country, sessions, the share of each tag
    among the last watches (24), and the videos of the last pages.

    Args:
        users: with ``age_band`` and ``country``.
        tags: first tag of each video.
        history: last watches, shape (users, 20).
        state: with ``user_sessions`` and ``pages``, as of last night.

    Raises:
        ValueError: a history of another shape.
    """
    history, tags = np.asarray(history), np.asarray(tags)
    if history.shape != (len(users), HISTORY):
        raise ValueError(f"history has shape {history.shape}: expected {(len(users), HISTORY)}")
    shares = np.zeros((len(users), TAGS))
    at, place = np.nonzero(history >= 0)
    np.add.at(shares, (at, tags[history[at, place]]), 1)
    shares /= np.maximum((history >= 0).sum(1, keepdims=True), 1)
    counts = np.column_stack([users["age_band"], users["country"], state.user_sessions])
    return np.hstack([history, counts, shares, state.pages]).astype(np.float32)


def video_vectors(videos: "pd.DataFrame", vectors: ArrayLike, state: Any) -> NDArray[np.float32]:
    """What the store holds of videos, a row each.

    Columns: the tower's vector (32), age in days, length in minutes, popularity, click rate, minutes a click, first
    tag, and the band of the length.

    Args:
        videos: with ``uploaded``, ``length`` and ``tag_a``.
        vectors: of the towers, shape (videos, 32).
        state: with ``day``, ``shown``, ``clicks``, ``minutes`` and ``popularity``, as of last night.

    Raises:
        ValueError: vectors of another shape.
    """
    vectors = np.asarray(vectors)
    if vectors.shape != (len(videos), WIDTH):
        raise ValueError(f"vectors has shape {vectors.shape}: expected {(len(videos), WIDTH)}")
    columns = [
        state.day - videos["uploaded"], videos["length"], state.popularity, state.clicks / np.maximum(state.shown, 1),
        state.minutes / np.maximum(state.clicks, 1), videos["tag_a"],
        np.floor(np.minimum(np.log2(videos["length"]) * 2, 12)),
    ]  # fmt: skip
    return np.column_stack([vectors, *columns]).astype(np.float32)


def page_inputs(user: Array, context: Mapping[str, Any]) -> dict[str, Array]:
    """The inputs of the page's tower, one row: ``past`` and the ``codes`` of age, country, device and hour.

    Args:
        user: a row of :func:`user_vectors`.
        context: ``device`` (-1 for unknown, which is code 0) and ``hour`` of the request.
    """
    codes = [*user[HISTORY : HISTORY + 2], context["device"] + 1, context["hour"]]
    return {"past": user[None, :HISTORY].astype(np.int64), "codes": np.array([codes], dtype=np.int64)}


def ranker_inputs(user: Array, page: Array, context: Mapping[str, Any], ids: Array, table: Array) -> dict[str, Array]:
    """The inputs of the ranker in the order of training, a row each candidate: ``numbers`` and ``codes``.

    Args:
        user: a row of :func:`user_vectors`.
        page: the vector of the page's tower, shape (32,).
        context: as for :func:`page_inputs`.
        ids: candidates, shape (n,).
        table: their rows of :func:`video_vectors`, shape (n, columns).
    """
    n, tag = len(ids), table[:, WIDTH + 5].astype(int)
    seen = (user[HISTORY + 3 + TAGS :] == np.asarray(ids)[:, None]).sum(1)

    def same(*values: float) -> Array:
        return np.tile(np.array(values, dtype=np.float32), (n, 1))

    shares = user[HISTORY + 3 : HISTORY + 3 + TAGS][tag]
    counts = np.column_stack([table[:, WIDTH : WIDTH + 5], shares, seen, same(user[HISTORY + 2])])
    product = page * table[:, :WIDTH]
    numbers = np.column_stack([np.log1p(np.maximum(counts, 0)), product, product.sum(1)])
    first = same(context["device"] + 1, context["hour"], *user[HISTORY : HISTORY + 2])
    codes = np.column_stack([first, table[:, WIDTH + 5 :], same(0)])  # the position when serving: the first
    return {"numbers": numbers.astype(np.float32), "codes": codes.astype(np.int64)}


def best(score: ArrayLike, k: int, *, without: ArrayLike = ()) -> NDArray[np.int64]:
    """The places of the k highest finite scores, best first; fewer where fewer are finite.

    Args:
        score: shape (n,); minus infinity for what may not be shown.
        k: at least 1.
        without: places to leave out; negative ones are ignored.

    Raises:
        ValueError: k below 1.
    """
    k = validate.positive_int("k", k)
    score = np.array(score, dtype=np.float64)
    past = np.asarray(without, dtype=np.int64)
    score[past[past >= 0]] = -np.inf
    k = min(k, len(score))
    first = np.argpartition(-score, k - 1)[:k]
    first = first[np.argsort(-score[first], kind="stable")]
    return first[np.isfinite(score[first])].astype(np.int64)


def spread(score: ArrayLike, group: ArrayLike, most: int, *, penalty: float = 0.15) -> NDArray[np.int64]:
    """The order of a page: each candidate loses ``penalty`` for every better one of its group.

    Args:
        score: shape (n,), finite.
        group: such as the first tag of each candidate, shape (n,).
        most: places of the page, at least 1.
        penalty: at least 0; 0 is the plain order.

    Raises:
        ValueError: scores that are not finite, shapes that differ, a number out of range.
    """
    score, group = validate.finite("score", score), np.asarray(group)
    if group.shape != score.shape:
        raise ValueError(f"group has shape {group.shape}: expected {score.shape}")
    penalty = validate.number("penalty", penalty, least=0)
    order = np.argsort(-score, kind="stable")
    above = np.tril(group[order][:, None] == group[order], -1).sum(1)
    again = np.argsort(-(score[order] - penalty * above), kind="stable")
    return order[again][: validate.positive_int("most", most)]
