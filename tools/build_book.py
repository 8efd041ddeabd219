"""Builds the book from the stored outputs of its notebooks: every warning is an error, nothing is executed.

``python tools/build_book.py`` writes the HTML to ``_build/html``; ``--singlehtml`` writes the whole book as one page
to ``_build/singlehtml``, from which the PDF is printed; ``--fresh`` forgets what an earlier build read, as a release
and the tests do. The first warning stops the build, because a build that went on would pass the second time.
"""

import argparse
import hashlib
import shutil
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


# What every page shares. Sphinx looks for changed pages only, so a change of these begins anew.
SHARED = ("_config.yml", "_toc.yml", "book/assets/*.*", "book/templates/*", "tools/ext/*.py", "requirements.txt")


def shared_parts(root: Path) -> str:
    """A hash of what every page of the book shares."""
    paths = sorted(path for pattern in SHARED for path in root.glob(pattern) if path.is_file())
    return hashlib.sha256(b"".join(hashlib.sha256(path.read_bytes()).digest() for path in paths)).hexdigest()


def build(root: Path = ROOT, *, builder: str = "html", fresh: bool = False) -> Path:
    """Builds the book of the tree at ``root`` and returns the page to open.

    Args:
        root: the folder of ``_config.yml`` and ``_toc.yml``.
        builder: ``html`` or ``singlehtml``.
        fresh: read and write every page anew.

    Raises:
        SystemExit: a warning or an error, which Sphinx has printed.
    """
    from jupyter_book.sphinx import build_sphinx

    target, doctrees = root / "_build" / builder, root / "_build" / ".doctrees" / builder
    stamp, shared = doctrees / "shared_parts", shared_parts(root)
    if fresh or not stamp.is_file() or stamp.read_text() != shared:
        for folder in (target, doctrees):
            shutil.rmtree(folder, ignore_errors=True)
    outcome = build_sphinx(
        str(root),
        str(target),
        path_config=str(root / "_config.yml"),
        noconfig=True,
        # What the command line of Jupyter Book would pass: read by its own configuration step.
        confoverrides={"external_toc_path": str(root / "_toc.yml"), "latex_individualpages": False},
        doctreedir=str(doctrees),
        builder=builder,
        warningiserror=True,
        quiet=True,
    )
    if outcome:
        raise SystemExit(f"The book was not built: {builder} stopped at the message above.")
    stamp.write_text(shared)
    return target / "index.html"


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--singlehtml", action="store_true", help="the whole book as one page")
    parser.add_argument("--fresh", action="store_true", help="read and write every page anew")
    options = parser.parse_args()
    page = build(builder="singlehtml" if options.singlehtml else "html", fresh=options.fresh)
    print(f"Built {page.relative_to(ROOT)}. Open {page.as_uri()}")


if __name__ == "__main__":
    sys.exit(main())
