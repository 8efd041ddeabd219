"""The Makefile and what it calls: serving, executing, seeds, faults; and what must say the same in several files."""

import json
import re
import shutil
import socket
import subprocess
import tomllib
from pathlib import Path

import nbformat
import pytest
import yaml

import casebook
import execute
import faults
import running
import seeds
import serve

ROOT = Path(__file__).resolve().parents[2]
MAKEFILE = (ROOT / "Makefile").read_text()
TARGETS = re.search(r"^\.PHONY: (.*)$", MAKEFILE, re.MULTILINE)[1].split()


def make(*arguments):
    return subprocess.run(["make", *arguments], cwd=ROOT, capture_output=True, text=True)


def test_help_lists_every_target_with_a_line():
    assert set(TARGETS) == set(re.findall(r"^([a-z]+):", MAKEFILE, re.MULTILINE))
    said = make("help").stdout
    for target in TARGETS:
        assert re.search(rf"^  make {target} +\S+ \S+", said, re.MULTILINE), target


@pytest.mark.parametrize("target", TARGETS)
def test_every_target_can_be_planned_and_its_tools_are_there(target):
    done = make("-n", target)
    assert done.returncode == 0, done.stderr
    for tool in re.findall(r"tools/\w+\.py", done.stdout):
        assert (ROOT / tool).is_file(), tool


def test_a_missing_python_is_one_clear_line():
    done = make("book", "PYTHON=python-that-is-not-there")
    assert done.returncode and done.stderr.startswith("No python-that-is-not-there here: install Python 3.11")


def test_the_makefile_needs_nothing_newer_than_make_3_81():
    for newer in (".ONESHELL", "$(file", ".RECIPEPREFIX", "&:", "::=", "!=", "$(guile", "$(intcmp"):
        assert newer not in MAKEFILE


def test_a_port_in_use_is_one_clear_line(capsys):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert serve.main(str(port)) == 1
    said = capsys.readouterr().err
    assert said == f"Port {port} is in use: choose another, such as `make serve PORT={port + 1}`\n"


@pytest.mark.parametrize("port", ["http", "-1", "65536", ""])
def test_a_port_that_is_none_is_refused(port, capsys):
    assert serve.main(port) == 2
    assert "expected a number" in capsys.readouterr().err


# -- running notebooks ----------------------------------------------------------------------------------------------

CELLS = {
    "first": "import casebook\nfrom casebook import report, rng, settings\nx = rng.stream('toy', 'x').normal()",
    "held": "report.claim('held', 'ten is more than five', 10, kind='by construction', above=5)",
    "luck": "report.claim('luck', 'the seed is not one', settings.seed(), kind='measured here', below=1)",
    "stop": "raise SystemError('it stops here')",
}


@pytest.fixture
def tree(tmp_path):
    """A project with the real library and one small notebook."""
    for name in ("pyproject.toml", "requirements.txt"):
        shutil.copy(ROOT / name, tmp_path)
    shutil.copytree(ROOT / "src", tmp_path / "src", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "tests").mkdir()
    write(tmp_path, "first", "held", "luck")
    return tmp_path


def write(tree, *cells):
    """The tree's notebook; returns its path."""
    path = tree / "notebooks" / "cases" / "toy" / "1_model.ipynb"
    path.parent.mkdir(parents=True, exist_ok=True)
    cells = [nbformat.v4.new_code_cell(CELLS[name], metadata={"scrolled": True}) for name in cells]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), path)
    return path


def test_execute_stores_outputs_and_nothing_of_the_machine(tree, capsys):
    path = write(tree, "first", "held")
    assert execute.execute(path, tree) is None
    stored = json.loads(path.read_text())
    assert [cell["execution_count"] for cell in stored["cells"]] == [1, 2]
    assert all(cell["metadata"] == {} for cell in stored["cells"])
    assert stored["metadata"]["language_info"] == {"name": "python"}
    assert stored["metadata"]["casebook"]["fingerprint"] == casebook.report.fingerprint(path)
    assert stored["cells"][1]["outputs"][0]["metadata"]["casebook"]["value"] == 10
    assert re.match(r"stored +\d+\.\d s +[1-9]\d* MB  cases/toy/1_model\n", capsys.readouterr().out)


