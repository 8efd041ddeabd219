"""Named random streams.

Every stream of numbers has a name, so that adding one never shifts another, and no generator is ever reused as an
integer seed. Where two policies must meet the same luck (common random numbers), draws are keyed by what they belong
to (the user, the day, the item) instead of by the order in which they were asked for.
"""

import zlib

import numpy as np
from numpy.typing import ArrayLike, NDArray

from casebook import settings

__all__ = ["keyed_uniform", "stream"]


def _code(text: str) -> int:
    return zlib.crc32(text.encode())


def _checked_seed(seed: int | None) -> int:
    if seed is None:
        return settings.seed()
    if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)) or seed < 0:
        raise ValueError(f"seed is {seed!r}: expected a whole number of at least 0")
    return int(seed)


def stream(owner: str, name: str, *, seed: int | None = None) -> np.random.Generator:
    """A generator for one named stream, the same for the same seed and names, independent of every other.

    Args:
        owner: who draws, such as ``"ad_click"``.
        name: what is drawn, such as ``"users"`` or ``"online:treatment"``.
        seed: the run's seed; by default that of :func:`casebook.settings.seed`.

    Raises:
        ValueError: an empty name, or a seed that is not a whole number of at least 0.
    """
    for label, text in (("owner", owner), ("name", name)):
        if not isinstance(text, str) or not text:
            raise ValueError(f"{label} is {text!r}: expected a name of at least one character")
    key = (_code(owner), _code(name))
    return np.random.default_rng(np.random.SeedSequence(_checked_seed(seed), spawn_key=key))


def _mix(x: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The finaliser of SplitMix64 (Steele, Lea and Flood 2014): a bijection that spreads every bit."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def keyed_uniform(owner: str, name: str, *keys: ArrayLike, seed: int | None = None) -> NDArray[np.float64]:
    """Uniform numbers in [0, 1) that depend on their keys alone, not on the order of the calls.

    Two arms of an experiment that show the same ad to the same user on the same request then see the same click.

    Args:
        owner: who draws.
        name: what is drawn.
        keys: one or more arrays of whole numbers of at least 0 that broadcast together.
        seed: the run's seed; by default that of :func:`casebook.settings.seed`.

    Returns:
        An array of the broadcast shape of the keys.

    Raises:
        ValueError: no key, or a key that is not a whole number of at least 0.
    """
    if not keys:
        raise ValueError("keys is empty: expected at least one array of whole numbers")
    golden = np.uint64(0x9E3779B97F4A7C15)
    start = (_checked_seed(seed) << 64) ^ (_code(owner) << 32) ^ _code(name)
    state = _mix(np.array([start % (1 << 64)], dtype=np.uint64) + golden)
    words = start >> 64
    while True:  # at least once, and again for each further 64 bits of a long seed
        state = _mix(state ^ np.array([words % (1 << 64)], dtype=np.uint64))
        words >>= 64
        if not words:
            break
    with np.errstate(over="ignore"):
        for position, key in enumerate(keys):
            array = np.asarray(key)
            if array.dtype.kind not in "iu" or (array.dtype.kind == "i" and array.size and int(array.min()) < 0):
                raise ValueError(f"keys[{position}] has dtype {array.dtype}: expected whole numbers of at least 0")
            state = _mix((state + golden) ^ (array.astype(np.uint64) * np.uint64(0xD1342543DE82EF95)))
    if all(np.ndim(key) == 0 for key in keys):
        state = state.reshape(())
    return (state >> np.uint64(11)).astype(np.float64) * 2.0**-53
