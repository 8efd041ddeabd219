"""The exercises of the visual search case: right answers pass, known mistakes are named, and the lesson is true."""

import numpy as np
import pytest

from casebook.exercises import visual_search as exercises


def recall(index, queries, exact, nprobe):
    index.nprobe = nprobe
    found = index.search(queries, exact.shape[1])[1]
    return np.mean([len(np.intersect1d(a, b)) / len(b) for a, b in zip(found, exact, strict=True)])


def bisected(index, queries, exact):
    low, high = 1, index.nlist
    while low < high:
        middle = (low + high) // 2
        if recall(index, queries, exact, middle) >= 0.95:
            high = middle
        else:
            low = middle + 1
    return low


def test_a_right_nprobe_passes_however_it_is_found():
    assert exercises.check_nprobe(bisected).passed
    result = exercises.check_nprobe(lambda *case: next(n for n in range(1, 33) if recall(*case, n) >= 0.95))
    assert result.passed and "never falls" in result.feedback


def test_recall_never_falls_and_structure_decides_how_many_cells():
    needed = []
    for name, spread in (("islands", 0.7), ("overlapping", 1.0), ("no structure", 3.0)):
        case = exercises._cells(name, spread)
        curve = [recall(*case, n) for n in range(1, 33)]
        assert (np.diff(curve) >= 0).all() and curve[-1] == 1.0
        needed.append(bisected(*case))
    assert needed == sorted(needed) and needed[0] < 5 < 10 < needed[2]


@pytest.mark.parametrize(
    ("wrong", "hint"),
    [
        (lambda index, q, exact: index.nlist, "every cell"),
        (lambda *case: bisected(*case) - 1, "one too few"),
        (lambda index, q, exact: bisected(index, q, exact[:, :1]), "first of the nearest alone"),
        (lambda *case: 1 << (bisected(*case) - 1).bit_length(), "doubling"),
        (lambda *case: 10, "that is k"),
        (lambda *case: [1, 2], "returned shape (2,)"),
        (lambda *case: 1 / 0, "ZeroDivisionError"),
    ],
)
def test_mistakes_about_nprobe_are_named(wrong, hint):
    result = exercises.check_nprobe(wrong)
    assert not result.passed and hint in result.feedback


def by_rank(vectors, version, queries, k):
    scored = []
    for v in (0, 1):
        ids = np.flatnonzero(version == v)
        if len(ids):
            order = np.argsort(-(queries[v] @ vectors[ids].T), axis=1)
            share = np.broadcast_to((np.arange(len(ids)) + 1) / len(ids), order.shape)
            scored.append((ids[order], share))
    ids, share = (np.concatenate(parts, axis=1) for parts in zip(*scored, strict=True))
    return np.take_along_axis(ids, np.argsort(share, axis=1)[:, :k], axis=1)


def test_a_merged_search_passes():
    result = exercises.check_mixed_index(by_rank)
    assert result.passed and "own encoder" in result.feedback


@pytest.mark.parametrize(
    ("wrong", "hint"),
    [
        (exercises._one_encoder, "mean nothing"),
        (exercises._raw, "not on one scale"),
        (exercises._standard, "only the top"),
        (lambda *case: exercises._standard(*case, spread=False), "the means agree now"),
        (exercises._one_half, "no longer be found"),
        (exercises._farthest, "wrong way round"),
        (lambda vectors, version, queries, k: queries[0], "returned shape"),
    ],
)
def test_mistakes_about_a_mixed_index_are_named(wrong, hint):
    result = exercises.check_mixed_index(wrong)
    assert not result.passed and hint in result.feedback


def test_the_repair_finds_more_than_the_mistakes_do():
    case = exercises._migration(197, 10)

    def found(search):
        return (search(*case) == np.arange(60)[:, None]).any(axis=1).mean()

    repaired = found(exercises._merged)
    assert repaired > 0.85
    for wrong in (exercises._one_encoder, exercises._raw, exercises._one_half):
        assert found(wrong) < repaired - 0.1, wrong.__name__


def test_an_answer_that_writes_on_its_arguments_spoils_nothing():
    def careless(vectors, version, queries, k):
        found = by_rank(vectors, version, queries, k)
        vectors[:], queries[:] = 0, 0
        return found

    assert exercises.check_mixed_index(careless).passed
    assert exercises.check_mixed_index(by_rank).passed


def test_an_answer_must_be_a_function():
    for check in (exercises.check_nprobe, exercises.check_mixed_index):
        with pytest.raises(ValueError, match="expected a function"):
            check(3)
