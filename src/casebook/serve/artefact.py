"""An artefact: a directory from which any process can make what it serves.

A replica is another process, so a model that lives in a notebook's memory can't reach it. What can is files: weights,
tables, and the function that reads them, whose source travels along as ``scorer.py``. The model's version is a digest
of all of them.
"""

import builtins
import dis
import hashlib
import importlib.util
import inspect
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from types import CodeType
from typing import Any, TypeVar, overload

from casebook.serve.service import Scorer

__all__ = ["read_artefact", "write_artefact"]

FILE = "scorer.py"
Served = TypeVar("Served")


def write_artefact(directory: Path, load: Callable[[Path], Any]) -> str:
    """Completes an artefact: adds the source of ``load`` to a directory that has the files which ``load`` reads.

    Args:
        directory: existing, with the model's files already in it.
        load: a function of the directory that returns what is served, such as a scorer. Self-contained: it imports
            what it uses inside.

    Returns:
        The version: twelve hexadecimal digits that change with any file.

    Raises:
        ValueError: no such directory, or a function that uses names from outside or whose source is not to be had.
    """
    directory = _existing(directory)
    if not inspect.isfunction(load) or load.__name__ == "<lambda>":
        raise ValueError(f"load is {load!r}: expected a function defined with def")
    if outside := sorted({*load.__code__.co_freevars, *_global_names(load.__code__)}):
        raise ValueError(f"load uses {', '.join(outside)} from outside: expected imports and constants inside it")
    try:
        source = textwrap.dedent(inspect.getsource(load))
    except OSError as error:
        raise ValueError(f"load {load.__name__!r} has no source: expected a function from a file or a cell") from error
    # Annotations name things that only the defining module imports; the future import leaves them unevaluated.
    text = f"from __future__ import annotations\n\n{source}\n\nload = {load.__name__}\n"
    (directory / FILE).write_text(text, encoding="utf-8")
    return _version(directory)


@overload
def read_artefact(directory: Path) -> tuple[Scorer, str]: ...


@overload
def read_artefact(directory: Path, expected: type[Served]) -> tuple[Served, str]: ...


def read_artefact(directory: Path, expected: type[Any] = Scorer) -> tuple[Any, str]:
    """What the function of an artefact returns, and the version. An artefact is code: read only your own.

    Args:
        directory: completed by :func:`write_artefact`.
        expected: the type that its function must return.

    Raises:
        ValueError: the directory is not an artefact, or its function returns something else.
    """
    directory = _existing(directory)
    path = directory / FILE
    if not path.is_file():
        raise ValueError(f"directory has no {FILE}: expected one made by write_artefact")
    version = _version(directory)
    spec = importlib.util.spec_from_file_location(f"casebook_artefact_{version}", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    served = module.load(directory)
    if not isinstance(served, expected):
        raise ValueError(
            f"load returned a {type(served).__name__}: expected a {expected.__module__}.{expected.__qualname__}"
        )
    return served, version


def _existing(directory: Path) -> Path:
    if not Path(directory).is_dir():
        raise ValueError(f"directory is {str(directory)!r}: expected an existing directory")
    return Path(directory)


def _version(directory: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted(p for p in directory.rglob("*") if p.is_file() and "__pycache__" not in p.parts):
        content = path.read_bytes()
        digest.update(f"{path.relative_to(directory).as_posix()} {len(content)}\n".encode())
        digest.update(content)
    return digest.hexdigest()[:12]


def _global_names(code: CodeType) -> Iterator[str]:
    """Names that a function, or one defined inside it, takes from its module."""
    for instruction in dis.get_instructions(code):
        if instruction.opname in ("LOAD_GLOBAL", "LOAD_NAME") and not hasattr(builtins, instruction.argval):
            yield instruction.argval
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _global_names(constant)
