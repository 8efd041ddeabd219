"""The comparison of a re-executed cell with the stored one lets through what may move, and nothing else."""

import copy

import matplotlib
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

matplotlib.use("Agg")

import matplotlib.pyplot as plt

from casebook.report import KINDS, claim, figure, record, table
from casebook.report.compare import differences


@pytest.fixture
def outputs(shown):
    """Runs display functions and gives the outputs of the cell."""

    def run(*calls):
        shown.clear()
        for call in calls:
            call()
        return [{"data": dict(data), "metadata": copy.deepcopy(metadata)} for data, metadata in shown]

    return run


def say(value, **options):
    return lambda: claim("lift", "trees win", value, kind=KINDS[1], above=0, **options)


def test_a_value_may_move_within_its_tolerance(outputs):
    stored = outputs(say(2.0, tol=0.02))
    assert differences(stored, outputs(say(2.03, tol=0.02))) == []
    assert differences(stored, outputs(say(2.05, tol=0.02))) == ["lift: stored 2, now 2.05, tolerance 0.02"]


def test_the_stored_tolerance_counts(outputs):
    assert differences(outputs(say(2.0, tol=0.02)), outputs(say(3.0, tol=1)))


def test_what_prints_alike_is_alike(outputs):
    assert differences(outputs(say(0.0011, fmt=".2f")), outputs(say(0.0009, fmt=".2f"))) == []


def test_a_timing_is_never_compared(outputs):
    assert differences(outputs(say(2.0, tol=None)), outputs(say(900.0, tol=None))) == []


def test_results_may_not_vanish_or_swap(outputs):
    first, second = (lambda name=name: record(name, 1) for name in ("one", "two"))
    stored = outputs(first, second)
    assert differences(stored, outputs(first)) == ["stored results ['one', 'two'], now ['one']"]
    assert differences(stored, outputs(second, first))


@given(st.floats(0.001, 1e6), st.floats(-0.0199, 0.0199))
def test_tolerance_is_relative(value, share):
    def output(number):
        return [{"metadata": {"casebook": {"type": "record", "name": "n", "value": number, "fmt": ".9g", "tol": 0.02}}}]

    assert differences(output(value), output(value * (1 + share))) == []
    assert differences(output(value), output(value * 1.05))


@pytest.mark.parametrize(
    ("column", "value", "differs"),
    [
        ("share", 0.506, False),
        ("share", 0.6, True),
        ("share", None, True),
        ("rows", 501, False),
        ("rows", 600, True),
        ("seconds", 99.0, False),
        ("model", "forest", True),
    ],
)
def test_a_table_is_compared_cell_by_cell(outputs, column, value, differs):
    def ladder(**change):
        cells = {"model": "trees", "share": 0.5, "rows": 500, "seconds": 1.0} | change
        frame = pd.DataFrame([cells, {"model": "last", "share": 0.1, "rows": 5, "seconds": 2.0}])
        return lambda: table("ladder", frame, caption="Quality and cost", volatile=["seconds"])

    found = differences(outputs(ladder()), outputs(ladder(**{column: value})))
    assert bool(found) == differs
    if differs and column != "model":
        assert f"ladder[trees, {column}]" in found[0]


def test_a_table_may_not_lose_a_row(outputs):
    def ladder(rows):
        return lambda: table("ladder", pd.DataFrame({"a": range(rows)}), caption="Quality and cost")

    assert "stored columns and rows" in differences(outputs(ladder(3)), outputs(ladder(2)))[0]


def draw(top, *, tol=0.02, size=(4, 3)):
    def show():
        fig, axes = plt.subplots(figsize=size)
        axes.plot([0, 1, 2], [0, top, 1])
        axes.set(xlabel="rank", ylabel="share")
        figure("curve", fig, alt="A line with a bend in its middle.", caption="A line that bends.", tol=tol)

    return show


def test_figures_are_compared_by_their_pixels(outputs):
    stored = outputs(draw(1.0))
    assert differences(stored, outputs(draw(1.0))) == []
    assert "of its ink moved" in differences(stored, outputs(draw(0.9)))[0]
    assert "100.0%" in differences(stored, outputs(draw(1.0, size=(4, 4))))[0]
    assert differences(outputs(draw(1.0, tol=None)), outputs(draw(0.9, tol=None))) == []


def test_a_picture_may_not_vanish(outputs):
    stored, fresh = outputs(draw(1.0)), outputs(draw(1.0))
    del fresh[0]["data"]["image/png"]
    assert differences(stored, fresh) == ["stored pictures: 1, now 0"]
