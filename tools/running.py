"""Run notebooks as they stand in a tree, each in a process of its own, and say what they cost and what they claimed."""

import contextlib
import json
import os
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import nbformat
import psutil
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError

ROOT = Path(__file__).resolve().parent.parent
CELL_TIMEOUT_S = 600


@dataclass
class Run:
    """One execution of a notebook.

    Attributes:
        notebook: with its outputs, as far as it came.
        seconds: from the start of the kernel to its end.
        peak_mb: the most memory that the kernel and the processes it started held at once.
        claims: what each claim recorded, in order.
        error: why it stopped, in a line, or None.
    """

    notebook: nbformat.NotebookNode
    seconds: float
    peak_mb: float
    claims: list[dict] = field(default_factory=list)
    error: str | None = None


def chapter(path: Path, root: Path = ROOT) -> str:
    """A notebook's name: ``cases/ad_click/1_model``."""
    return path.resolve().relative_to(root.resolve() / "notebooks").with_suffix("").as_posix()


def find(names: list[str], root: Path = ROOT) -> list[Path]:
    """The notebooks of the tree in order, or of these chapters and builds only.

    Raises:
        SystemExit: a name fits no notebook.
    """
    paths = sorted(p for p in (root / "notebooks").rglob("*.ipynb") if ".ipynb_checkpoints" not in p.parts)
    if not names:
        return paths
    wanted = [n.removeprefix("notebooks/").removesuffix(".ipynb").strip("/") for n in names]
    for name in wanted:
        if not any(fits(chapter(p, root), name) for p in paths):
            known = ", ".join(chapter(p, root) for p in paths) or "none"
            raise SystemExit(f"N is {name}: expected a chapter or a build of it; the builds are {known}")
    return [p for p in paths if any(fits(chapter(p, root), name) for name in wanted)]


def fits(build: str, name: str) -> bool:
    """Whether a build is the one named, or belongs to the chapter or part named."""
    return build == name or build.startswith(name + "/")


class _Memory(threading.Thread):
    """Samples what a process and its descendants hold."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self.peak = 0
        self._process = psutil.Process(pid)
        self._done = threading.Event()

    def run(self) -> None:
        while True:
            with contextlib.suppress(psutil.Error):
                family = [self._process, *self._process.children(recursive=True)]
                held = 0
                for process in family:
                    with contextlib.suppress(psutil.NoSuchProcess):
                        held += process.memory_info().rss
                self.peak = max(self.peak, held)
            if self._done.wait(0.1):
                break

    def stop(self) -> None:
        self._done.set()
        self.join()


@contextlib.contextmanager
def _kernel(client: NotebookClient, env: dict[str, str]) -> Iterator[_Memory]:
    with client.setup_kernel(env=env):
        memory = _Memory(client.km.provisioner.pid)
        memory.start()
        try:
            yield memory
        finally:
            memory.stop()


def run(path: Path, *, root: Path = ROOT, seed: int = 0, go_on: bool = False, env: dict[str, str] | None = None) -> Run:
    """Execute a notebook from the top in a fresh kernel; the file is left alone.

    Args:
        path: the notebook, below ``root``.
        root: the tree whose library it imports.
        seed: the run's seed.
        go_on: a claim that fails is recorded and the notebook goes on.
        env: more of the environment.
    """
    notebook = nbformat.read(path, as_version=4)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    error = None
    with tempfile.TemporaryDirectory() as folder:
        claims = Path(folder, "claims.jsonl")
        client = NotebookClient(
            notebook,
            timeout=CELL_TIMEOUT_S,
            kernel_name="python3",
            record_timing=False,
            coalesce_streams=True,
            extra_arguments=["--log-level=ERROR"],  # it warns of its own transport at every start
            resources={"metadata": {"path": str(path.parent)}},
        )
        settings = {
            "CASEBOOK_SEED": str(seed),
            "CASEBOOK_CHAPTER": chapter(path, root),
            "CASEBOOK_CLAIMS": str(claims),
            "CASEBOOK_CLAIMS_CONTINUE": "1" if go_on else "0",
            "PYTHONPATH": str(root / "src"),
        }
        started = time.perf_counter()
        memory = None
        try:
            with _kernel(client, os.environ | settings | (env or {})) as memory:
                for index, cell in enumerate(notebook.cells):
                    client.execute_cell(cell, index)
        except CellExecutionError as failure:
            error = f"{failure.ename}: {failure.evalue}".splitlines()[0]
        except (CellTimeoutError, DeadKernelError, RuntimeError) as failure:  # the last: it did not start in time
            error = f"{type(failure).__name__}: {str(failure).splitlines()[0]}"
        seconds = time.perf_counter() - started
        lines = claims.read_text().splitlines() if claims.exists() else []
    peak = memory.peak / 1e6 if memory else 0.0
    return Run(notebook, seconds, peak, [json.loads(line) for line in lines], error)
