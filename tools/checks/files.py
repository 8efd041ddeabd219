"""What no file of the project may contain, and links between files."""

import re
from collections.abc import Iterator
from pathlib import Path

FOLDERS = ("book", "notebooks", "src", "tests", "tools", "binder", ".devcontainer", ".github", ".ci")
TEXT = {".bib", ".cfg", ".cff", ".css", ".ipynb", ".js", ".json", ".md", ".py", ".sh", ".svg", ".toml", ".txt", ".yaml",
        ".yml", ""}  # fmt: skip
VENDORED = ("book/assets/mathjax", "book/assets/mermaid")

# A folder of somebody's machine. Relative paths and addresses have something before the slash.
ABSOLUTE = re.compile(r"(?<![\w.~$})\]-])/(?:home|root|work|Users)/[\w.]|\b[A-Z]:\\\\?[A-Za-z]")
REGISTRY = re.compile(r"\b(?:pypi|pythonhosted|npmjs)\.(?:org|com)\b")
LINK = re.compile(r"(?<!!)\[[^\]]*\]\((?P<target>[^)\s#]*)(?:#[^)\s]*)?\)")
PICTURE = re.compile(r"!\[(?P<alt>[^\]]*)\]\([^)]*\)")


def text_files(root: Path) -> Iterator[Path]:
    """The project's own text files."""
    candidates = [path for path in root.iterdir() if path.is_file()]
    for folder in FOLDERS:
        candidates += (root / folder).rglob("*")
    for path in sorted(candidates):
        name = path.relative_to(root).as_posix()
        hidden = any(part in (".ipynb_checkpoints", "__pycache__") for part in path.parts)
        if path.is_file() and path.suffix in TEXT and not hidden and not name.startswith(VENDORED):
            yield path


def check_text(text: str) -> list[tuple[int, str]]:
    """Paths and hosts that hold on one machine only, as (line, complaint)."""
    found = []
    for number, line in enumerate(text.split("\n"), 1):
        if match := ABSOLUTE.search(line):
            found.append((number, f"absolute path {match[0]!r}: expected one relative to the project"))
        if match := REGISTRY.search(line):
            found.append((number, f"host of a package registry {match[0]!r}: the reader's own configuration decides"))
    return found


def check_links(text: str, folder: Path) -> list[tuple[int, str]]:
    """Relative links of a Markdown text that lead nowhere, and pictures without alternative text."""
    found = []
    for number, line in enumerate(text.split("\n"), 1):
        line = re.sub(r"(`+).+?\1", " ", line)
        for match in LINK.finditer(line):
            target = match["target"]
            if target and not re.match(r"[a-z]+:", target) and not (folder / target).exists():
                found.append((number, f"link to {target!r}: there is no such file"))
        if any(not match["alt"].strip() for match in PICTURE.finditer(line)):
            found.append((number, "picture without alternative text"))
    return found
