"""Make `.venv`, or complete it, or do nothing because it is whole.

    python3 tools/env.py book              what reading needs
    python3 tools/env.py book run test     everything that the tests need
    python3 tools/env.py spark             the second engine of the data pipeline, beside what is there

It needs nothing but Python itself, in the syntax of 3.6, so that an old Python can still say that it is too old.

Each group that is whole leaves a stamp in `.venv`, written last. Before pip changes anything all stamps are taken away,
so an environment that was interrupted has none and is made anew, like one whose folder was moved or whose Python is
gone. A stamp holds what the group was made from: when the lock or the dependencies in pyproject.toml change, pip runs
again. A `.venv` that this did not make is somebody's own: it is never changed or deleted.
"""

import contextlib
import fcntl
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
EVERYDAY = ("book", "run", "test")
GROUPS = (*EVERYDAY, "spark")
OLDEST, NEWEST = (3, 11), (3, 13)
SPACE_MB = {"book": 500, "run": 3000, "test": 500, "spark": 1000}  # in .venv, with room to unpack
MARK = ".venv/.made-by-make"
LOG = ".venv/install.log"
TORCH_CPU_INDEX = "https://download.pytorch.org/whl/cpu"

# What pip prints when one of these is the reason; the first that fits is told to the reader in one line.
REASONS = (
    (r"No space left on device|Errno 28", "the disk is full: free about {space} MB and run make again"),
    (
        r"NewConnectionError|Failed to establish|ConnectTimeout|ReadTimeout|ProxyError|Temporary failure|Max retries"
        r"|Network is unreachable|Name or service not known|getaddrinfo failed|Connection refused|SSLError",
        "the packages can't be fetched: check the network, or the mirror or proxy that pip uses, and run make again",
    ),
    (
        r"No matching distribution found for ([^\s(]+)",
        "no build of {0} for this machine ({platform}): see {log}",
    ),
)


class CannotMake(Exception):
    """The environment can't be made; the message is one line that says what to do."""


def fits(version: tuple) -> bool:
    """Whether a Python of this version can run the project."""
    return OLDEST <= tuple(version[:2]) <= NEWEST


