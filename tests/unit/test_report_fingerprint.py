"""A fingerprint changes with what outputs depend on, and with nothing else."""

import json

import pytest

from casebook.report import changes, fingerprint


def cell(text, kind="code", *tags):
    return {"cell_type": kind, "source": [text], "metadata": {"tags": list(tags)}}


def write(path, *cells, stored=""):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"cells": cells, "metadata": {"casebook": {"fingerprint": stored}}}), "utf-8")
    return path


@pytest.fixture
def tree(tmp_path):
    """A small project whose second build takes a definition from the first."""
    (tmp_path / "pyproject.toml").write_text("")
    (tmp_path / "requirements.txt").write_text("numpy==2\n")
    library = tmp_path / "src" / "casebook" / "worlds"
    library.mkdir(parents=True)
    (library / "__init__.py").write_text("")
    (library / "core.py").write_text("x = 1\n")
    (library / "toy.py").write_text("from casebook.worlds.core import (\n    x,\n)\n")
    (library / "other.py").write_text("y = 1\n")
    first = tmp_path / "notebooks" / "cases" / "x" / "1_model.ipynb"
    write(first, cell("def fit(): ...", "code", "reuse"), cell("fit()"))
    second = first.with_name("2_evaluate.ipynb")
    write(second, cell("from casebook.worlds import toy\nm = load('cases/x/1_model')"), cell("Prose", "markdown"))
    cells = json.loads(second.read_text())["cells"]
    write(second, *cells, stored=fingerprint(second))
    return tmp_path


def test_a_fresh_notebook_is_current(tree):
    assert changes(tree / "notebooks/cases/x/2_evaluate.ipynb") == []
    assert changes(tree / "notebooks/cases/x/1_model.ipynb") == ["notebook", "library", "lock"]


@pytest.mark.parametrize(
    ("file", "old", "new", "expected"),
    [
        ("src/casebook/worlds/toy.py", "core import", "core import ", ["library"]),
        ("src/casebook/worlds/core.py", "x = 1", "x = 2", ["library"]),  # imported by what is imported
        ("src/casebook/worlds/other.py", "y = 1", "y = 2", []),  # imported by nobody
        ("requirements.txt", "numpy==2", "numpy==3", ["lock"]),
        ("notebooks/cases/x/2_evaluate.ipynb", "m = load", "n = load", ["notebook"]),
        ("notebooks/cases/x/2_evaluate.ipynb", "Prose", "Better prose", []),
        ("notebooks/cases/x/1_model.ipynb", "def fit(): ...", "def fit(): return 1", ["notebook"]),
        ("notebooks/cases/x/1_model.ipynb", '"fit()"', '"fit() + 1"', []),
    ],
)
def test_it_says_what_changed(tree, file, old, new, expected):
    path = tree / file
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    assert changes(tree / "notebooks/cases/x/2_evaluate.ipynb") == expected


def test_a_new_module_and_a_renamed_one_count(tree):
    core = tree / "src" / "casebook" / "worlds" / "core.py"
    core.rename(core.with_name("heart.py"))
    toy = core.with_name("toy.py")
    toy.write_text(toy.read_text().replace("core", "heart"))
    assert changes(tree / "notebooks/cases/x/2_evaluate.ipynb") == ["library"]


def test_bad_input_is_refused(tree, tmp_path_factory):
    with pytest.raises(ValueError, match="expected an existing notebook"):
        fingerprint(tree / "notebooks" / "none.ipynb")
    alone = write(tmp_path_factory.mktemp("alone") / "a.ipynb")
    with pytest.raises(ValueError, match=r"below a folder with a pyproject\.toml"):
        fingerprint(alone)
