"""Re-execute notebooks from the top and store their outputs: python tools/execute.py [cases/ad_click ...].

A notebook that fails keeps what it had, and the exit status says so.
"""

import os
import sys
from pathlib import Path

import nbformat

from casebook.report import fingerprint
from running import ROOT, chapter, find, run


def clean(notebook: nbformat.NotebookNode) -> None:
    """Drop what differs from machine to machine and from run to run: timings, the kernel's version, empty metadata."""
    notebook.metadata["kernelspec"] = {"display_name": "Python 3", "language": "python", "name": "python3"}
    notebook.metadata["language_info"] = {"name": "python"}
    notebook.metadata.pop("widgets", None)
    for cell in notebook.cells:
        for key in ("execution", "collapsed", "scrolled", "jupyter"):
            cell.metadata.pop(key, None)


def store(notebook: nbformat.NotebookNode, path: Path) -> None:
    """Write a notebook so that an interruption leaves the old one or the new one, never half of it."""
    draft = path.with_suffix(".ipynb.draft")
    nbformat.write(notebook, draft)
    os.replace(draft, path)


def execute(path: Path, root: Path = ROOT) -> str | None:
    """Execute one notebook and store it; returns why it failed, or None."""
    made_from = fingerprint(path)  # of what the kernel is about to import, not of what is there when it ends
    # The default world at the default size, whatever the shell that calls this was set to.
    done = run(path, root=root, seed=0, env={"CASEBOOK_SIZE": "book"})
    outcome = "failed" if done.error else "stored"
    print(f"{outcome}  {done.seconds:6.1f} s  {done.peak_mb:6.0f} MB  {chapter(path, root)}", flush=True)
    if done.error:
        return done.error
    clean(done.notebook)
    done.notebook.metadata.setdefault("casebook", {})["fingerprint"] = made_from
    store(done.notebook, path)
    return None


def main(names: list[str]) -> int:
    """Execute the notebooks named, or all; returns the exit status."""
    failures = {}
    for path in find(names):
        print(f"running {chapter(path)} ...", flush=True)
        if error := execute(path):
            failures[chapter(path)] = error
    for name, error in failures.items():
        print(f"{name}: {error}", file=sys.stderr)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
