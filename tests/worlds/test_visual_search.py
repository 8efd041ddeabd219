"""The world of visual search: the same seed the same world, streams apart, truth apart, each knob off at nought."""

import numpy as np
import pytest

from casebook.worlds.product_images import LOOK, SIDE, draw_looks, draw_scene, paint
from casebook.worlds.visual_search import SLATE, VisualSearch

SMALL = (60, 60, 60)
IDS = np.arange(40, 100)


def nearest_by_truth(world, photos):
    """A search that knows what was photographed."""
    answers = {
        photo.tobytes(): ids for photo, ids in zip(photos.images, world.truth.oracle(photos.product), strict=True)
    }
    return lambda images: np.stack([answers[image.tobytes()] for image in images])


def at_random(images):
    return np.random.default_rng(len(images)).integers(0, 180, (len(images), SLATE))


@pytest.fixture(scope="module")
def world():
    return VisualSearch(SMALL, seed=3)


def test_the_same_seed_is_the_same_world_and_another_seed_another(world):
    again, other = VisualSearch(SMALL, seed=3), VisualSearch(SMALL, seed=4)
    assert world.products.equals(again.products)
    assert (world.photos(IDS).images == again.photos(IDS).images).all()
    assert (world.pictures() != other.pictures()).any()


def test_streams_do_not_touch_each_other(world):
    first = world.photos(IDS, "a").images
    fresh = VisualSearch(SMALL, seed=3)
    fresh.photos(IDS, "b")
    fresh.wanted(10)
    assert (fresh.photos(IDS, "a").images == first).all()
    assert (fresh.photos(IDS, "b").images != first).any()


def test_no_style_or_product_of_the_new_splits_is_trained_on(world):
    styles = {split: set(part["style"]) for split, part in world.products.groupby("split")}
    assert not styles["new style"] & (styles["train"] | styles["new product"])
    assert styles["new product"] <= set(range(30))


def test_log_and_catalogue_show_nothing_of_the_truth(world):
    log = world.log(at_random, 50)
    assert list(log.frame) == ["search", "user", "place", "product", "propensity", "click", "bought"]
    assert not {"wanted", "p_click", "p_buy"} & (set(log.frame) | set(world.products))
    assert len(log.frame) == 50 * SLATE
    assert log.frame.groupby("search")["bought"].sum().max() <= 1
    assert (log.frame["bought"] <= log.frame["click"]).all()


@pytest.mark.parametrize(
    ("knob", "column", "neutral"),
    [("pose", "angle", 0), ("pose", "scale", 1), ("light", "brightness", 1), ("tint", "warmth", 0),
     ("clutter", "clutter", 0), ("occlusion", "occluded", 0)],
)  # fmt: skip
def test_a_scene_knob_at_nought_is_off_and_moves_nothing_else(world, knob, column, neutral):
    usual, off = world.photos(IDS).conditions, world.photos(IDS, **{knob: 0.0}).conditions
    assert np.allclose(off[column], neutral, atol=0.03)
    assert usual[column].std() > 0.02
    for other in set(usual) - {column, "occluded"} - ({"angle", "scale"} if knob == "pose" else set()):
        assert np.allclose(usual[other], off[other]), other


def test_turning_a_knob_shifts_no_stream(monkeypatch):
    """The same numbers are drawn whatever the strengths: where each generator stands afterwards says so."""

    def states(**knobs):
        asked = {}
        original = VisualSearch.stream

        def stream(self, name):
            asked[name] = original(self, name)
            return asked[name]

        with monkeypatch.context() as patch:
            patch.setattr(VisualSearch, "stream", stream)
            VisualSearch(SMALL, seed=3, **knobs).log(at_random, 20)
        return {name: str(generator.bit_generator.state) for name, generator in asked.items()}

    usual = states()
    assert len(usual) > 5
    for knob, default in VisualSearch.defaults.items():
        assert states(**{knob: 0.5 if default == 0 else 0.0}) == usual, knob


@pytest.mark.parametrize("knob", sorted(VisualSearch.defaults))
@pytest.mark.parametrize("value", [-0.5, float("nan"), "high"])
def test_bad_strengths_are_refused(knob, value):
    with pytest.raises(ValueError, match=rf"{knob} is .*: expected a finite number"):
        VisualSearch(SMALL, **{knob: value})


