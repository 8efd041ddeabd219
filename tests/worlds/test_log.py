"""The log: what was known when."""

import numpy as np
import pandas as pd
import pytest

from casebook.worlds.core import Delayed, Log

LATE = (Delayed("bought", "bought_time"),)


def log() -> Log:
    return Log(
        pd.DataFrame(
            {
                "t": [0.0, 0.5, 1.0, 2.5],
                "bought": np.array([1, 0, 1, 1], dtype=np.int8),
                "bought_time": [0.2, np.nan, 3.0, 2.5],
            }
        ),
        LATE,
    )


@pytest.mark.parametrize(
    ("now", "bought", "when"),
    [
        (-1, [], []),
        (0.1, [0], [np.nan]),
        (0.2, [1], [0.2]),
        (2.9, [1, 0, 0, 1], [0.2, np.nan, np.nan, 2.5]),
        (3, [1, 0, 1, 1], [0.2, np.nan, 3.0, 2.5]),
    ],
)
def test_asof(now, bought, when):
    seen = log().asof(now)
    assert seen["bought"].tolist() == bought and seen["bought"].dtype == np.int8
    np.testing.assert_array_equal(seen["bought_time"], when)


def test_asof_leaves_the_log_as_it_is():
    whole = log()
    seen = whole.asof(0.1)
    seen.loc[:, "t"] = -1.0
    pd.testing.assert_frame_equal(whole.frame, log().frame)


def test_between_is_half_open_and_knows_the_late_labels():
    assert log().between(0.5, 2.5)["bought"].tolist() == [0, 1]
    assert len(log()) == 4 and len(log().between(5, 6)) == 0


def test_bad_input():
    with pytest.raises(ValueError, match=r"frame has columns \['x'\]: expected a column 't'"):
        Log(pd.DataFrame({"x": [1]}))
    with pytest.raises(ValueError, match=r"frame has columns \['t'\]: expected those of .*'bought_time'"):
        Log(pd.DataFrame({"t": [1.0]}), LATE)
    with pytest.raises(ValueError, match="t is nan: expected a finite number"):
        log().asof(float("nan"))
    with pytest.raises(ValueError, match=r"end is 1: expected a finite number and above 1"):
        log().between(1, 1)
