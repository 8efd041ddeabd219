"""Estimates by hand, and the units that they refuse."""

import pint
import pytest
from hypothesis import given
from hypothesis import strategies as st

from casebook.capacity import cores, cost_per_million, machines, mean_rate, memory, peak_rate, show, storage, units

PER_SECOND = units.request / units.second
SERVES = 500 * PER_SECOND / units.machine


def test_rates():
    assert mean_rate(86_400 * units.request / units.day) == 1 * PER_SECOND
    assert mean_rate(864 * units.row / units.day).to("row / s").magnitude == pytest.approx(0.01)
    assert peak_rate(100 * PER_SECOND, 3).to("request / s").magnitude == 300


def test_a_million_requests_of_a_millisecond_need_a_thousand_cores():
    """1 M requests/s x 100 ads x 10 µs is 1,000 cores at full use, about 1,429 at 70 %."""
    scoring = 100 * 10 * units.us / units.request
    assert cores(1e6 * PER_SECOND, scoring, 1).to("core").magnitude == pytest.approx(1000)
    assert cores(1e6 * PER_SECOND, scoring).magnitude == pytest.approx(1428.57, abs=0.01)


def test_storage_and_memory():
    kept = storage(1e9 * units.row / units.day, 200 * units.byte / units.row, 30 * units.day, 3)
    assert kept.to("TB").magnitude == pytest.approx(18)
    assert memory(1e7 * units.row, 64 * 4 * units.byte / units.row, 2).to("GB").magnitude == pytest.approx(5.12)
    assert memory(8 * units.row, 1 * units.GiB / units.row).to("byte").magnitude == 8 * 2**30


def test_machines_survive_the_loss_of_a_zone():
    # 3,500 / (500 x 0.7) is 10: in three zones any two must hold 10, so 5 in each.
    assert machines(3500 * PER_SECOND, SERVES).magnitude == 10
    assert machines(3500 * PER_SECOND, SERVES, zones=2).magnitude == 20
    assert machines(3500 * PER_SECOND, SERVES, zones=3).magnitude == 15
    assert machines(0 * PER_SECOND, SERVES).magnitude == 0


@given(st.floats(1, 1e7), st.integers(2, 6))
def test_what_is_left_after_a_zone_serves_the_peak(peak, zones):
    bought = machines(peak * PER_SECOND, SERVES, zones=zones).magnitude
    assert bought % zones == 0
    assert bought * (zones - 1) / zones * 350 >= peak * (1 - 1e-9)
    assert (bought - zones) * (zones - 1) / zones * 350 <= peak


def test_cost_per_million():
    cost = cost_per_million(0.36 * units.USD / units.hour / units.machine, SERVES, 1)
    assert cost.to("USD / request").magnitude * 1e6 == pytest.approx(0.2)
    assert cost.magnitude == pytest.approx(0.2)


def test_show_keeps_the_unit_that_it_is_given():
    frame = show({"log": ("rows x bytes", (2e12 * units.byte).to("TB")), "rate": ("a day / 86,400 s", 5 * PER_SECOND)})
    assert frame.to_dict("list") == {
        "quantity": ["log", "rate"],
        "formula": ["rows x bytes", "a day / 86,400 s"],
        "value": [2.0, 5.0],
        "unit": ["TB", "request/s"],
    }


def test_kinds_do_not_mix():
    assert not (1 * units.byte).is_compatible_with("dimensionless")
    for other in (units.row / units.second, units.request, units.byte / units.second, units.core / units.second):
        with pytest.raises(pint.DimensionalityError):
            1 * PER_SECOND + 1 * other


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: mean_rate(5), "daily is 5: expected a quantity in request / day, at least 0"),
        (lambda: mean_rate(-5 * units.request / units.day), "daily is -5.0 request / day"),
        (lambda: mean_rate(float("nan") * units.request / units.day), "daily is nan"),
        (lambda: mean_rate([1, 2] * units.request / units.day), "daily is .*: expected a quantity"),
        (lambda: mean_rate(pint.UnitRegistry().Quantity(5, "1 / day")), "daily is 5"),
        (lambda: peak_rate(5 * PER_SECOND, 0.5), "peak_to_mean is 0.5"),
        (lambda: cores(5 * PER_SECOND, 5 * units.ms), "time_per_request is 5 millisecond: expected a quantity in ms"),
        (lambda: cores(5 * PER_SECOND, 5 * units.ms / units.request, 0), "utilisation is 0"),
        (lambda: storage(5 * PER_SECOND, 5 * units.byte / units.row, units.day * 1), "rate is 5 request / second"),
        (lambda: memory(5 * units.row, 5 * units.byte), "size is 5 byte"),
        (lambda: memory(5 * units.row, 5 * units.byte / units.row, 0), "replication is 0"),
        (lambda: machines(5 * PER_SECOND, 0 * SERVES), "rate_per_machine is 0.0.*above 0"),
        (lambda: machines(5 * PER_SECOND, SERVES, zones=0), "zones is 0"),
        (lambda: cost_per_million(5 * units.USD, SERVES), "price is 5 USD"),
        (lambda: show({}), "estimates is empty"),
        (lambda: show({"x": ("", 5)}), r"estimates\['x'\] is 5: expected a quantity"),
    ],
)
def test_bad_input_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
