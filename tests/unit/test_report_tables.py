"""Recorded numbers and tables: what is displayed, what is stored, what is refused."""

import re

import numpy as np
import pandas as pd
import pytest

from casebook.report import record, table

FRAME = pd.DataFrame(
    {
        "model": ["constant", "trees <1>"],
        "share": [0.0, 0.1234],
        "rows": [500, 1200],
        "seconds": [1.5, np.nan],
        "calibrated": [True, False],
    }
)
CAPTION = "Quality and cost of two models"


def test_a_record_shows_and_stores_the_number(shown):
    record("share", np.float64(0.1234), fmt=".1%")
    record("bytes", np.int64(1200), fmt=",d", unit="B", tol=None)
    (first, meta), (second, meta_two) = shown
    assert first["text/plain"] == "share = ⟨12.3%⟩"
    assert first["text/html"] == '<p class="record"><code>share</code> = <data value="0.1234">12.3%</data></p>'
    assert meta["casebook"] == {
        "type": "record", "name": "share", "value": 0.1234, "fmt": ".1%", "tol": 0.02, "unit": "",
    }  # fmt: skip
    assert second["text/plain"] == "bytes = ⟨1,200⟩ B"
    assert meta_two["casebook"]["value"] == 1200 and isinstance(meta_two["casebook"]["value"], int)
    assert meta_two["casebook"]["tol"] is None


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        (("a b", 1), {}, "name is 'a b'"),
        (("a", float("nan")), {}, "value is nan: expected a finite number"),
        (("a", "x"), {}, "value is 'x'"),
        (("a", 1.5), {"fmt": "d"}, "fmt is 'd': expected a format for 1.5"),
        (("a", 1), {"tol": -0.1}, "tol is -0.1"),
    ],
)
def test_bad_records_are_refused(shown, arguments, options, message):
    with pytest.raises(ValueError, match=message):
        record(*arguments, **options)


def test_a_table_stores_plain_values(shown):
    table("ladder", FRAME, caption=CAPTION, formats={"share": ".1%"}, volatile=["seconds"])
    [(data, metadata)] = shown
    stored = metadata["casebook"]
    assert stored["columns"] == list(FRAME)
    assert stored["rows"] == [["constant", 0.0, 500, 1.5, "yes"], ["trees <1>", 0.1234, 1200, None, "no"]]
    assert [type(value) for value in stored["rows"][0][:3]] == [str, float, int]
    assert stored["formats"] == [".3g", ".1%", "d", ".3g", ".3g"]
    assert stored["volatile"] == ["seconds"]
    assert data["text/plain"].splitlines() == [
        CAPTION,
        "model | share | rows | seconds | calibrated",
        "constant | ⟨0.0%⟩ | ⟨500⟩ | ⟨1.5⟩ | yes",
        "trees <1> | ⟨12.3%⟩ | ⟨1200⟩ | – | no",
    ]


def test_a_table_is_accessible(shown):
    table("ladder", FRAME, caption=CAPTION)
    markup = shown[0][0]["text/html"]
    assert f"<caption>{CAPTION}</caption>" in markup
    assert markup.count('<th scope="col"') == 5 and markup.count('<th scope="row"') == 2
    assert not re.search(r"<th[^>]*></th>", markup)
    assert "trees &lt;1&gt;" in markup


def test_a_named_index_becomes_the_first_column(shown):
    table("ladder", FRAME.set_index("model")[["share"]], caption=CAPTION)
    assert shown[0][1]["casebook"]["columns"] == ["model", "share"]


@pytest.mark.parametrize(
    ("frame", "options", "message"),
    [
        ({"a": 1}, {}, "frame is a dict: expected a DataFrame"),
        (FRAME.iloc[:0], {}, r"frame has shape \(0, 5\): expected at least one row"),
        (FRAME.set_axis(["x", "y"]), {}, "frame has an index without a name"),
        (FRAME.set_axis(list("aabcd"), axis=1), {}, "none twice"),
        (FRAME, {"formats": {"sahre": ".1f"}}, "formats has no 'sahre': expected names among"),
        (FRAME, {"formats": {"share": "d"}}, r"formats\['share'\] is 'd'"),
        (FRAME, {"volatile": ["second"]}, "volatile has no 'second'"),
        (FRAME, {"volatile": "seconds"}, "expected a collection of column names"),
        (FRAME, {"caption": "Short"}, "caption is 'Short'"),
        (FRAME, {"tol": None}, "tol is None"),
    ],
)
def test_bad_tables_are_refused(shown, frame, options, message):
    with pytest.raises(ValueError, match=message):
        table("ladder", frame, **({"caption": CAPTION} | options))
