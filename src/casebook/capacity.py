"""Step 1, estimates with units: each is a quantity that refuses to be added to something of another kind.

Build quantities from :data:`units` and pass them on::

    rate = mean_rate(1e9 * units.request / units.day)
    cores(rate, 5 * units.ms / units.request).to("core")
"""

import math
from collections.abc import Mapping
from typing import TypeAlias

import numpy as np
import pandas as pd
import pint

from casebook import validate

__all__ = [
    "Estimate", "cores", "cost_per_million", "machines", "mean_rate", "memory", "peak_rate", "show", "storage", "units",
]  # fmt: skip

Estimate: TypeAlias = pint.Quantity

# Only what a capacity estimate speaks of. In pint's own registry a byte is a pure number, and a storage that was
# divided by a byte too many would pass as a count.
units: pint.UnitRegistry = pint.UnitRegistry(None)
units.load_definitions(
    [
        "micro- = 1e-6 = u-", "milli- = 1e-3 = m-",
        "kilo- = 1e3 = k-", "mega- = 1e6 = M-", "giga- = 1e9 = G-", "tera- = 1e12 = T-", "peta- = 1e15 = P-",
        "kibi- = 2**10 = Ki-", "mebi- = 2**20 = Mi-", "gibi- = 2**30 = Gi-", "tebi- = 2**40 = Ti-",
        "second = [time] = s", "minute = 60 * second", "hour = 60 * minute", "day = 24 * hour", "week = 7 * day",
        "month = 30 * day", "year = 365 * day",
        "byte = [information] = B", "bit = byte / 8",
        "request = [request]", "row = [row]", "core = [core]", "machine = [machine]", "USD = [currency]",
    ]
)  # fmt: skip


def mean_rate(daily: Estimate) -> Estimate:
    """Mean rate over a day, in requests or rows a second.

    Args:
        daily: how many a day, such as ``1e9 * units.request / units.day``.

    Raises:
        ValueError: another unit, or a number that is negative or not finite.
    """
    what = "row" if _compatible(daily, "row / day") else "request"
    return _checked("daily", daily, f"{what} / day").to(f"{what} / second")


def peak_rate(mean: Estimate, peak_to_mean: float = 2.0) -> Estimate:
    """Rate in the busiest hours, which is what machines are bought for.

    Args:
        mean: mean rate, in requests or rows over a time.
        peak_to_mean: busiest over mean, at least 1; 2 to 3 for one time zone's day is an assumption to state aloud.

    Raises:
        ValueError: another unit, a negative rate, a ratio below 1.
    """
    what = "row" if _compatible(mean, "row / second") else "request"
    rate = _checked("mean", mean, f"{what} / second").to(f"{what} / second")
    return rate * validate.number("peak_to_mean", peak_to_mean, least=1)


def cores(rate: Estimate, time_per_request: Estimate, utilisation: float = 0.7) -> Estimate:
    """Cores that keep up with a rate: rate x time per request / utilisation (Little's law for busy cores).

    Args:
        rate: requests over a time.
        time_per_request: time that one core works on one request, such as ``5 * units.ms / units.request``.
        utilisation: share of the time that cores may be busy, in (0, 1]; queues grow without bound near 1.

    Raises:
        ValueError: another unit, a negative number, a utilisation outside (0, 1].
    """
    busy = _checked("rate", rate, "request / second") * _checked("time_per_request", time_per_request, "ms / request")
    return busy.to("dimensionless").magnitude / _utilisation(utilisation) * units.core


def storage(rate: Estimate, size: Estimate, retention: Estimate, replication: int = 1) -> Estimate:
    """Bytes on disk: rows a day x bytes a row x days kept x copies.

    Args:
        rate: rows over a time.
        size: bytes of a row, such as ``500 * units.byte / units.row``.
        retention: how long rows are kept.
        replication: copies of every row, at least 1.

    Raises:
        ValueError: another unit, a negative number, fewer than one copy.
    """
    kept = _checked("rate", rate, "row / day") * _checked("retention", retention, "day")
    return (kept * _checked("size", size, "byte / row")).to("byte") * validate.positive_int("replication", replication)