def test_noise_and_camera_can_be_turned(world):
    still = [world.photos(IDS, noise=noise, tint=0.0, light=0.0).images.astype(float) for noise in (0.0, 1.0)]
    assert 5 < (still[1] - still[0]).std() < 15  # 0.04 of 255, clipped
    cool = world.photos(IDS, camera=1.0, noise=0.0).images.astype(float).mean(axis=(0, 1, 2))
    usual = world.photos(IDS, camera=0.0, noise=0.0).images.astype(float).mean(axis=(0, 1, 2))
    assert cool[2] / cool[0] > 1.3 * usual[2] / usual[0]


def test_without_any_scene_a_photo_is_the_catalogue_picture(world):
    off = dict.fromkeys(("pose", "light", "tint", "clutter", "occlusion", "noise"), 0.0)
    assert (world.photos(IDS, **off).images == world.pictures(IDS)).all()


def test_position_and_attraction_decide_clicks_and_not_purchases():
    def clicks(**knobs):
        log = VisualSearch(SMALL, seed=3, **knobs).log(at_random, 400)
        return log.truth["p_click"].reshape(-1, SLATE).mean(axis=0), log.truth["p_buy"]

    even, buy_even = clicks(position=0.0)
    usual, buy_usual = clicks()
    assert even[0] == pytest.approx(even[9], rel=0.3)
    assert usual[0] > 3 * usual[9]
    assert (buy_even == buy_usual).all()


def test_mislabel_enters_wrong_styles_and_changes_no_picture():
    wrong, right = VisualSearch(SMALL, seed=3, mislabel=0.5), VisualSearch(SMALL, seed=3)
    assert 0.3 < (wrong.products["style"] != right.products["style"]).mean() < 0.6
    assert (wrong.pictures() == right.pictures()).all()


def test_the_oracle_finds_what_was_wanted_first_and_sells_most(world):
    wanted = world.wanted(200, split="new")
    found = world.truth.oracle(wanted)
    assert (found[:, 0] == wanted).all()
    gaps = world.truth.distance(wanted, found)
    assert (np.diff(gaps, axis=1) >= 0).all()
    photos = world.photos(world.wanted(300, "log:online"), "log:online")
    arms = {"random": at_random, "oracle": nearest_by_truth(world, photos)}
    outcome = world.rollout(arms, 300)
    assert outcome.truth["oracle"] > 3 * outcome.truth["random"]
    assert set(outcome.users["arm"]) == {"random", "oracle"}
    assert outcome.users["searches"].sum() == 300


def test_photos_hold_what_is_needed(world):
    photos = world.photos(IDS[:24])
    found = world.truth.attainable(photos, among=8)
    assert found[10] == 1.0
    assert found[1] > 0.9


def test_exploration_is_logged(world):
    log = world.log(at_random, 300, explore=0.2)
    random = log.frame["propensity"] < 0.5
    assert random.mean() == pytest.approx(0.2, abs=0.03)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda w: VisualSearch(SMALL, lamp=1.0), "lamp"),
        (lambda w: VisualSearch((60, 60)), "products has 2 numbers"),
        (lambda w: VisualSearch((60, 60, 3)), "at least 40"),
        (lambda w: w.photos(np.array([180])), "expected whole numbers from 0 to 179"),
        (lambda w: w.photos(np.array([], dtype=int)), "ids is empty"),
        (lambda w: w.photos(IDS, fog=1.0), "fog"),
        (lambda w: w.photos(IDS, light=-1.0), "light"),
        (lambda w: w.wanted(0), "n is 0"),
        (lambda w: w.wanted(5, split="old"), "split is 'old'"),
        (lambda w: w.log(lambda x: np.zeros((len(x), 3), int), 5), "search returned shape"),
        (lambda w: w.log(at_random, 5, explore=2.0), "explore"),
        (lambda w: w.rollout({}, 5), "arms is empty"),
        (lambda w: paint(np.zeros((2, 4))), f"expected {LOOK} columns"),
        (lambda w: draw_scene(0, np.random.default_rng(0)), "n is 0"),
        (lambda w: draw_looks(np.array([5]), 3, np.random.default_rng(0)), "style has values"),
    ],
)
def test_bad_input_is_refused_by_name(world, call, message):
    with pytest.raises(ValueError, match=message):
        call(world)


def test_pictures_are_bytes_of_the_promised_shape(world):
    assert world.pictures().shape == (180, SIDE, SIDE, 3)
    assert world.pictures().dtype == np.uint8
    assert world.pictures().std() > 20
