"""The newcomer's environment: what it is made from, when it is made anew, and one clear line where it can't be made."""

import importlib.metadata
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections import defaultdict
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import env

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
LOCK = [Requirement(line) for line in (ROOT / "requirements.txt").read_text().splitlines() if not line.startswith("#")]
MACHINES = [
    {"python_version": f"3.{minor}", "python_full_version": f"3.{minor}.2", "sys_platform": system,
     "platform_machine": machine, "platform_system": name, "os_name": "posix", "implementation_name": "cpython",
     "platform_python_implementation": "CPython", "extra": ""}
    for minor in (11, 12, 13)
    for system, name, machine in
    [("linux", "Linux", "x86_64"), ("linux", "Linux", "aarch64"), ("darwin", "Darwin", "arm64")]
]  # fmt: skip


def pinned(machine):
    """The version of each package that the lock gives to a machine."""
    found = defaultdict(list)
    for requirement in LOCK:
        if requirement.marker is None or requirement.marker.evaluate(machine):
            (pin,) = requirement.specifier
            assert pin.operator == "==", requirement
            found[canonicalize_name(requirement.name)].append(pin.version)
    return found


@pytest.mark.parametrize("machine", MACHINES, ids=lambda m: f"{m['python_version']}-{m['platform_machine']}")
def test_the_lock_pins_what_the_project_asks_for(machine):
    versions = pinned(machine)
    assert not {name: v for name, v in versions.items() if len(v) > 1}
    asked = [Requirement(text) for group in PROJECT["project"]["optional-dependencies"].values() for text in group]
    asked += [Requirement(name) for name in PROJECT["tool"]["casebook"]["torch-needs"]]
    for requirement in asked:
        if requirement.marker is None or requirement.marker.evaluate(machine):
            (version,) = versions[canonicalize_name(requirement.name)]
            assert requirement.specifier.contains(version), requirement


def test_torch_stays_out_of_the_lock():
    names = {canonicalize_name(requirement.name) for requirement in LOCK}
    assert not {name for name in names if name == "torch" or name.startswith(("nvidia-", "cuda-", "triton"))}
    assert PROJECT["project"]["dependencies"] == []


def test_what_torch_needs_is_locked():
    needs = [Requirement(text) for text in importlib.metadata.requires("torch")]
    needs = {
        canonicalize_name(need.name)
        for need in needs
        if (need.marker is None or need.marker.evaluate({"extra": ""}))
        and not need.name.startswith(("nvidia-", "cuda-", "triton"))
    }
    assert needs <= {canonicalize_name(requirement.name) for requirement in LOCK}


@pytest.mark.skipif(os.environ.get("CASEBOOK_COMPARE") == "0", reason="not where the stored outputs were made")
def test_the_tests_run_in_the_locked_versions():
    versions = pinned({"extra": ""})
    there = {canonicalize_name(d.metadata["Name"]): d.version for d in importlib.metadata.distributions()}
    other = {name: (there[name], v) for name, v in versions.items() if name in there and there[name] not in v}
    assert not {name: v for name, v in other.items() if name not in ("pip", "setuptools", "wheel")}
    assert there["torch"].partition("+")[0] == PROJECT["tool"]["casebook"]["torch"]


@pytest.fixture
def tree(tmp_path):
    """A copy of what decides the environment, with an environment that is only links."""
    for name in ("pyproject.toml", "requirements.txt"):
        shutil.copy(ROOT / name, tmp_path)
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    (tmp_path / env.MARK).touch()
    (tmp_path / ".venv/bin/python").symlink_to(sys.executable)
    return tmp_path


def make_whole(tree, *groups):
    env.write_stamps(list(groups), env.fingerprint(tree), tree)


def test_what_is_whole_is_left_alone(tree, monkeypatch):
    make_whole(tree, "book", "run")
    monkeypatch.setattr(env, "run_pip", lambda *_: pytest.fail("pip was run"))
    env.make(["book", "run"], tree)
    assert env.missing(["book", "run", "test"], tree) == ["test"]


def test_an_interrupted_environment_is_made_anew(tree):
    make_whole(tree, "book")
    assert env.is_usable(tree)
    env.stamp("book", tree).unlink()
    assert not env.is_usable(tree)