def memory(rows: Estimate, size: Estimate, replication: int = 1) -> Estimate:
    """Bytes in memory: rows held x bytes a row x copies. An embedding table of d float32 has 4 d bytes a row.

    Args:
        rows: rows held, such as ``1e8 * units.row``.
        size: bytes of a row, such as ``64 * 4 * units.byte / units.row``.
        replication: copies of every row, at least 1.

    Raises:
        ValueError: another unit, a negative number, fewer than one copy.
    """
    held = _checked("rows", rows, "row") * _checked("size", size, "byte / row")
    return held.to("byte") * validate.positive_int("replication", replication)


def machines(peak: Estimate, rate_per_machine: Estimate, *, utilisation: float = 0.7, zones: int = 1) -> Estimate:
    """Machines that serve the peak below full load and, with several zones, after any one zone is lost.

    Args:
        peak: requests over a time, at the busiest.
        rate_per_machine: what one machine serves at full load, such as
            ``500 * units.request / units.s / units.machine``.
        utilisation: share of full load to plan for, in (0, 1].
        zones: zones that the machines are spread over evenly, at least 1.

    Returns:
        A whole number of machines, the same in every zone.

    Raises:
        ValueError: another unit, a negative peak, a machine that serves nothing, fewer than one zone.
    """
    zones = validate.positive_int("zones", zones)
    each = _checked("rate_per_machine", rate_per_machine, "request / second / machine", positive=True)
    needed = (_checked("peak", peak, "request / second") / (each * _utilisation(utilisation))).to("machine").magnitude
    return zones * math.ceil(needed / max(zones - 1, 1)) * units.machine


def cost_per_million(price: Estimate, rate_per_machine: Estimate, utilisation: float = 0.7) -> Estimate:
    """Dollars for a million requests: price of a machine over what it serves in the same time.

    Args:
        price: price of a machine, such as ``0.4 * units.USD / units.hour / units.machine``.
        rate_per_machine: what one machine serves at full load, such as
            ``500 * units.request / units.s / units.machine``.
        utilisation: share of full load that it carries on average, in (0, 1].

    Returns:
        US dollars for a million requests, in ``USD / megarequest``.

    Raises:
        ValueError: another unit, a negative price, a machine that serves nothing.
    """
    each = _checked("rate_per_machine", rate_per_machine, "request / second / machine", positive=True)
    price = _checked("price", price, "USD / hour / machine")
    return (price / (each * _utilisation(utilisation))).to("USD / megarequest")


def show(estimates: Mapping[str, tuple[str, Estimate]]) -> pd.DataFrame:
    """A table of estimates.

    Args:
        estimates: name of each, with the formula in words and the quantity, in the unit to be shown.

    Returns:
        A row for each, in order: ``quantity``, ``formula``, ``value``, ``unit``.

    Raises:
        ValueError: no estimate, or a value that is not a quantity of :data:`units`.
    """
    if not estimates:
        raise ValueError("estimates is empty: expected at least one")
    rows = []
    for name, (formula, value) in estimates.items():
        if not _ours(value):
            raise ValueError(f"estimates[{name!r}] is {value!r}: expected a quantity of casebook.capacity.units")
        rows.append((name, formula, float(value.magnitude), f"{value.units:~P}"))
    return pd.DataFrame(rows, columns=["quantity", "formula", "value", "unit"])


def _ours(value: object) -> bool:
    return isinstance(value, units.Quantity)


def _compatible(value: object, unit: str) -> bool:
    return isinstance(value, units.Quantity) and value.is_compatible_with(unit)


def _checked(name: str, value: Estimate, unit: str, *, positive: bool = False) -> Estimate:
    """The value, if it is a finite quantity of the unit's kind, at least 0 or above it."""
    expected = f"expected a quantity in {unit}, {'above' if positive else 'at least'} 0"
    if not _compatible(value, unit):
        raise ValueError(f"{name} is {value}: {expected}")
    magnitude = value.magnitude
    if np.ndim(magnitude) > 0 or not np.isfinite(magnitude) or magnitude < 0 or (positive and magnitude == 0):
        raise ValueError(f"{name} is {value}: {expected}")
    return value


def _utilisation(value: float) -> float:
    return validate.number("utilisation", value, above=0, most=1)