def test_a_notebook_that_fails_keeps_what_it_had(tree):
    path = write(tree, "first", "stop")
    before = path.read_text()
    assert execute.execute(path, tree) == "SystemError: it stops here"
    assert path.read_text() == before
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_a_fallen_claim_stops_a_run_unless_told_to_go_on(tree):
    path = write(tree, "first", "luck", "held")
    stopped = running.run(path, root=tree, seed=1)
    assert stopped.error.startswith("ClaimFailed: claim 'luck'") and [c["held"] for c in stopped.claims] == [False]
    went_on = running.run(path, root=tree, seed=1, go_on=True)
    assert went_on.error is None
    assert [(c["name"], c["held"], c["seed"]) for c in went_on.claims] == [("luck", False, 1), ("held", True, 1)]
    assert went_on.claims[0]["chapter"] == "cases/toy/1_model"


def test_notebooks_are_found_by_chapter_or_build(tree):
    for name in ("", "cases", "cases/toy", "cases/toy/1_model", "notebooks/cases/toy/1_model.ipynb"):
        assert len(running.find([name] if name else [], tree)) == 1
    with pytest.raises(SystemExit, match=r"N is cases/to: expected a chapter .* the builds are cases/toy/1_model"):
        running.find(["cases/to"], tree)


# -- seeds ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"), [("3", [0, 1, 2]), ("20-22", [0, 20, 21, 22]), ("5,3", [0, 3, 5]), ("0,", None), ("0", None),
                           ("x", None), ("9-3", None), ("-3", None)],
)  # fmt: skip
def test_seeds_are_a_count_a_range_or_a_list(text, expected):
    if expected is None:
        with pytest.raises(ValueError, match=f"SEEDS is {text}: expected a count"):
            seeds.parse_seeds(text)
    else:
        assert seeds.parse_seeds(text) == expected


def recorded(name, value, held):
    rest = {"kind": "measured here", "statement": "s", "bound": "> 0", "fmt": ".3g", "source": None}
    return {"name": name, "value": value, "held": held, **rest}


def test_a_claim_is_summed_up_over_the_seeds():
    results = {
        0: {"claims": [recorded("a", 1.0, True), recorded("b", 5.0, True)], "error": None},
        7: {"claims": [recorded("a", -2.0, False)], "error": "it stopped before b"},
        3: {"claims": [recorded("a", 4.0, True), recorded("b", float("nan"), False)], "error": None},
    }
    a, b = seeds.summarise("cases/toy/1_model", results)
    assert (a["value"], a["min"], a["median"], a["max"]) == (1.0, -2.0, 1.0, 4.0)
    assert (a["seeds"], a["held"], a["failed"]) == (3, 2, [7])
    assert (b["seeds"], b["held"], b["failed"]) == (3, 1, [3, 7])
    assert (b["min"], b["max"]) == (5.0, 5.0)


def test_only_a_claim_that_was_known_to_hold_is_news():
    known = {"chapter": "c", "name": "a", "bound": "> 0", "failed": [4]}
    assert seeds.newly_fallen([known], [known]) == []
    assert seeds.newly_fallen([known], [known | {"failed": [4, 5]}]) == [known | {"failed": [4, 5]}]
    assert seeds.newly_fallen([known], [known | {"failed": [5], "bound": "> 1"}]) == []
    assert seeds.newly_fallen([], [known]) == []


def test_seeds_writes_how_each_claim_fared_and_keeps_what_was_run(tree, monkeypatch, capsys):
    path = write(tree, "first", "held", "luck")
    (tree / "book").mkdir()
    for name, value in (("CLAIMS", tree / "book/claims.json"), ("CACHE", tree / "_build/seeds")):
        monkeypatch.setattr(seeds, name, value)
    monkeypatch.setattr(seeds, "chapter", lambda p: running.chapter(p, tree))
    monkeypatch.setattr(seeds, "find", lambda names: running.find(names, tree))
    monkeypatch.setattr(seeds, "run", lambda p, **more: running.run(p, root=tree, **more))
    monkeypatch.setattr("sys.argv", ["seeds.py", "--seeds", "2"])
    assert seeds.main() == 0
    held, luck = json.loads(seeds.CLAIMS.read_text())
    assert (held["chapter"], held["held"], held["seeds"]) == ("cases/toy/1_model", 2, 2)
    assert (luck["held"], luck["failed"]) == (1, [1])
    assert "luck held in 1 of 2; it fell at [1]" in capsys.readouterr().out

    monkeypatch.setattr(seeds, "run", lambda *_, **__: pytest.fail("it was run again"))
    assert seeds.main() == 0, "what fell before is no news"
    seeds.CLAIMS.write_text(json.dumps([held, luck | {"failed": []}]))
    assert seeds.main() == 1
    assert "NEW: cases/toy/1_model: luck fell" in capsys.readouterr().err
    write(tree, "first", "luck")
    with pytest.raises(pytest.fail.Exception, match="run again"):
        seeds.run_seed(path, 0)


