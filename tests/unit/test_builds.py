"""Definitions of one build, used in another."""

import dataclasses
import inspect
import json
import pickle
import traceback

import pytest

from casebook.builds import load

REUSE = {"tags": ["reuse"]}


@pytest.fixture
def notebook(tmp_path, monkeypatch):
    """Writes a build into a tree in which the test then runs."""
    folder = tmp_path / "notebooks" / "cases" / "x"
    folder.mkdir(parents=True)
    monkeypatch.chdir(folder)

    def write(*cells):
        found = [{"cell_type": kind, "source": [text], "metadata": metadata} for kind, text, metadata in cells]
        (folder / "1_model.ipynb").write_text(json.dumps({"cells": found}), "utf-8")

    return write


def test_only_tagged_cells_run_in_order(notebook):
    notebook(
        ("markdown", "raise RuntimeError", REUSE),
        ("code", "import math\nK = 2", REUSE),
        ("code", "raise RuntimeError('heavy')", {}),
        ("code", "def area(r):\n    return K * math.floor(r)", REUSE),
    )
    build = load("cases/x/1_model")
    assert build.area(2.7) == 4
    assert build.K == 2


def test_classes_know_their_module_and_their_source(notebook):
    source = "import dataclasses\n\n@dataclasses.dataclass\nclass Ad:\n    bid: 'float'\n"
    notebook(("code", "K = 2", REUSE), ("code", source, REUSE), ("code", "def area(r):\n    return K * r", REUSE))
    build = load("cases/x/1_model")
    ad = build.Ad(1.5)
    assert pickle.loads(pickle.dumps(ad)) == ad
    assert dataclasses.fields(ad)[0].name == "bid"
    assert inspect.getsource(build.Ad) == source.partition("\n\n")[2]
    assert inspect.getsource(build.area) == "def area(r):\n    return K * r"


def test_each_load_is_new(notebook):
    notebook(("code", "seen = []", REUSE))
    load("cases/x/1_model").seen.append(1)
    assert load("cases/x/1_model").seen == []


def test_unknown_builds_are_named(notebook):
    notebook(("code", "x = 1", REUSE))
    with pytest.raises(ValueError, match=r"name is 'cases/x/9_none': expected one of cases/x/1_model$"):
        load("cases/x/9_none")
    with pytest.raises(ValueError, match="name is '': expected that of a build"):
        load("")


def test_a_build_without_tagged_cells_is_refused(notebook):
    notebook(("code", "x = 1", {}))
    with pytest.raises(ValueError, match="expected a build with cells tagged 'reuse'"):
        load("cases/x/1_model")


def test_an_error_says_in_which_cell(notebook):
    notebook(("code", "x = 1", {}), ("code", "y = x + 1", REUSE))
    with pytest.raises(NameError) as caught:
        load("cases/x/1_model")
    assert "in code cell 2 of cases/x/1_model" in "".join(traceback.format_exception(caught.value))
