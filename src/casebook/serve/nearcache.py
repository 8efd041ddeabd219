"""A cache that also answers for what is nearly the same: images by a perceptual hash of 64 bits."""

from collections import OrderedDict
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from casebook import validate

__all__ = ["NearDuplicateCache", "hamming", "perceptual_hash"]

V = TypeVar("V")
GRID = 4  # cells a side of the coarse picture behind the hash


def perceptual_hash(image: ArrayLike) -> int:
    """64 bits that change little when an image is compressed, resized or brightened a little.

    Three coarse pictures of 4 by 4 cells (lightness, red against green, yellow against blue) and the differences of
    neighbouring cells of lightness; each gives bits by comparison with its median. A *difference hash* compares
    lightness only, and would call a red and a blue product of one pattern the same.

    Args:
        image: shape (height, width, 3), at least 4 by 4, any scale.

    Raises:
        ValueError: another shape, or values that are not finite.
    """
    pixels = validate.finite("image", image, ndim=3)
    height, width, channels = pixels.shape
    if channels != 3 or min(height, width) < GRID:
        raise ValueError(f"image has shape {pixels.shape}: expected (height, width, 3) of at least {GRID} by {GRID}")
    rows, columns = (np.arange(n) * GRID // n for n in (height, width))
    sums = np.zeros((GRID, GRID, 3))
    np.add.at(sums, (rows[:, None], columns[None, :]), pixels)
    coarse = sums / np.outer(np.bincount(rows), np.bincount(columns))[:, :, None]
    red, green, blue = np.moveaxis(coarse, 2, 0)
    light = red + green + blue
    around = light - np.roll(light, 1, axis=1)
    planes = (light, red - green, red + green - 2 * blue, around)
    bits = np.concatenate([(plane > np.median(plane)).ravel() for plane in planes])
    return int.from_bytes(np.packbits(bits).tobytes(), "big")


def hamming(hashes: NDArray[np.uint64], one: int) -> NDArray[np.intp]:
    """In how many of 64 bits each hash differs from one, shape (hashes,)."""
    return np.bitwise_count(hashes ^ np.uint64(one)).astype(np.intp)


class NearDuplicateCache(Generic[V]):
    """Values by hash; a look-up finds the nearest hash within a radius. The least recently used goes first.

    It compares with every entry, which is the fastest way up to some ten thousand of them. A value is only as fresh as
    what it was made from: a new encoder or index needs a new cache.

    Args:
        size: entries held.
        radius: bits that may differ, 0 to 64; 0 finds equal hashes alone.

    Raises:
        ValueError: no room, or a radius out of range.
    """

    def __init__(self, size: int, *, radius: int) -> None:
        self._size = validate.positive_int("size", size)
        self._radius = int(validate.number("radius", radius, least=0, most=64))
        self._slots = np.zeros(self._size, dtype=np.uint64)
        self._used: OrderedDict[int, int] = OrderedDict()  # the slot of each hash, least recently used first
        self._values: dict[int, V] = {}

    def __len__(self) -> int:
        return len(self._used)

    def get(self, key: int) -> V | None:
        """The value of the nearest hash within the radius, or None."""
        if key in self._used:
            self._used.move_to_end(key)
            return self._values[key]
        if self._radius == 0 or not self._used:
            return None
        distances = hamming(self._slots[: len(self._used)], key)
        nearest = int(np.argmin(distances))
        if distances[nearest] > self._radius:
            return None
        found = int(self._slots[nearest])
        self._used.move_to_end(found)
        return self._values[found]

    def put(self, key: int, value: V) -> None:
        """Keeps a value under its hash."""
        if key not in self._used:
            if len(self._used) == self._size:
                oldest, slot = self._used.popitem(last=False)
                del self._values[oldest]
            else:
                slot = len(self._used)
            self._used[key] = slot
            self._slots[slot] = key
        self._used.move_to_end(key)
        self._values[key] = value
