"""Negative downsampling, and the correction that undoes it."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from casebook import validate

__all__ = ["correct_downsampled", "downsample_negatives"]


def downsample_negatives(y: ArrayLike, rate: float, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Which rows to train on: every positive, and each negative with the given probability.

    Args:
        y: labels, shape (rows,).
        rate: probability of keeping a negative, in (0, 1].
        rng: generator for the draws; one draw a row, so the same generator keeps nested subsets as the rate falls.

    Returns:
        Mask of the rows kept, shape (rows,).

    Raises:
        ValueError: labels other than 0 and 1, a rate outside (0, 1].
    """
    y, rate = validate.binary("y", y), validate.number("rate", rate, above=0, most=1)
    return (y == 1) | (validate.generator("rng", rng).random(len(y)) < rate)


def correct_downsampled(p: ArrayLike, rate: float) -> NDArray[np.float64]:
    """Probabilities for the real traffic, from a model trained on downsampled negatives.

    Keeping a share w of the negatives multiplies the odds by 1 / w; p / (p + (1 - p) / w) divides them again (He et
    al. 2014). Ranking is left as it was.

    Args:
        p: probabilities from the model, any shape.
        rate: the share w of negatives that was kept, in (0, 1].

    Raises:
        ValueError: probabilities outside [0, 1], a rate outside (0, 1].
    """
    p, rate = validate.probabilities("p", p, ndim=None), validate.number("rate", rate, above=0, most=1)
    return p / (p + (1 - p) / rate)
