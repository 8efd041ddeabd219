"""Claims: what the prose says, checked in code against a bound each time the notebook runs."""

import html
import json
import math
import os
from pathlib import Path

import numpy as np

from casebook import settings, validate
from casebook.report.outputs import (
    checked_format,
    checked_name,
    checked_text,
    checked_tolerance,
    emit,
    number_html,
    number_text,
)

__all__ = ["KINDS", "ClaimFailed", "claim"]

# By construction: the world was made so. Measured here: it came out so in these worlds. Also seen in practice: measured
# here, and reported from production by the source.
KINDS = ("by construction", "measured here", "also seen in practice")


class ClaimFailed(AssertionError):
    """What was measured lies outside the bound of the claim."""


def chapter() -> str:
    """Where the claim is made: ``CASEBOOK_CHAPTER``, else the folder below ``notebooks`` in which the notebook runs."""
    if name := os.environ.get("CASEBOOK_CHAPTER"):
        return name
    parts = Path.cwd().parts
    return "/".join(parts[parts.index("notebooks") + 1 :]) if "notebooks" in parts else ""


def _bound(above: float | None, below: float | None, fmt: str) -> str:
    def text(bound: float) -> str:
        return f"{100 * bound:g}%" if fmt.endswith("%") else f"{bound:g}"

    sides = [f"{sign} {text(bound)}" for sign, bound in ((">", above), ("<", below)) if bound is not None]
    return " and ".join(sides)


def _checked_bounds(above: float | None, below: float | None) -> tuple[float | None, float | None]:
    if above is None and below is None:
        raise ValueError("above and below are both None: expected at least one bound")
    above = None if above is None else validate.number("above", above)
    below = None if below is None else validate.number("below", below)
    if above is not None and below is not None and above >= below:
        raise ValueError(f"above is {above!r}: expected less than below, which is {below!r}")
    return above, below


def _checked_value(value: float) -> float:
    """The value as a float. One that is not finite is no error: its claim fails, and a run over many seeds goes on."""
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, float, np.number)):
        raise ValueError(f"value is {value!r}: expected a number")
    return float(value)


def _checked_source(kind: str, source: str | None) -> str | None:
    if (kind == KINDS[2]) != (source is not None):
        raise ValueError(f"source is {source!r}: expected a citation key for {KINDS[2]!r}, and None for other kinds")
    return None if source is None else checked_text("source", source)


def claim(
    name: str,
    statement: str,
    value: float,
    *,
    kind: str,
    above: float | None = None,
    below: float | None = None,
    fmt: str = ".3g",
    tol: float | None = 0.02,
    source: str | None = None,
) -> None:
    """States a comparison, checks it, and displays it with what was measured.

    Each call appends a JSON line (chapter, name, kind, statement, value, bound, fmt, source, seed, held) to the file
    that ``CASEBOOK_CLAIMS`` names, when it is set. With ``CASEBOOK_CLAIMS_CONTINUE=1``, as in a run over many seeds, a
    claim that fails is recorded as such and the notebook goes on.

    Args:
        name: unique within the chapter.
        statement: what is claimed, in words, without the number.
        value: what was measured. A value that is not finite never meets its bound.
        kind: one of :data:`KINDS`.
        above: the claim holds if the value is greater than this.
        below: the claim holds if the value is less than this.
        fmt: format of the value when displayed.
        tol: relative change of the value that a re-execution may show; None for a timing, which is never compared.
        source: citation key, for a claim also seen in practice.

    Raises:
        ClaimFailed: the value lies outside the bound.
        ValueError: an argument is not as described.
    """
    checked_name(name)
    statement = checked_text("statement", statement)
    validate.choice("kind", kind, KINDS)
    source = _checked_source(kind, source)
    above, below = _checked_bounds(above, below)
    tol = checked_tolerance(tol)
    value = _checked_value(value)
    digits = checked_format("fmt", fmt, value)

    bound = _bound(above, below, fmt)
    held = math.isfinite(value) and (above is None or value > above) and (below is None or value < below)
    said = {"name": name, "kind": kind, "statement": statement, "value": value, "bound": bound}
    said |= {"fmt": fmt, "source": source}
    if path := os.environ.get("CASEBOOK_CLAIMS"):
        with open(path, "a", encoding="utf-8") as file:
            file.write(json.dumps({"chapter": chapter(), **said, "seed": settings.seed(), "held": held}) + "\n")
    if not held and os.environ.get("CASEBOOK_CLAIMS_CONTINUE") != "1":
        raise ClaimFailed(f"claim {name!r} ({statement}): measured {value:.6g}, claimed {bound}")

    mark = "✓" if held else "✗"
    origin = f"{kind} ({source})" if source else kind
    emit(
        f"{mark} {statement}: {number_text(digits)}, claimed {bound} · {origin}",
        f'<p class="claim">{mark} <strong>{html.escape(statement)}</strong>: {number_html(digits, value)}, '
        f"claimed {html.escape(bound)} · <em>{html.escape(origin)}</em></p>",
        {"type": "claim", **said, "tol": tol},
    )
