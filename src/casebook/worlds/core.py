"""What every world is: a specification, a log that hides what has not happened yet, a truth kept apart."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import ClassVar

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from casebook import rng, settings, validate

__all__ = ["Delayed", "Log", "Spec", "World"]


@dataclass(frozen=True)
class Spec:
    """What a world is drawn from: its name, its seed, its size and how strong each mechanism is."""

    name: str
    seed: int
    size: settings.Size
    knobs: Mapping[str, float]


@dataclass(frozen=True)
class Delayed:
    """A label that arrives late: the column that holds it and the column that says when it arrives, in days."""

    label: str
    time: str


@dataclass(frozen=True)
class Log:
    """Impressions as a platform logged them, one row each, ordered by time.

    Attributes:
        frame: observed columns only; ``t`` is the time of the impression in days.
        delayed: the labels that arrive after the impression.
    """

    frame: pd.DataFrame
    delayed: tuple[Delayed, ...] = ()

    def __post_init__(self) -> None:
        if "t" not in self.frame:
            raise ValueError(f"frame has columns {list(self.frame)}: expected a column 't', the time in days")
        for late in self.delayed:
            if not {late.label, late.time} <= set(self.frame):
                raise ValueError(f"frame has columns {list(self.frame)}: expected those of {late}")

    def __len__(self) -> int:
        return len(self.frame)

    def asof(self, t: float) -> pd.DataFrame:
        """What was known at time ``t`` (days): earlier impressions, and of their late labels those that had arrived.

        A label that is still to come reads 0, as it does in a real log: nothing there tells it from one that will
        never come.

        Raises:
            ValueError: ``t`` is not a finite number.
        """
        validate.number("t", t)
        seen = self.frame[self.frame["t"] <= t].copy()
        for late in self.delayed:
            pending = seen[late.time].to_numpy() > t
            seen[late.label] = seen[late.label].mask(pending, 0).astype(self.frame[late.label].dtype)
            seen[late.time] = seen[late.time].mask(pending)
        return seen

    def between(self, start: float, end: float) -> pd.DataFrame:
        """The impressions with ``start <= t < end`` (days), late labels included however late they came.

        Raises:
            ValueError: ``end`` is not above ``start``.
        """
        validate.number("start", start)
        validate.number("end", end, above=start)
        times = self.frame["t"]
        return self.frame[(times >= start) & (times < end)]


@dataclass(eq=False)
class World:
    """A product that is simulated: drawn once from its seed, then observed through logs and rollouts.

    A subclass names itself, lists its knobs with their defaults (0 turns a mechanism off) and draws its parameters
    from streams of its own, so that turning one knob leaves every other draw as it was.
    """

    name: ClassVar[str]
    defaults: ClassVar[Mapping[str, float]]

    spec: Spec = field(init=False)

    def _specify(self, seed: int | None, size: settings.Size | None, knobs: Mapping[str, float]) -> None:
        validate.known(f"{self.name} world", knobs, self.defaults)
        values = {key: validate.number(key, value, least=0) for key, value in {**self.defaults, **knobs}.items()}
        seed = settings.seed() if seed is None else validate.positive_int("seed", seed, least=0)
        chosen = settings.size() if size is None else validate.choice("size", size, settings.SIZES)
        self.spec = Spec(self.name, seed, chosen, MappingProxyType(values))

    def stream(self, name: str) -> np.random.Generator:
        """The world's named random stream."""
        return rng.stream(self.name, name, seed=self.spec.seed)

    def uniform(self, name: str, *keys: ArrayLike) -> NDArray[np.float64]:
        """Uniform draws that depend on their keys alone: the same event has the same luck under every policy."""
        return rng.keyed_uniform(self.name, name, *keys, seed=self.spec.seed)