def test_a_moved_environment_is_made_anew(tree):
    make_whole(tree, "book")
    moved = tree.rename(tree.with_name("elsewhere"))
    assert not env.is_usable(moved)


def test_an_environment_without_its_python_is_made_anew(tree):
    make_whole(tree, "book")
    (tree / ".venv/bin/python").unlink()
    (tree / ".venv/bin/python").symlink_to("/nowhere/python3")
    assert not env.is_usable(tree)


def test_an_environment_of_another_python_is_made_anew(tree):
    make_whole(tree, "book")
    about = json.loads(env.stamp("book", tree).read_text())
    env.stamp("book", tree).write_text(json.dumps(about | {"python": [3, 10]}))
    assert not env.is_usable(tree)


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [("requirements.txt", "sphinx==", "sphinx==9."), ("pyproject.toml", 'torch = "', 'torch = "9.')],
)
def test_a_changed_lock_calls_pip_again(tree, file, old, new):
    make_whole(tree, "book")
    text = (tree / file).read_text()
    assert old in text
    (tree / file).write_text(text.replace(old, new))
    assert env.is_usable(tree) and env.missing(["book"], tree) == ["book"]


def test_a_changed_setting_of_a_tool_does_not_call_pip_again(tree):
    make_whole(tree, "book")
    text = (tree / "pyproject.toml").read_text()
    (tree / "pyproject.toml").write_text(text.replace("line-length = 120", "line-length = 100"))
    assert env.missing(["book"], tree) == []


def pip_that_fails(said):
    def run_pip(*_):
        raise env.PipFailed(said)

    return run_pip


def test_a_failure_before_anything_changed_keeps_what_was_whole(tree, monkeypatch):
    make_whole(tree, "book")
    monkeypatch.setattr(env, "run_pip", pip_that_fails("Collecting pytest\nERROR: NewConnectionError\n"))
    with pytest.raises(env.CannotMake, match="check the network"):
        env.make(["book", "test"], tree)
    assert env.is_usable(tree) and env.missing(["book", "test"], tree) == ["test"]


def test_a_failure_while_pip_installs_leaves_nothing_that_looks_whole(tree, monkeypatch):
    make_whole(tree, "book")
    monkeypatch.setattr(env, "run_pip", pip_that_fails("Installing collected packages: a, b\nERROR: Errno 28\n"))
    with pytest.raises(env.CannotMake, match="the disk is full"):
        env.make(["book", "test"], tree)
    assert not env.is_usable(tree)


def test_an_environment_of_somebody_else_is_never_touched(tree, monkeypatch):
    (tree / env.MARK).unlink()
    monkeypatch.setattr(env, "create", lambda _: pytest.fail("it was made anew"))
    with pytest.raises(env.CannotMake, match="not made by make"):
        env.make(["book"], tree)
    assert (tree / ".venv/bin/python").exists()


def test_making_anew_keeps_the_mark_and_drops_the_rest(tree, monkeypatch):
    def made(command, **_):
        assert [p.name for p in (tree / ".venv").iterdir()] == [Path(env.MARK).name]
        assert command[1:] == ["-m", "venv", str(tree / ".venv")]
        return subprocess.CompletedProcess(command, 0)

    (tree / ".venv" / "leftover").mkdir()
    monkeypatch.setattr(env.subprocess, "run", made)
    env.create(tree)


def test_a_full_disk_is_foreseen(tree, monkeypatch):
    monkeypatch.setattr(env.shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10**9, 10**9, 10**7))
    with pytest.raises(env.CannotMake, match=r"10 MB are free and about 500 MB are needed"):
        env.make(["book"], tree)


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("OSError: [Errno 28] No space left on device", "the disk is full: free about 500 MB"),
        ("WARNING: Retrying (Retry(total=0)) after connection broken by 'NewConnectionError'", "check the network"),
        ("ERROR: No matching distribution found for lightgbm==4.7.0 (from casebook)", "no build of lightgbm==4.7.0"),
        (
            "Traceback\nERROR: something of its own\n",
            "pip failed: something of its own (all it said: .venv/install.log)",
        ),
        ("", "pip failed: no reason given"),
    ],
)
def test_why_pip_failed_is_one_line(said, expected):
    line = env.reason(said, 500)
    assert expected in line and "\n" not in line


