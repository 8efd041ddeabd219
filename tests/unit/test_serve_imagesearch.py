"""The search service: what it answers, what it refuses, and what it does when the encoder is late or gone."""

import time
from pathlib import Path

import httpx
import numpy as np
import pytest

from casebook import rng
from casebook.serve import imagesearch
from casebook.serve.artefact import read_artefact, write_artefact
from casebook.serve.imagesearch import SearchEngine, VersionMismatch, body_of, search_app, start_search
from casebook.serve.load import poisson_load
from casebook.serve.run import run_in_thread

SIDE = 8


def load_mean_colour(directory: Path) -> SearchEngine:
    """Finds the catalogue colours nearest to an image's mean colour."""
    import numpy as np

    from casebook.serve.imagesearch import SearchEngine

    catalogue = np.load(directory / "catalogue.npy")
    encoder, indexed_by = (directory / "versions.txt").read_text().split()

    def crop(image, box):
        top, left, height, width = box or (0, 0, *image.shape[:2])
        return image[top : top + height, left : left + width].mean(axis=(0, 1))

    def search(vectors, k):
        distances = ((vectors[:, None] - catalogue[None]) ** 2).sum(axis=2)
        return np.argsort(distances, axis=1)[:, :k]

    return SearchEngine(
        crop=lambda image, box: np.broadcast_to(crop(image, box), (8, 8, 3)),
        encode=lambda crops: crops.mean(axis=(1, 2)),
        search=search,
        rerank=lambda vector, ids: ids,
        fallback=lambda crop, k: np.arange(k),
        encoder=encoder,
        indexed_by=indexed_by,
    )


CATALOGUE = rng.stream("test", "catalogue", seed=1).uniform(0, 255, (30, 3))


def artefact(directory, versions="a a"):
    np.save(directory / "catalogue.npy", CATALOGUE)
    (directory / "versions.txt").write_text(versions)
    write_artefact(directory, load_mean_colour)
    return directory


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return artefact(tmp_path_factory.mktemp("engine"))


@pytest.fixture(scope="module")
def engine(home):
    return read_artefact(home, SearchEngine)[0]


def photo(i):
    return np.broadcast_to(np.round(CATALOGUE[i]), (SIDE, SIDE, 3)).astype(np.uint8)


def with_(engine, **changed):
    return SearchEngine(**{**vars(engine), **changed})


def asked(app, *bodies):
    with run_in_thread(app) as one:
        return [httpx.post(f"{one.url}/score", json=body, timeout=10) for body in bodies]


def test_it_finds_the_product(engine):
    for i, answer in enumerate(asked(search_app(engine), *(body_of(photo(i), k=3) for i in range(3)))):
        said = answer.json()
        assert (said["scores"][0], len(said["scores"])) == (i, 3)
        assert (said["degraded"], said["reason"], said["version"]) == (False, None, "a")
        assert set(said["ms"]) == {"parse", "crop", "wait", "encode", "search", "rerank", "total"}


def test_the_box_chooses_what_is_searched(engine):
    both = np.concatenate([photo(0), photo(1)], axis=1)
    left, right = asked(
        search_app(engine), body_of(both, box=[0, 0, SIDE, SIDE]), body_of(both, box=[0, SIDE, SIDE, SIDE])
    )
    assert (left.json()["scores"][0], right.json()["scores"][0]) == (0, 1)


BAD = {
    "no image": {"height": 8, "width": 8},
    "not base64": {"image": "?", "height": 8, "width": 8},
    "too few bytes": body_of(photo(0)) | {"height": 9},
    "box outside": body_of(photo(0), box=[4, 4, 8, 8]),
    "too many": body_of(photo(0), k=101),
    "misspelt": body_of(photo(0), boxx=[0, 0, 8, 8]),
}


@pytest.mark.parametrize("name", BAD)
def test_what_makes_no_sense_is_refused_without_repeating_the_image(engine, name):
    (answer,) = asked(search_app(engine), BAD[name])
    assert answer.status_code == 422
    assert len(answer.json()["error"]) < 300


