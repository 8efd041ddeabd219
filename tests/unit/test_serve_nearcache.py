"""The cache of near duplicates: what its hash forgives, what it must not, and who leaves first."""

import numpy as np
import pytest

from casebook import rng
from casebook.serve.nearcache import NearDuplicateCache, hamming, perceptual_hash


@pytest.fixture(scope="module")
def images():
    """Smooth pictures of 32 by 32."""
    coarse = rng.stream("test", "images", seed=1).uniform(40, 200, (40, 8, 8, 3))
    return np.kron(coarse, np.ones((1, 4, 4, 1)))


def bits(a, b):
    return int(hamming(np.array([perceptual_hash(a)], dtype=np.uint64), perceptual_hash(b))[0])


def test_the_hash_forgives_noise_and_exposure(images):
    noise = rng.stream("test", "noise", seed=1).normal(0, 2, images.shape)
    near = [bits(one, 1.1 * one + n) for one, n in zip(images, noise, strict=True)]
    far = [bits(a, b) for a, b in zip(images, np.roll(images, 1, axis=0), strict=True)]
    assert np.mean(near) < 4
    assert np.mean(far) > 20


def test_the_hash_sees_another_colour(images):
    swapped = images[..., ::-1]
    assert np.mean([bits(a, b) for a, b in zip(images, swapped, strict=True)]) > 8


def test_the_hash_fits_64_bits_and_any_size(images):
    assert 0 <= perceptual_hash(images[0]) < 2**64
    assert bits(images[0], np.kron(images[0], np.ones((2, 2, 1)))) == 0


@pytest.mark.parametrize("bad", [np.zeros((8, 8)), np.zeros((3, 8, 3)), np.full((8, 8, 3), np.nan)])
def test_what_is_no_image_is_refused(bad):
    with pytest.raises(ValueError, match="expected"):
        perceptual_hash(bad)


def test_the_nearest_within_the_radius_answers():
    cache = NearDuplicateCache(4, radius=2)
    cache.put(0b0000, "zero")
    cache.put(0b1111, "fifteen")
    assert cache.get(0b0001) == "zero"
    assert cache.get(0b0111) == "fifteen"
    assert cache.get(0b1111_0000_0000) is None
    assert NearDuplicateCache(4, radius=0).get(0) is None


def test_radius_zero_finds_equal_hashes_alone():
    cache = NearDuplicateCache(4, radius=0)
    cache.put(2**63, "top")
    assert cache.get(2**63) == "top"
    assert cache.get(2**63 + 1) is None


def test_the_least_recently_used_leaves_first():
    cache = NearDuplicateCache(2, radius=1)
    cache.put(0b0000, "a")
    cache.put(0b1100, "b")
    assert cache.get(0b0001) == "a"  # used, through a neighbour
    cache.put(2**40 + 2**41, "c")
    assert len(cache) == 2
    assert cache.get(0b1100) is None
    assert cache.get(0b0000) == "a"
    assert cache.get(2**40 + 2**41) == "c"


def test_a_value_can_be_replaced():
    cache = NearDuplicateCache(2, radius=0)
    cache.put(5, "old")
    cache.put(5, "new")
    assert (cache.get(5), len(cache)) == ("new", 1)


@pytest.mark.parametrize("bad", [{"size": 0, "radius": 1}, {"size": 1, "radius": 65}])
def test_bad_settings_are_refused(bad):
    with pytest.raises(ValueError, match="expected"):
        NearDuplicateCache(**bad)