# -- faults -----------------------------------------------------------------------------------------------------------

FAULT = faults.Fault(
    name="less", file="notebooks/cases/toy/1_model.ipynb", find="five', 10", replace="five', 1",
    run=["notebooks/cases/toy/1_model.ipynb"], catcher="held", description="d", hint="h",
)  # fmt: skip


def test_every_fault_can_be_injected(tmp_path):
    for fault in faults.read_faults():
        (tmp_path / fault.file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / fault.file, tmp_path / fault.file)
        faults.inject(fault, tmp_path)
        assert (tmp_path / fault.file).read_text() != (ROOT / fault.file).read_text()
        for target in fault.run:
            assert (ROOT / target).is_file(), target


def test_a_fault_is_caught_by_the_claim_expected_to(tree, monkeypatch):
    monkeypatch.setattr(faults, "ROOT", tree)
    assert faults.attempt(FAULT) == (True, "caught by held")
    harmless = faults.Fault(**(vars(FAULT) | {"replace": "five', 11"}))
    assert faults.attempt(harmless) == (False, "NOT CAUGHT")
    elsewhere = faults.Fault(**(vars(FAULT) | {"catcher": "luck"}))
    assert faults.attempt(elsewhere) == (False, "caught by held, NOT BY luck, which was expected to")
    assert "five', 10" in (tree / FAULT.file).read_text(), "the tree itself is left alone"


def test_a_fault_in_the_library_is_caught_by_a_test(tree, monkeypatch):
    shutil.copy(ROOT / "conftest.py", tree)
    shutil.copy(ROOT / "sanitize.cfg", tree)
    (tree / "tests/test_seed.py").write_text(
        "from casebook import settings\n\n\ndef test_seed():\n    assert settings.seed() == 0\n"
    )
    monkeypatch.setattr(faults, "ROOT", tree)
    change = {"file": "src/casebook/settings.py", "run": ["tests/test_seed.py"], "catcher": "test_seed"}
    wrong = faults.Fault(**(vars(FAULT) | change | {"find": "return int(text)", "replace": "return int(text) + 1"}))
    assert faults.attempt(wrong) == (True, "caught by test_seed")


def test_failing_tests_are_named_and_so_are_files_that_can_not_be_read():
    failed = ["a.py::test_x - assert", "a.py::test_y[a b]", "a.py::test_y[c]"]
    said = "".join(f"FAILED {line}\n" for line in failed) + "ERROR t/b.py - ImportError: no\n"
    assert faults.named(said) == ["test_x", "test_y", "b.py"]


def test_a_fault_whose_text_is_not_there_once_is_refused(tree):
    for find, times in (("no such text", 0), ("claim", 2)):
        with pytest.raises(ValueError, match=f"occurs {times} times in .*: expected once"):
            faults.inject(faults.Fault(**(vars(FAULT) | {"find": find})), tree)


def test_a_fault_that_is_not_described_is_refused(tmp_path):
    (tmp_path / "faults.toml").write_text('[[fault]]\nname = "x"\n')
    with pytest.raises(ValueError, match="fault 'x' lacks or has too much: catcher, description, file"):
        faults.read_faults(tmp_path / "faults.toml")


# -- what is said in several places ---------------------------------------------------------------------------------


def test_the_version_is_the_same_everywhere():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    newest = re.search(r"^## (\S+) \((\S+)\)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert {project["version"], citation["version"], newest[1]} == {casebook.__version__}
    assert citation["date-released"] == newest[2]


def test_the_repository_has_one_address():
    address = yaml.safe_load((ROOT / "_config.yml").read_text())["repository"]["url"]
    assert yaml.safe_load((ROOT / "CITATION.cff").read_text())["repository-code"] == address
    assert f"mybinder.org/v2/gh/{address.removeprefix('https://github.com/')}/" in (ROOT / "README.md").read_text()


def test_the_two_commands_stand_at_the_top_of_the_readme():
    top = (ROOT / "README.md").read_text()[:1500]
    assert "make book" in top and "make test" in top


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md"])
def test_what_the_readme_names_is_there(name):
    text = (ROOT / name).read_text()
    for target in re.findall(r"`make (\w+)", text):
        assert target in TARGETS, target
    for path in re.findall(r"`((?:\.?\w+/)[\w./-]*|[\w-]+\.(?:md|toml|txt|cff))`", text):
        if "<" not in path and path != ".venv":
            assert (ROOT / path).exists(), path