def test_another_encoder_is_refused(engine):
    wrong, right = asked(search_app(engine), body_of(photo(0), encoder="b"), body_of(photo(0), encoder="a"))
    assert (wrong.status_code, right.status_code) == (409, 200)
    assert "encoder b asked for, a served" in wrong.json()["error"]


def test_encoder_and_index_of_different_versions_do_not_start(engine, tmp_path):
    with pytest.raises(VersionMismatch, match="queries by encoder b, index by encoder a"):
        search_app(with_(engine, encoder="b"))
    with pytest.raises(RuntimeError, match="refused: queries by encoder b, index by encoder a"):
        with start_search(artefact(tmp_path, "b a")):
            pass


def test_a_late_encoder_is_answered_by_the_fallback(engine):
    def slow(crops):
        time.sleep(0.5)
        return engine.encode(crops)

    (answer,) = asked(search_app(with_(engine, encode=slow), deadline_ms=50), body_of(photo(7), k=2))
    said = answer.json()
    assert (said["scores"], said["degraded"], said["reason"]) == ([0, 1], True, "deadline exceeded")
    assert said["ms"]["total"] < 400


def test_a_failing_encoder_is_answered_by_the_fallback(engine):
    def broken(crops):
        raise RuntimeError("no model")

    (answer,) = asked(search_app(with_(engine, encode=broken)), body_of(photo(7)))
    assert answer.json()["reason"] == "encoder failed"


def test_the_cache_answers_what_was_answered_and_never_a_degraded_answer(engine):
    calls = []

    def counted(crops):
        calls.append(len(crops))
        if len(calls) == 1:
            raise RuntimeError("once")
        return engine.encode(crops)

    app = search_app(with_(engine, encode=counted), cache_size=10)
    first, second, third, longer = asked(app, *[body_of(photo(7), k=2)] * 3, body_of(photo(7), k=5))
    assert [one.json()["degraded"] for one in (first, second, third, longer)] == [True, False, False, False]
    assert second.json()["scores"] == third.json()["scores"]
    assert "encode" not in third.json()["ms"]
    assert len(longer.json()["scores"]) == 5  # the cache held only two
    assert calls == [1, 1, 1]


def test_a_replica_serves_a_load_in_batches(home):
    bodies = [body_of(photo(i % 30), k=3) for i in range(60)]
    with start_search(home, window_ms=20, deadline_ms=5_000) as one:
        load = poisson_load(one.url, bodies, rate=300, rng=rng.stream("test", "load", seed=1), patience_s=10)
        health = httpx.get(f"{one.url}/healthz").json()
    assert (load.requests["outcome"] == "ok").all()
    assert [ids[0] for ids in load.requests["scores"]] == [i % 30 for i in range(60)]
    assert health == {"status": "ok", "encoder": "a", "indexed_by": "a"}


def test_overload_is_shed(engine):
    def slow(crops):
        time.sleep(0.05)
        return engine.encode(crops)

    app = search_app(with_(engine, encode=slow), most=1, max_in_flight=2, deadline_ms=5_000)
    with run_in_thread(app) as one:
        bodies = [body_of(photo(0))] * 40
        load = poisson_load(one.url, bodies, rate=400, rng=rng.stream("test", "shed", seed=1), patience_s=10)
    assert load.summary()["shed"] > 10
    assert load.summary()["answered"] == 40


def test_only_an_artefact_with_an_engine_is_served(tmp_path):
    with pytest.raises(ValueError, match="made by write_artefact"):
        read_artefact(tmp_path, SearchEngine)
    (tmp_path / "scorer.py").write_text("load = lambda directory: 1\n")
    with pytest.raises(ValueError, match=r"expected a casebook.serve.imagesearch.SearchEngine"):
        read_artefact(tmp_path, SearchEngine)
    with pytest.raises(ValueError, match="made by write_artefact"):
        with start_search(tmp_path / "nowhere"):
            pass


@pytest.mark.parametrize("bad", [np.zeros((8, 8, 3)), np.zeros((8, 8), dtype=np.uint8)])
def test_only_images_of_bytes_become_bodies(bad):
    with pytest.raises(ValueError, match="expected uint8"):
        imagesearch.body_of(bad)
