"""Compile requirements.txt from pyproject.toml: one lock for Python 3.11 to 3.13 on Linux and macOS.

    python3 tools/lock.py              keep today's pins, add and remove what pyproject.toml asks for
    python3 tools/lock.py --upgrade    move every pin to the newest version allowed

uv compiles it, from an environment of its own that is thrown away.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import tomllib
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
HEADER = """\
# Every package of every group, pinned for Python 3.11 to 3.13 on Linux and macOS.
# Compiled from pyproject.toml by tools/lock.py; not edited by hand. PyTorch is pinned in pyproject.toml.
"""


def main() -> None:
    """Compile the lock in place."""
    needs = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["casebook"]["torch-needs"]
    lock = ROOT / "requirements.txt"
    with tempfile.TemporaryDirectory() as folder:
        python = Path(folder, "bin", "python")
        venv.create(folder, with_pip=True)
        subprocess.run([python, "-m", "pip", "install", "-q", "uv"], check=True)
        extra, compiled = Path(folder, "torch-needs.in"), Path(folder, "requirements.txt")
        extra.write_text("\n".join(needs) + "\n")
        if lock.exists():
            compiled.write_text(lock.read_text())  # uv keeps the pins that it finds in its output
        command = [
            python,
            "-m",
            "uv",
            "pip",
            "compile",
            "--universal",
            "--python-version",
            "3.11",
            "--all-extras",
            "-q",
        ]
        command += ["--no-emit-index-url", "--no-emit-find-links", "--no-annotate", "--no-header", *sys.argv[1:]]
        subprocess.run([*command, ROOT / "pyproject.toml", extra, "-o", compiled], check=True, cwd=ROOT)
        lock.write_text(HEADER + compiled.read_text())


if __name__ == "__main__":
    main()
