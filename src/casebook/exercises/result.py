"""What a checker answers."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Mistake", "Result", "compare"]

Mistake = tuple[Callable[..., Any], str]
"""A wrong answer that people give, and what to tell them."""


@dataclass(frozen=True)
class Result:
    """Whether an answer passed, and one or two sentences about it."""

    passed: bool
    feedback: str

    def __repr__(self) -> str:
        return f"{'passed' if self.passed else 'not yet'}: {self.feedback}"


def compare(
    answer: Callable[..., Any],
    solution: Callable[..., Any],
    cases: Sequence[tuple[Any, ...]],
    mistakes: Sequence[Mistake],
    praise: str,
    *,
    tolerance: float = 1e-6,
) -> Result:
    """Runs an answer on every case beside the solution, and names the mistake if it is a known one.

    Args:
        answer: the reader's function.
        solution: what it should do.
        cases: positional arguments, one tuple a case.
        mistakes: wrong functions with the hint that each deserves.
        praise: feedback for a right answer.
        tolerance: relative and absolute difference that passes.

    Raises:
        ValueError: the answer is not a function.
    """
    if not callable(answer):
        raise ValueError(f"answer is {answer!r}: expected a function")
    for number, case in enumerate(cases, 1):
        wanted = np.asarray(solution(*case), dtype=float)
        try:
            given = np.asarray(answer(*(_copied(part) for part in case)), dtype=float)
        except Exception as error:
            return Result(False, f"case {number} ended with {type(error).__name__}: {error}")
        if given.shape != wanted.shape:
            return Result(False, f"case {number} returned shape {given.shape}: expected {wanted.shape}")
        if not np.allclose(given, wanted, rtol=tolerance, atol=tolerance):
            return Result(False, _hint(given, case, mistakes, tolerance) or _distance(number, given, wanted))
    return Result(True, praise)


def _copied(part: Any) -> Any:
    """The case as the reader's to change: an answer that writes into its arguments must not change the next check."""
    return part.copy() if isinstance(part, np.ndarray) else part


def _hint(given: NDArray, case: tuple[Any, ...], mistakes: Sequence[Mistake], tolerance: float) -> str | None:
    for wrong, hint in mistakes:
        with np.errstate(all="ignore"):
            if np.allclose(given, np.asarray(wrong(*case), dtype=float), rtol=tolerance, atol=tolerance):
                return hint
    return None


def _distance(number: int, given: NDArray, wanted: NDArray) -> str:
    worst = int(np.nanargmax(np.abs(given - wanted))) if not np.isnan(given).all() else 0
    return f"case {number}: got {given.flat[worst]:.6g} where {wanted.flat[worst]:.6g} is right"
