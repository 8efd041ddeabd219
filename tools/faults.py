"""Inject each known fault into a copy of the tree and say which claim or test caught it: python tools/faults.py [NAME].

The faults are data, in tests/faults.toml, one `[[fault]]` each:

    name         short, with dashes
    file         the notebook or the module that is changed, from the root of the project
    find         text that occurs there exactly once (in the code cells, for a notebook)
    replace      what takes its place
    run          the notebooks and tests that should notice, from the root of the project
    catcher      the claim or the test expected to; for an exception, its type
    description  what is wrong, for whoever knows
    hint         where to look, for whoever is asked to find it

NAME is a fault, or a chapter or a build (`cases/ad_click`) that faults are run in. Two are tried at a time.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields
from pathlib import Path

from running import ROOT, fits, run

FAULTS = ROOT / "tests" / "faults.toml"
NOT_COPIED = shutil.ignore_patterns(".git", ".venv", "_build", "__pycache__", ".*_cache", ".hypothesis", "*-ipc-*")


@dataclass(frozen=True)
class Fault:
    """One thing that can be wrong, and who should notice: see the text at the top."""

    name: str
    file: str
    find: str
    replace: str
    run: list[str]
    catcher: str
    description: str
    hint: str

    def concerns(self, name: str) -> bool:
        """Whether NAME asks for this fault."""
        builds = [r.removeprefix("notebooks/").removesuffix(".ipynb") for r in self.run if r.endswith(".ipynb")]
        return name == self.name or any(fits(build, name) for build in builds)


def read_faults(path: Path = FAULTS) -> list[Fault]:
    """The faults of a file.

    Raises:
        ValueError: an entry lacks something, has something unknown, or takes the name of another.
    """
    faults = []
    for entry in tomllib.loads(path.read_text()).get("fault", []):
        name, expected = entry.get("name", "without a name"), {f.name for f in fields(Fault)}
        if wrong := expected ^ set(entry):
            raise ValueError(f"fault {name!r} lacks or has too much: {', '.join(sorted(wrong))}")
        if any(name == other.name for other in faults):
            raise ValueError(f"fault {name!r} is there twice: expected one of each name")
        faults.append(Fault(**entry))
    return faults


def inject(fault: Fault, tree: Path) -> None:
    """Change a tree as the fault says.

    Raises:
        ValueError: the text is not there exactly once.
    """
    path = tree / fault.file
    if path.suffix != ".ipynb":
        text = path.read_text()
        found = text.count(fault.find)
        changed = text.replace(fault.find, fault.replace)
    else:
        notebook = json.loads(path.read_text())
        code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
        found = sum("".join(cell["source"]).count(fault.find) for cell in code)
        for cell in code:
            cell["source"] = "".join(cell["source"]).replace(fault.find, fault.replace)
        changed = json.dumps(notebook)
    if found != 1:
        raise ValueError(f"fault {fault.name!r}: its text occurs {found} times in {fault.file}: expected once")
    path.write_text(changed)


def failing_tests(target: str, tree: Path) -> list[str]:
    """The tests of a file that fail, by name."""
    command = [sys.executable, "-m", "pytest", target, "-q", "--tb=no", "-rfE"]
    done = subprocess.run(
        command, cwd=tree, env=os.environ | {"PYTHONPATH": str(tree / "src")}, capture_output=True, text=True
    )
    if done.returncode not in (0, 1, 2):
        raise RuntimeError(f"pytest could not run {target}: {done.stdout[-500:]}{done.stderr[-500:]}")
    return named(done.stdout)


def named(said: str) -> list[str]:
    """The tests that pytest's summary names, each once, and the files that it could not import."""
    found = re.findall(r"^(?:FAILED|ERROR) (\S+?)(?:::(\w+)\S*)?(?: |$)", said, re.MULTILINE)
    return list(dict.fromkeys(test or Path(file).name for file, test in found))


def catchers(fault: Fault, tree: Path) -> list[str]:
    """What notices the fault in a tree that has it: claims, exceptions, tests."""
    found = []
    for target in fault.run:
        if target.endswith(".ipynb"):
            done = run(tree / target, root=tree, go_on=True, env={"CASEBOOK_SIZE": "book"})
            found += [claim["name"] for claim in done.claims if not claim["held"]]
            found += [done.error] if done.error else []
        else:
            found += failing_tests(target, tree)
    return found


def attempt(fault: Fault) -> tuple[bool, str]:
    """Try one fault in a copy of its own; returns whether the expected catcher caught it, and what to say of it."""
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder, "tree")
        shutil.copytree(ROOT, tree, ignore=NOT_COPIED)
        inject(fault, tree)
        found = catchers(fault, tree)
    if not found:
        return False, "NOT CAUGHT"
    said = "caught by " + ", ".join(found)
    if any(name == fault.catcher or name.startswith(fault.catcher + ":") for name in found):
        return True, said
    return False, f"{said}, NOT BY {fault.catcher}, which was expected to"


def main(names: list[str]) -> int:
    """Try the faults named, or all; returns the exit status."""
    faults = read_faults()
    for name in names:
        if not any(fault.concerns(name) for fault in faults):
            known = ", ".join(fault.name for fault in faults)
            print(f"N is {name}: expected a chapter, a build or a fault; the faults are {known}", file=sys.stderr)
            return 2
    chosen = [fault for fault in faults if not names or any(fault.concerns(name) for name in names)]
    missed = 0
    with ThreadPoolExecutor(2) as pool:
        for number, (fault, (caught, said)) in enumerate(zip(chosen, pool.map(attempt, chosen), strict=True), 1):
            missed += not caught
            print(f"{number:3d}/{len(chosen)}  {fault.name}: {said}", flush=True)
    print(f"{len(chosen) - missed} of {len(chosen)} faults caught")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
