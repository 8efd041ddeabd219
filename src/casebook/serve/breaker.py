"""A circuit breaker: stop asking a dependency that does not answer, and notice when it is back."""

import threading
import time
from collections.abc import Callable
from typing import Literal

from casebook import validate

__all__ = ["CircuitBreaker", "State"]

State = Literal["closed", "half-open", "open"]


class CircuitBreaker:
    """Decides for each call whether a dependency is worth asking. Safe to share between threads.

    *Closed*: every call goes through. After ``failures`` failures in a row it *opens*: no call goes through, so that
    requests stop paying a timeout each. After ``retry_s`` seconds it is *half-open*: one call goes through as a probe.
    Its success closes the breaker, its failure opens it for another ``retry_s``.

    Args:
        failures: failures in a row that open the breaker.
        retry_s: seconds between an opening and the next probe.
        clock: seconds that never run backwards; a test passes its own.

    Raises:
        ValueError: no failures, or a time that is not positive.
    """

    def __init__(self, *, failures: int = 3, retry_s: float = 0.5, clock: Callable[[], float] = time.monotonic) -> None:
        self._threshold = validate.positive_int("failures", failures)
        self._retry_s = validate.number("retry_s", retry_s, above=0)
        self._clock = clock
        self._lock = threading.Lock()
        self._in_a_row = 0
        self._next_probe = 0.0
        self._state: State = "closed"

    @property
    def state(self) -> State:
        """The state after the last call."""
        return self._state

    def allows(self) -> bool:
        """Whether to make this call. Whoever is told yes must report :meth:`succeeded` or :meth:`failed`."""
        with self._lock:
            if self._state == "closed":
                return True
            if self._clock() < self._next_probe:
                return False
            # A probe that never reports back is replaced after another `retry_s`: nothing waits for it for ever.
            self._next_probe = self._clock() + self._retry_s
            self._state = "half-open"
            return True

    def succeeded(self) -> None:
        """The call was answered."""
        with self._lock:
            self._in_a_row = 0
            self._state = "closed"

    def failed(self) -> None:
        """The call was not answered."""
        with self._lock:
            self._in_a_row += 1
            if self._state == "half-open" or self._in_a_row >= self._threshold:
                self._state = "open"
                self._next_probe = self._clock() + self._retry_s
