"""The two settings of a run, read here and nowhere else.

``CASEBOOK_SEED`` (default 0) chooses the world that is drawn; ``CASEBOOK_SIZE`` (``book`` or ``big``) how large it is.
"""

import os
from typing import Literal, cast

Size = Literal["book", "big"]
SIZES: tuple[Size, ...] = ("book", "big")


def seed() -> int:
    """The seed of this run, from ``CASEBOOK_SEED``.

    Raises:
        ValueError: the variable is not a whole number of at least 0.
    """
    text = os.environ.get("CASEBOOK_SEED", "0")
    if not text.isdecimal():
        raise ValueError(f"CASEBOOK_SEED is {text!r}: expected a whole number of at least 0")
    return int(text)


def size() -> Size:
    """The size of this run, from ``CASEBOOK_SIZE``: what the book shows, or ten times that.

    Raises:
        ValueError: the variable names no size.
    """
    text = os.environ.get("CASEBOOK_SIZE", "book")
    if text not in SIZES:
        raise ValueError(f"CASEBOOK_SIZE is {text!r}: expected one of {', '.join(SIZES)}")
    return cast(Size, text)
