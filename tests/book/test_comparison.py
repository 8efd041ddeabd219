"""nbval with the project's own conftest.py and sanitize.cfg: what may move passes, what may not fails."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

ROOT = Path(__file__).resolve().parents[2]
OPENING = "import os, casebook\nfrom casebook.report import KINDS, claim, record\nfactor = 1.0"
# Cells whose outputs are stored and then made again after an edit: of each, whether the comparison lets it through.
CELLS = [
    (OPENING, OPENING, "passed"),
    ("record('within', 2 * factor)", "record('within', 2.02 * factor)", "passed"),
    ("record('beyond', 2 * factor)", "record('beyond', 2.2 * factor)", "failed"),
    ("record('seconds', 2 * factor, tol=None)", "record('seconds', 9 * factor, tol=None)", "passed"),
    ("record('unit', 2, unit='ms')", "record('unit', 2, unit='s')", "failed"),
    ("print('words')", "print('other words')", "failed"),
    ("record('gone', 2)", "factor = 1", "failed"),
    ("claim('positive', 'the slope is positive', factor, kind=KINDS[1], above=0)",
     "claim('positive', 'the slope is positive', -factor, kind=KINDS[1], above=0)", "failed"),
]  # fmt: skip


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """A tree with one notebook that was executed and then edited."""
    root = tmp_path_factory.mktemp("tree")
    for name in ("conftest.py", "sanitize.cfg"):
        shutil.copy(ROOT / name, root)
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(stored) for stored, _, _ in CELLS])
    NotebookClient(notebook, kernel_name="python3", record_timing=False).execute()
    for cell, (_, edited, _) in zip(notebook.cells, CELLS, strict=True):
        cell.source = edited
    nbformat.write(notebook, root / "build.ipynb")
    return root


def run(tree, **environment):
    """The outcome of each cell, and all that was printed."""
    command = [sys.executable, "-m", "pytest", "-v", "--color=no", "-p", "no:cacheprovider", "--nbval"]
    command += ["--nbval-current-env", "--nbval-sanitize-with=sanitize.cfg", "build.ipynb"]
    done = subprocess.run(
        command, cwd=tree, env=os.environ | environment, capture_output=True, text=True, timeout=120, check=False
    )
    return [word.lower() for word in re.findall(r"::Cell \d+ (\w+)", done.stdout)][: len(CELLS)], done.stdout


def test_what_may_not_move_fails(tree):
    outcomes, printed = run(tree, CASEBOOK_COMPARE="1")
    assert outcomes == [outcome for _, _, outcome in CELLS]
    assert "beyond: stored 2, now 2.2, tolerance 0.02" in printed
    assert "claim 'positive' (the slope is positive): measured -1, claimed > 0" in printed
    assert re.search(r"\d s  build\.ipynb", printed), "the summary gives the seconds of each notebook"


def test_elsewhere_only_claims_count(tree):
    outcomes, _ = run(tree, CASEBOOK_COMPARE="0")
    assert outcomes == ["passed"] * (len(CELLS) - 1) + ["failed"]
