"""Checks the sources of the book without executing anything: ``make lint`` runs it in seconds.

Files hold no path or host of one machine; notebooks keep the shape of a build, were executed from the top by today's
code, and show no warning, error or picture without words; design pages keep the shape of a chapter; a number typed in
prose is marked as assumed or cited; links between files lead somewhere; the page of claims lists the claims made.
"""

import sys
from fnmatch import fnmatch
from pathlib import Path

from checks.designs import check_design, check_step
from checks.files import check_links, check_text, text_files
from checks.notebooks import check_claims, check_names, check_notebook
from checks.prose import check_numbers

ROOT = Path(__file__).resolve().parents[1]
GENERATED = {"book/benchmarks.md"}
HINT = "take it from a build with {measured}, or mark it with {assumed} or {cited}"


def check_page(path: Path, root: Path) -> list[str]:
    """Everything about one page of prose."""
    text = path.read_text("utf-8")
    name = path.relative_to(root).as_posix()
    numbers = [] if name in GENERATED else check_numbers(text, hint=HINT)
    found = [f"line {line}: {problem}" for line, problem in numbers + check_links(text, path.parent)]
    if name.startswith("book/cases/"):
        found += check_design(text)
    if fnmatch(name, "book/framework/[1-7]_*.md"):
        found += check_step(text)
    return found


def check(root: Path = ROOT) -> list[str]:
    """Every complaint about the tree at ``root``, each with the file that it is about."""
    found = []
    for path in text_files(root):
        problems = check_text(path.read_text("utf-8"))
        found += [f"{path.relative_to(root).as_posix()}:{line}: {problem}" for line, problem in problems]
    notebooks = sorted(path for path in (root / "notebooks").rglob("*.ipynb") if ".ipynb_checkpoints" not in path.parts)
    for path in notebooks:
        found += [f"{path.relative_to(root).as_posix()}: {problem}" for problem in check_notebook(path, root)]
    pages = [root / "index.md", *sorted((root / "book").rglob("*.md"))]
    for path in pages:
        found += [f"{path.relative_to(root).as_posix()}: {problem}" for problem in check_page(path, root)]
    contents = (root / "_toc.yml").read_text("utf-8").split()
    for path in [*notebooks, *pages[1:]]:
        name = path.relative_to(root).with_suffix("").as_posix()
        # An entry is a page, or a pattern such as notebooks/cases/ad_click/*.
        if not any(fnmatch(name, entry) for entry in contents):
            found.append(f"{name}: not in _toc.yml, so no reader finds it")
    return found + check_names(notebooks) + check_claims(notebooks, root)


def main() -> None:
    """The command line."""
    found = check()
    for complaint in found:
        print(complaint)
    if found:
        sys.exit(f"{len(found)} complaints about the sources.")
    print("The sources are as they should be.")


if __name__ == "__main__":
    main()
