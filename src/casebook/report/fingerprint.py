"""Whether a stored notebook is that of today's code, told without executing it."""

import hashlib
import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

__all__ = ["changes", "fingerprint"]

# How a notebook names the builds that it takes definitions from: see casebook.builds.
LOADED = re.compile(r"""\bload\(\s*["']([\w/]+)["']""")
# How code names modules of the library: whole, as in an import or in the command of a process; or one by one.
DOTTED = re.compile(r"\bcasebook(?:\.\w+)*")
IMPORTED = re.compile(r"^\s*from\s+(casebook[\w.]*)\s+import\s+(\([^)]*\)|[^\n#]*)", re.MULTILINE)


def _root(path: Path) -> Path:
    for folder in path.resolve().parents:
        if (folder / "pyproject.toml").is_file():
            return folder
    raise ValueError(f"path is {str(path)!r}: expected a notebook below a folder with a pyproject.toml")


def _hash(texts: Iterable[str]) -> str:
    state = hashlib.sha256()
    for text in texts:
        state.update(text.encode() + b"\0")
    return state.hexdigest()[:12]


def _notebook(path: Path) -> dict[str, Any]:
    if path.suffix != ".ipynb" or not path.is_file():
        raise ValueError(f"path is {str(path)!r}: expected an existing notebook")
    notebook: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return notebook


def _code(root: Path, path: Path, *, reused: bool = False) -> list[str]:
    """The code on which the notebook's outputs depend: its own cells, and those that it loads from other builds."""
    cells = [cell for cell in _notebook(path)["cells"] if cell["cell_type"] == "code"]
    if reused:
        cells = [cell for cell in cells if "reuse" in cell.get("metadata", {}).get("tags", ())]
    code = ["".join(cell["source"]) for cell in cells]
    for name in sorted({name for text in code for name in LOADED.findall(text)}):
        code += _code(root, root / "notebooks" / f"{name}.ipynb", reused=True)
    return code


def _named(text: str) -> set[str]:
    """The modules that a text names, as well as names that may be modules."""
    names = {f"{base}.{name}" for base, listed in IMPORTED.findall(text) for name in re.findall(r"\w+", listed)}
    return names | set(DOTTED.findall(text))


def _library(root: Path, code: list[str]) -> list[str]:
    """The files of the library that the code imports, itself or through others, each with its path before it."""
    source = root / "src"
    used: dict[str, str] = {}
    to_read = [name for text in code for name in _named(text)]
    while to_read:
        parts = to_read.pop().split(".")
        # Importing a.b.c runs the packages a and a.b as well.
        for depth in range(1, len(parts) + 1):
            stem = source.joinpath(*parts[:depth])
            for file in (stem.with_suffix(".py"), stem / "__init__.py"):
                name = file.relative_to(root).as_posix()
                if name not in used and file.is_file():
                    used[name] = file.read_text("utf-8")
                    to_read += _named(used[name])
    return [text for name in sorted(used) for text in (name, used[name])]


def fingerprint(path: str | Path) -> str:
    """What a notebook's outputs depend on, as three hashes: its code, the library, the pinned environment.

    Of the library, the modules count that the notebook imports, itself or through others. Prose is left out: editing
    it cannot change an output.

    Args:
        path: the notebook.

    Returns:
        Such as ``"notebook:0a1b2c3d4e5f library:… lock:…"``; stored in ``metadata.casebook.fingerprint``.

    Raises:
        ValueError: there is no such notebook, or it lies outside the project.
    """
    path = Path(path)
    root = _root(path)
    code = _code(root, path)
    lock = root / "requirements.txt"
    parts = {
        "notebook": code,
        "library": _library(root, code),
        "lock": [lock.read_text("utf-8")] if lock.is_file() else [],
    }
    return " ".join(f"{name}:{_hash(texts)}" for name, texts in parts.items())


def changes(path: str | Path) -> list[str]:
    """What changed since the notebook was executed: any of ``notebook``, ``library``, ``lock``; empty if it is current.

    Raises:
        ValueError: there is no such notebook, or it lies outside the project.
    """
    stored = _notebook(Path(path))["metadata"].get("casebook", {}).get("fingerprint", "")
    known = stored.split()
    return [part.partition(":")[0] for part in fingerprint(path).split() if part not in known]