def test_the_pythons_that_fit_are_those_of_the_project():
    specifier = Requirement(f"casebook{PROJECT['project']['requires-python']}").specifier
    for minor in range(8, 17):
        assert env.fits((3, minor)) == specifier.contains(f"3.{minor}.1"), minor


def test_an_old_python_says_so_or_finds_a_newer_one(tmp_path, monkeypatch):
    monkeypatch.setattr(env.sys, "version_info", (3, 9, 18))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(env.CannotMake, match=r"Python 3\.9 does not fit: install Python 3\.11, 3\.12 or 3\.13"):
        env.suitable_python()
    for name, body in (("python3.13", "exit 127"), ("python3.12", "exit 0")):  # the first is an empty shim
        (tmp_path / name).write_text(f"#!/bin/sh\n{body}\n")
        (tmp_path / name).chmod(0o755)
    assert env.suitable_python() == str(tmp_path / "python3.12")


def test_an_unknown_group_is_named(capsys):
    assert env.main(["books"]) == 2
    assert capsys.readouterr().err == "groups are books: expected some of book, run, test, spark\n"


def test_progress_says_what_pip_is_at():
    said = ["Collecting sphinx==7.4.7\n", "  Downloading sphinx-7.4.7-py3-none-any.whl (3.4 MB)\n"]
    assert env.progress([]) == "starting"
    assert env.progress(said) == "1 packages found, downloading sphinx-7.4.7-py3-none-any.whl"
    assert env.progress([*said, "Installing collected packages: a, b, c\n"]) == "installing 3 packages"


# -- the same environment elsewhere ---------------------------------------------------------------------------------


def test_binder_installs_what_make_installs(tmp_path):
    """Its script is run with a python that writes down what it is asked to do."""
    (tmp_path / "python").write_text(
        f'#!/bin/sh\nif [ "$1" = -c ]; then exec {sys.executable} "$@"; fi\nprintf "%s\\n" "$@" > {tmp_path}/asked\n'
    )
    (tmp_path / "python").chmod(0o755)
    subprocess.run(["bash", "binder/postBuild"], cwd=ROOT, check=True, env={"PATH": f"{tmp_path}:{os.environ['PATH']}"})
    asked = (tmp_path / "asked").read_text().split()
    assert f"torch=={PROJECT['tool']['casebook']['torch']}" in asked
    assert asked[asked.index("-c") + 1] == "requirements.txt"
    assert asked[asked.index("-e") + 1] == f".[{','.join(env.EVERYDAY)}]"
    assert asked[asked.index("--extra-index-url") + 1] == env.TORCH_CPU_INDEX
    assert "redis-server" in (ROOT / "binder/apt.txt").read_text().split()


def test_binder_has_the_python_of_the_stored_outputs():
    kind, _, version = (ROOT / "binder/runtime.txt").read_text().strip().partition("-")
    assert kind == "python" and env.fits(tuple(map(int, version.split("."))))
    test = (ROOT / ".github/workflows/test.yml").read_text()
    assert f"matrix.python == '{version}' && '1' || '0'" in test, "where outputs are compared"


def test_binder_opens_a_notebook_that_is_there():
    (address,) = re.findall(r"https://mybinder\.org/\S+?(?=\))", (ROOT / "README.md").read_text())
    assert (ROOT / address.partition("urlpath=lab/tree/")[2]).is_file()


def test_the_workflow_tries_every_python_of_the_project():
    test = (ROOT / ".github/workflows/test.yml").read_text()
    listed = json.loads(re.search(r"python: (\[.*\])", test)[1])
    assert listed == [f"3.{minor}" for minor in range(env.OLDEST[1], env.NEWEST[1] + 1)]


def test_the_container_has_a_python_that_fits():
    (image,) = re.findall(r"^FROM python:(\S+?)-", (ROOT / ".devcontainer/Dockerfile").read_text())
    assert env.fits(tuple(map(int, image.split("."))))
    json.loads((ROOT / ".devcontainer/devcontainer.json").read_text())
