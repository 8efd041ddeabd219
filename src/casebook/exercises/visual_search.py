"""The two exercises in code of the visual search case."""

from collections.abc import Callable
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

from casebook import rng
from casebook.exercises.result import Result, compare

__all__ = ["check_mixed_index", "check_nprobe"]

Array = NDArray[np.float32]
Ids = NDArray[np.int64]

WANTED = 0.95
CELLS, NEAREST, WIDTH = 32, 10, 16


def _recall(index: Any, queries: Array, exact: Ids, nprobe: int) -> float:
    index.nprobe = nprobe
    found = index.search(queries, exact.shape[1])[1]
    return float((found[:, :, None] == exact[:, None]).any(axis=1).mean())


def _smallest(index: Any, queries: Array, exact: Ids) -> int:
    return next(n for n in range(1, index.nlist + 1) if _recall(index, queries, exact, n) >= WANTED)


def _first_only(index: Any, queries: Array, exact: Ids) -> int:
    return next(n for n in range(1, index.nlist + 1) if _recall(index, queries, exact[:, :1], n) >= WANTED)


def _power_of_two(index: Any, queries: Array, exact: Ids) -> int:
    return next(2**n for n in range(12) if _recall(index, queries, exact, 2**n) >= WANTED)


def _cells(name: str, spread: float) -> tuple[Any, Array, Ids]:
    """An index of 1,500 vectors around forty kinds, queries beside some of them, and their true nearest."""
    draws = rng.stream("exercises", f"nprobe {name}", seed=0)
    kinds = draws.standard_normal((40, WIDTH))
    vectors = (kinds[draws.integers(0, 40, 1_500)] + spread * draws.standard_normal((1_500, WIDTH))).astype(np.float32)
    near = vectors[draws.integers(0, len(vectors), 200)]
    queries = (near + 0.5 * spread * draws.standard_normal(near.shape)).astype(np.float32)
    index: Any = faiss.index_factory(WIDTH, f"IVF{CELLS},Flat")
    index.cp.min_points_per_centroid = 1
    index.train(vectors)
    index.add(vectors)
    exact = np.argsort(((queries[:, None] - vectors) ** 2).sum(axis=2), axis=1)[:, :NEAREST]
    return index, queries, exact


def check_nprobe(answer: Callable[..., Any]) -> Result:
    """Checks a function that finds the smallest ``nprobe`` with a recall of at least 0.95.

    The answer takes ``index``, a trained and filled ``faiss.IndexIVFFlat``; ``queries``, shape (n, d); and ``exact``,
    shape (n, k), the ids of the true k nearest. It returns the number of cells to look into: the smallest for which the
    index finds at least 0.95 of the ids in ``exact``, on average.
    """
    cases = [_cells("overlapping", 1.0), _cells("islands", 0.7), _cells("no structure", 3.0)]
    mistakes = [
        (lambda index, q, exact: index.nlist, "that is every cell: exact search at the price of an index"),
        (_first_only, "this looks at the first of the nearest alone: the recall asked for is over all k"),
        (lambda *a: _smallest(*a) - 1, "one too few: at this many cells the recall is still below 0.95"),
        (_power_of_two, "doubling jumps over the answer: search between the last two powers"),
        (lambda *a: NEAREST, "that is k, the number of answers: cells are another thing"),
    ]
    praise = "recall never falls when more cells are looked into, so bisection would find it too"
    return compare(answer, _smallest, cases, mistakes, praise)


def _unit(x: NDArray[np.floating]) -> Array:
    return (x / np.linalg.norm(x, axis=-1, keepdims=True)).astype(np.float32)


def _similarity(vectors: Array, version: Ids, queries: Array) -> Array:
    """Each photo by the encoder of each product, shape (photos, products)."""
    return np.where(version == 0, queries[0] @ vectors.T, queries[1] @ vectors.T)


def _standard(vectors: Array, version: Ids, queries: Array, k: int, *, spread: bool = True) -> Ids:
    score = _similarity(vectors, version, queries)
    for part in (version == 0, version == 1):
        if part.any():
            score[:, part] -= score[:, part].mean()
            score[:, part] /= score[:, part].std() if spread else 1.0
    return np.argsort(-score, axis=1)[:, :k]


def _merged(vectors: Array, version: Ids, queries: Array, k: int) -> Ids:
    score = _similarity(vectors, version, queries).astype(np.float64)
    for part in (version == 0, version == 1):
        place = (-score[:, part]).argsort(axis=1).argsort(axis=1)
        score[:, part] = (place + 1) / max(part.sum(), 1)
    return np.argsort(score, axis=1)[:, :k]


def _raw(vectors: Array, version: Ids, queries: Array, k: int) -> Ids:
    return np.argsort(-_similarity(vectors, version, queries), axis=1)[:, :k]


def _one_encoder(vectors: Array, version: Ids, queries: Array, k: int) -> Ids:
    return np.argsort(-queries[1] @ vectors.T, axis=1)[:, :k]


def _one_half(vectors: Array, version: Ids, queries: Array, k: int) -> Ids:
    done = np.flatnonzero(version == 1)
    return done[np.argsort(-queries[1] @ vectors[done].T, axis=1)[:, :k]]


def _farthest(vectors: Array, version: Ids, queries: Array, k: int) -> Ids:
    return _merged(vectors, version, queries, len(vectors))[:, ::-1][:, :k]


def _migration(done: int, k: int) -> tuple[Array, Ids, Array, int]:
    """A catalogue of 400 products of which ``done`` have been embedded again; photo i shows product i."""
    draws = rng.stream("exercises", f"mixed index {done}", seed=0)
    look = draws.standard_normal((400, WIDTH))
    seen = look[:60] + 0.7 * draws.standard_normal((60, WIDTH))
    turn = draws.standard_normal((WIDTH, WIDTH))
    old_pictures, old_photos = (_unit(x + 1.5) for x in (look, seen))
    new_pictures, new_photos = (_unit(x @ turn) for x in (look, seen))
    version = (draws.permutation(len(look)) < done).astype(np.int64)
    vectors = np.where(version[:, None] == 1, new_pictures, old_pictures)
    return vectors, version, np.stack([old_photos, new_photos]), k


def check_mixed_index(answer: Callable[..., Any]) -> Result:
    """Checks a search over a catalogue that is being embedded again and holds vectors of two encoders.

    The answer takes ``vectors``, shape (products, d), of length one; ``version``, 0 for a vector of the old encoder and
    1 for one of the new; ``queries``, shape (2, photos, d), the photos by the old encoder and by the new; and ``k``. A
    product is compared with the photo by its own encoder, and its score is a share: of the products of its version, how
    many are at least as similar to the photo, itself included. The answer returns the k products of the smallest share
    for each photo, smallest first, shape (photos, k).
    """
    cases = [
        _migration(197, 150),
        _migration(37, 5),
        _migration(400, 3),
    ]  # so that no two shares are equal near the top
    mistakes = [
        (_one_encoder, "vectors of two encoders were compared: the numbers exist, and mean nothing"),
        (_raw, "each product has its own encoder, but the encoders' similarities are not on one scale"),
        (_standard, "mean and spread agree now, but a search shows only the top: compare ranks"),
        (
            lambda *case: _standard(*case, spread=False),
            "the means agree now, and neither the spreads nor the tops do: compare ranks",
        ),
        (_one_half, "what has not been embedded again can no longer be found: nobody closed the shop"),
        (_farthest, "best first: the order is the wrong way round"),
    ]
    praise = "each vector meets its own encoder, and ranks make the two parts comparable"
    return compare(answer, _merged, cases, mistakes, praise)
