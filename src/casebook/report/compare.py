"""A re-executed notebook against the stored one: numbers within their tolerance, figures by their pixels."""

import base64
import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["differences"]

Output = Mapping[str, Any]

MOVED = 48  # of 255, in any colour channel: what the smoothing of a line's edge stays below
INK = 200  # a pixel with a channel below this is not background


def _records(outputs: Sequence[Output]) -> dict[str, Mapping[str, Any]]:
    found = (output.get("metadata", {}).get("casebook") for output in outputs)
    return {record["name"]: record for record in found if record}


def _figures(outputs: Sequence[Output]) -> list[tuple[str, float | None, str]]:
    """Name, tolerance and data of each picture."""
    pictures = []
    for output in outputs:
        if "image/png" in output.get("data", {}):
            record = output.get("metadata", {}).get("casebook", {})
            pictures.append((record.get("name", "picture"), record.get("tol", 0.02), output["data"]["image/png"]))
    return pictures


def _same(old: Any, new: Any, fmt: str, tol: float) -> bool:
    """Equal text, or numbers that print alike or differ by at most ``tol`` of the larger one."""
    numbers = all(isinstance(value, (int, float)) for value in (old, new))
    if not numbers or old == new:
        return bool(old == new)
    return format(old, fmt) == format(new, fmt) or abs(old - new) <= tol * max(abs(old), abs(new))


def _value_differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    if "value" not in old or old["tol"] is None or _same(old["value"], new["value"], old["fmt"], old["tol"]):
        return []
    return [f"{old['name']}: stored {old['value']:.6g}, now {new['value']:.6g}, tolerance {old['tol']:g}"]


def _table_differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    name = old["name"]
    shapes = [(list(record["columns"]), len(record["rows"])) for record in (old, new)]
    if shapes[0] != shapes[1]:
        return [f"{name}: stored columns and rows {shapes[0]}, now {shapes[1]}"]
    return [
        f"{name}[{row_old[0]}, {column}]: stored {a}, now {b}, tolerance {old['tol']:g}"
        for row_old, row_new in zip(old["rows"], new["rows"], strict=True)
        for column, fmt, a, b in zip(old["columns"], old["formats"], row_old, row_new, strict=True)
        if column not in old["volatile"] and not _same(a, b, fmt, old["tol"])
    ]


def _pixels(data: str) -> NDArray[np.int64]:
    from PIL import Image

    return np.asarray(Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB"), dtype=np.int64)


def _ink_moved(old: str, new: str) -> float:
    """The share of the stored picture's ink that differs."""
    a, b = _pixels(old), _pixels(new)
    if a.shape != b.shape:
        return 1.0
    ink = int((np.minimum(a, b).min(axis=2) < INK).sum())
    return float((np.abs(a - b).max(axis=2) > MOVED).sum()) / max(1, ink)


def differences(stored: Sequence[Output], fresh: Sequence[Output]) -> list[str]:
    """What differs between the outputs of one cell, stored and just made, beyond the tolerance of each.

    Args:
        stored: outputs as nbformat gives them.
        fresh: likewise.

    Returns:
        A line for each difference; empty if there is none.
    """
    old, new = _records(stored), _records(fresh)
    if list(old) != list(new):
        return [f"stored results {list(old)}, now {list(new)}"]
    found: list[str] = []
    for name in old:
        compare = _table_differences if old[name]["type"] == "table" else _value_differences
        found += compare(old[name], new[name])
    figures = _figures(stored), _figures(fresh)
    if len(figures[0]) != len(figures[1]):
        return [*found, f"stored pictures: {len(figures[0])}, now {len(figures[1])}"]
    for (name, tol, before), (_, _, after) in zip(*figures, strict=True):
        moved = 0.0 if tol is None else _ink_moved(before, after)
        if tol is not None and moved > tol:
            found.append(f"{name}: {moved:.1%} of its ink moved, tolerance {tol:.1%}")
    return found