def suitable_python() -> str:
    """This Python, or a newer one on the PATH if this one doesn't fit."""
    if fits(sys.version_info):
        return getattr(sys, "_base_executable", None) or sys.executable
    for minor in range(NEWEST[1], OLDEST[1] - 1, -1):
        found = shutil.which(f"python3.{minor}")
        # A version manager puts names on the PATH that answer for no Python: ask it.
        if (
            found
            and subprocess.run([found, "-c", ""], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode == 0
        ):
            return found
    raise CannotMake(
        f"Python {sys.version_info[0]}.{sys.version_info[1]} does not fit: install Python 3.11, 3.12 or 3.13, "
        "and if it is not found under its name, make PYTHON=/path/to/it"
    )


def runs(command: list) -> bool:
    """Whether a command is there and succeeds; what it prints is dropped."""
    try:
        return subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode == 0
    except OSError:
        return False


def fingerprint(root: Path = ROOT) -> str:
    """A hash of what decides the environment's contents: the lock, the dependencies, Python's version, the folder."""
    import tomllib

    project = tomllib.loads((root / "pyproject.toml").read_text())
    parts = [project["build-system"], project["project"], project["tool"]["casebook"]]
    parts += [(root / "requirements.txt").read_text(), list(sys.version_info[:2]), str(root.resolve())]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def stamp(group: str, root: Path = ROOT) -> Path:
    """The file that says that a group is whole."""
    return root / ".venv" / (".whole-" + group)


def is_foreign(root: Path = ROOT) -> bool:
    """Whether `.venv` is there and was not made by this: a mark is the first thing written into one that was."""
    return os.path.lexists(str(root / ".venv")) and not (root / MARK).exists()


def is_usable(root: Path = ROOT) -> bool:
    """Whether `.venv` was finished once, in this folder, by a Python of this version that still runs."""
    made_from = [stamp(g, root) for g in GROUPS if stamp(g, root).exists()]
    if not made_from:
        return False
    about = json.loads(made_from[0].read_text())
    if about["folder"] != str(root.resolve()) or about["python"] != list(sys.version_info[:2]):
        return False
    return runs([str(root / ".venv/bin/python"), "-c", ""])


def missing(groups: list, root: Path = ROOT) -> list:
    """The groups that have no stamp or were made from something else."""
    wanted = fingerprint(root)
    made_from = {g: json.loads(stamp(g, root).read_text()) for g in groups if stamp(g, root).exists()}
    return [g for g in groups if g not in made_from or made_from[g]["fingerprint"] != wanted]


def write_stamps(groups: list, made_from: str, root: Path = ROOT) -> None:
    """Declare groups whole; `made_from` is the fingerprint from before pip read the files."""
    about = {"fingerprint": made_from, "folder": str(root.resolve()), "python": list(sys.version_info[:2])}
    for group in groups:
        stamp(group, root).write_text(json.dumps(about))


def check_space(groups: list, root: Path = ROOT) -> int:
    """Refuse to start what can't end; returns the MB wanted."""
    wanted = sum(SPACE_MB[g] for g in groups)
    free = shutil.disk_usage(root).free // 1_000_000
    if free < wanted:
        raise CannotMake(
            f"the disk is full: {free} MB are free and about {wanted} MB are needed at {root}: free some and make again"
        )
    return wanted


def reachable(url: str) -> bool:
    """Whether anything answers at an address within five seconds."""
    try:
        urllib.request.urlopen(urllib.request.Request(url, method="HEAD"), timeout=5).close()
    except urllib.error.HTTPError:
        return True
    except (OSError, ValueError):
        return False
    return True


def torch_arguments(root: Path = ROOT) -> list:
    """What pip needs to be told to install PyTorch, its CPU build wherever there is a choice."""
    import tomllib

    pinned = ["torch==" + tomllib.loads((root / "pyproject.toml").read_text())["tool"]["casebook"]["torch"]]
    if sys.platform == "darwin":  # the only build there is
        return pinned
    if reachable(TORCH_CPU_INDEX + "/torch/"):
        return ["--extra-index-url", TORCH_CPU_INDEX, *pinned]
    print("  PyTorch's CPU index can't be reached: taking the default build, which may be several GB", flush=True)
    return pinned


def run_pip(arguments: list, lock: int, root: Path = ROOT) -> None:
    """Run pip and show what it is at; all it says goes to `.venv/install.log`.

    `lock` is the descriptor of the file that is locked meanwhile. Pip holds it too: should this process be killed, the
    next one waits until pip has noticed.
    """
    command = [str(root / ".venv/bin/python"), "-m", "pip", "install", "--disable-pip-version-check", *arguments]
    command += ["--progress-bar", "off"]
    said = []
    with subprocess.Popen(
        command, cwd=root, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, pass_fds=[lock]
    ) as pip:
        listener = threading.Thread(target=lambda: said.extend(pip.stdout), daemon=True)
        listener.start()
        try:
            show_progress(listener, said)
        except BaseException:
            pip.terminate()
            raise
    text = "".join(said)
    with contextlib.suppress(OSError):  # a full disk must not hide what filled it
        (root / LOG).write_text(text)
    if pip.returncode:
        raise PipFailed(text)


def show_progress(listener: threading.Thread, said: list) -> None:
    """Until pip falls silent: one line that changes on a terminal, a line every ten seconds elsewhere."""
    terminal, started, shown = sys.stdout.isatty(), time.monotonic(), 0.0
    while listener.is_alive():
        listener.join(0.2)
        seconds = time.monotonic() - started
        line = f"  {seconds:3.0f} s  {progress(said)}"
        if terminal:
            print("\r\033[K" + line[: shutil.get_terminal_size().columns - 1], end="", flush=True)
        elif seconds - shown > 10:
            shown = seconds
            print(line, flush=True)
    if terminal:
        print("\r\033[K", end="", flush=True)


class PipFailed(Exception):
    """Pip ended with an error; the message is all it said."""


def progress(said: list) -> str:
    """One line on what pip is at."""
    collected = sum(line.startswith("Collecting ") for line in said)
    for line in reversed(said):
        if line.startswith("Installing collected packages"):
            return "installing {} packages".format(line.count(",") + 1)
        if line.startswith("Collecting "):
            return f"{collected} packages found, now {line.split()[1]}"
        if line.lstrip().startswith("Downloading "):
            return f"{collected} packages found, downloading {line.split()[1]}"
        if "Retrying" in line:
            return "no answer from the network, trying again"
    return "starting"


def reason(said: str, space: int) -> str:
    """Why pip failed, in one line that says what to do."""
    for pattern, advice in REASONS:
        found = re.search(pattern, said)
        if found:
            return advice.format(*found.groups(), space=space, platform=f"{sys.platform} {os.uname().machine}", log=LOG)
    errors = [line.strip()[len("ERROR: ") :] for line in said.splitlines() if line.startswith("ERROR: ")]
    return f"pip failed: {errors[-1] if errors else 'no reason given'} (all it said: {LOG})"


@contextlib.contextmanager
def alone(root: Path = ROOT):
    """One at a time in a folder; a second one waits."""
    name = f"casebook-{os.getuid()}-{hashlib.sha256(str(root).encode()).hexdigest()[:16]}.lock"
    with open(os.path.join(tempfile.gettempdir(), name), "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print("Another make is at work on .venv: waiting for it", flush=True)
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield lock.fileno()


def make(groups: list, root: Path = ROOT) -> None:
    """Bring `.venv` to hold these groups."""
    if is_usable(root) and not missing(groups, root):
        return
    with alone(root) as lock:
        if is_foreign(root):
            raise CannotMake("the .venv here was not made by make: move it away, or delete it, and run make again")
        anew = not is_usable(root)
        # What is there stays there when pip runs on: all of it has to agree with the lock.
        groups = [g for g in GROUPS if g in groups or (not anew and stamp(g, root).exists())]
        wanted = groups if anew else missing(groups, root)
        if not wanted:
            return
        space = check_space(wanted, root)
        about = " and ".join(wanted) if len(wanted) < 3 else "everything"
        print(f"Setting up .venv ({about}, Python {sys.version_info[0]}.{sys.version_info[1]})", flush=True)
        started, made_from = time.monotonic(), fingerprint(root)
        if anew:
            create(root)
        kept = {g: stamp(g, root).read_text() for g in GROUPS if stamp(g, root).exists()}
        for group in kept:
            stamp(group, root).unlink()
        try:
            torch = torch_arguments(root) if "run" in groups else []
            run_pip([*torch, "-c", "requirements.txt", "-e", f".[{','.join(groups)}]"], lock, root)
        except PipFailed as error:
            said = str(error)
            if "Installing collected packages" not in said:  # it failed before it changed anything
                for group, text in kept.items():
                    stamp(group, root).write_text(text)
            raise CannotMake(reason(said, space)) from None
        write_stamps(groups, made_from, root)
        print(f"  ready after {time.monotonic() - started:.0f} s", flush=True)


def create(root: Path) -> None:
    """An empty environment in `.venv`, in place of what may be there."""
    if not all(map(has_module, ("venv", "ensurepip"))):
        raise CannotMake("this Python has no venv: on Debian or Ubuntu, `apt install python3-venv`, and run make again")
    (root / MARK).parent.mkdir(exist_ok=True)
    (root / MARK).touch()
    for entry in (root / MARK).parent.iterdir():  # the mark stays: emptying may be interrupted, too
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(str(entry))
        elif entry != root / MARK:
            entry.unlink()
    python = getattr(sys, "_base_executable", None) or sys.executable
    done = subprocess.run(
        [python, "-m", "venv", str(root / ".venv")], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    if done.returncode:
        lines = done.stdout.strip().splitlines() or ["no reason given"]
        raise CannotMake("python -m venv failed: " + lines[-1])


def has_module(name: str) -> bool:
    """Whether a module of the standard library is there: some distributions leave out parts of it."""
    import importlib.util

    return importlib.util.find_spec(name) is not None


def main(arguments: list) -> int:
    """Make the groups named; returns the exit status."""
    unknown = [a for a in arguments if a not in GROUPS]
    if unknown or not arguments:
        print(f"groups are {' '.join(unknown) or 'missing'}: expected some of {', '.join(GROUPS)}", file=sys.stderr)
        return 2
    try:
        python = suitable_python()
        if not fits(sys.version_info):
            os.execv(python, [python, os.path.abspath(__file__), *arguments])
        make(arguments)
    except CannotMake as error:
        print("Can't set up: " + str(error), file=sys.stderr)
        return 1
    except OSError as error:
        if error.errno != 28:
            raise
        print("Can't set up: the disk is full: free some of it, and run make again", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nInterrupted: the next make starts the environment again", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
