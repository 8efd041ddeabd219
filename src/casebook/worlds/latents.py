"""Hidden traits: how popular things are, and tastes that observed groups explain in part."""

import numpy as np
from numpy.typing import NDArray

from casebook import validate

__all__ = ["group_latents", "standardise", "zipf_weights"]


def zipf_weights(n: int, exponent: float, rng: np.random.Generator) -> NDArray[np.float64]:
    """Shares of attention of ``n`` things, proportional to rank**-exponent, in random order; they sum to 1.

    Raises:
        ValueError: ``n`` below 1 or a negative exponent.
    """
    validate.positive_int("n", n)
    validate.number("exponent", exponent, least=0)
    validate.generator("rng", rng)
    weights = np.arange(1, n + 1, dtype=float) ** -exponent
    return rng.permutation(weights / weights.sum())


def group_latents(
    group: NDArray[np.integer], dimensions: int, explained: float, rng: np.random.Generator
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Latent vectors of unit variance per coordinate, of which the group accounts for the share ``explained``.

    Args:
        group: the observed group of each thing, from 0.
        dimensions: length of a vector.
        explained: share of the variance that lies between groups, in [0, 1].
        rng: source of the draws.

    Returns:
        The vectors, and their mean given the group (what an observer who knew every group could know), both of shape
        (things, dimensions).

    Raises:
        ValueError: empty or negative groups, fewer than one dimension, a share outside [0, 1].
    """
    group = validate.array("group", group)
    if group.dtype.kind not in "iu" or group.min() < 0:
        raise ValueError(f"group has minimum {group.min()}: expected whole numbers from 0")
    validate.positive_int("dimensions", dimensions)
    validate.probability("explained", explained)
    validate.generator("rng", rng)
    centres = rng.standard_normal((int(group.max()) + 1, dimensions))
    own = rng.standard_normal((len(group), dimensions))
    mean = np.sqrt(explained) * centres[group]
    return (mean + np.sqrt(1 - explained) * own).astype(np.float32), mean.astype(np.float32)


def standardise(values: NDArray[np.floating]) -> tuple[float, float]:
    """Mean and standard deviation by which a signal becomes one of mean 0 and variance 1 (1 where it is constant)."""
    values = validate.finite("values", values, ndim=None)
    return float(values.mean()), float(values.std()) if np.ptp(values) > 0 else 1.0
