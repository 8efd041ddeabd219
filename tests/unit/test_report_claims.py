"""Claims hold, fail by name, and leave a record."""

import json
import math

import numpy as np
import pytest

from casebook.report import KINDS, ClaimFailed, claim

MEASURED = KINDS[1]


@pytest.fixture
def lines(monkeypatch, tmp_path):
    """Reads the file of claims, which the settings of the run name."""
    file = tmp_path / "claims.jsonl"
    monkeypatch.setenv("CASEBOOK_CLAIMS", str(file))
    monkeypatch.setenv("CASEBOOK_CHAPTER", "cases/x/1_model")
    monkeypatch.setenv("CASEBOOK_SEED", "3")
    return lambda: [json.loads(line) for line in file.read_text("utf-8").splitlines()]


def test_a_claim_shows_statement_value_bound_and_kind(shown):
    claim("lift", "trees beat <lines>", 1.4567, kind=MEASURED, above=1.05, fmt=".2f")
    [(data, metadata)] = shown
    assert data["text/plain"] == "✓ trees beat <lines>: ⟨1.46⟩, claimed > 1.05 · measured here"
    assert "<strong>trees beat &lt;lines&gt;</strong>" in data["text/html"]
    assert '<data value="1.4567">1.46</data>' in data["text/html"]
    assert metadata["casebook"] == {
        "type": "claim", "name": "lift", "kind": MEASURED, "statement": "trees beat <lines>", "value": 1.4567,
        "bound": "> 1.05", "fmt": ".2f", "source": None, "tol": 0.02,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("value", "above", "below", "holds"),
    [
        (2, 1, None, True),
        (1, 1, None, False),
        (0, None, 1, True),
        (1, None, 1, False),
        (2, 1, 3, True),
        (4, 1, 3, False),
    ],
)
def test_bounds_are_strict_and_both_count(shown, value, above, below, holds):
    if holds:
        claim("c", "said", value, kind=MEASURED, above=above, below=below)
        assert shown
    else:
        with pytest.raises(ClaimFailed):
            claim("c", "said", value, kind=MEASURED, above=above, below=below)
        assert not shown


def test_a_failed_claim_names_itself_the_value_and_the_bound(shown, lines):
    with pytest.raises(ClaimFailed, match=r"claim 'lift' \(trees win\): measured 0\.98, claimed > 1\.05 and < 2"):
        claim("lift", "trees win", 0.98, kind=MEASURED, above=1.05, below=2)
    assert lines() == [
        {
            "chapter": "cases/x/1_model", "name": "lift", "kind": MEASURED, "statement": "trees win", "value": 0.98,
            "bound": "> 1.05 and < 2", "fmt": ".3g", "source": None, "seed": 3, "held": False,
        }
    ]  # fmt: skip


def test_a_run_over_seeds_goes_on_after_a_failure(shown, lines, monkeypatch):
    monkeypatch.setenv("CASEBOOK_CLAIMS_CONTINUE", "1")
    claim("lift", "trees win", 0.98, kind=MEASURED, above=1.05)
    claim("ratio", "it is finite", math.nan, kind=MEASURED, below=1)
    claim("other", "and so on", np.float64(2), kind=MEASURED, above=1)
    assert [line["held"] for line in lines()] == [False, False, True]
    assert shown[0][0]["text/plain"].startswith("✗ ")


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_what_is_not_finite_never_holds(shown, value):
    with pytest.raises(ClaimFailed):
        claim("c", "said", value, kind=MEASURED, above=0)


def test_a_bound_in_percent_where_the_value_is(shown):
    claim("share", "said", 0.5, kind=KINDS[2], source="he2014", above=0.025, fmt=".0%")
    assert shown[0][0]["text/plain"] == "✓ said: ⟨50%⟩, claimed > 2.5% · also seen in practice (he2014)"


def test_the_chapter_is_the_folder_below_notebooks(shown, lines, monkeypatch, tmp_path):
    monkeypatch.delenv("CASEBOOK_CHAPTER")
    folder = tmp_path / "notebooks" / "cases" / "x"
    folder.mkdir(parents=True)
    monkeypatch.chdir(folder)
    claim("c", "said", 1, kind=MEASURED, above=0)
    assert lines()[0]["chapter"] == "cases/x"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": "Lift!"}, "name is 'Lift!': expected lower case"),
        ({"statement": " "}, "statement is ' ': expected one line"),
        ({"value": True}, "value is True: expected a number"),
        ({"value": "1"}, "value is '1': expected a number"),
        ({"kind": "obvious"}, "kind is 'obvious': expected one of by construction"),
        ({"above": None}, "above and below are both None"),
        ({"above": 2, "below": 1}, "above is 2.0: expected less than below, which is 1.0"),
        ({"above": math.nan}, "above is nan: expected a finite number"),
        ({"fmt": ".q"}, "fmt is '.q': expected a format"),
        ({"tol": 2}, "tol is 2: expected a finite number"),
        ({"source": "he2014"}, "source is 'he2014': expected a citation key for 'also seen in practice', and None"),
        ({"kind": KINDS[2]}, "source is None: expected a citation key"),
    ],
)
def test_bad_input_is_refused_by_name(shown, change, message):
    given = {"name": "c", "statement": "said", "value": 1.0, "kind": MEASURED, "above": 0.0} | change
    with pytest.raises(ValueError, match=message):
        claim(**given)
