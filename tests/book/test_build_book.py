"""The book is built strictly: what Sphinx warns of stops it, the first time and every time."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import repairs

ROOT = Path(__file__).parents[2]


@pytest.fixture
def tree(tmp_path):
    """A tree with the project's own configuration and assets, and a book of one page and a bibliography."""
    for name in ("_config.yml", "tools"):
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, tmp_path / name)
    shutil.copytree(ROOT / "book/templates", tmp_path / "book/templates")
    shutil.copytree(ROOT / "book/assets", tmp_path / "book/assets", ignore=shutil.ignore_patterns("mathjax", "mermaid"))
    (tmp_path / "book/references.bib").write_text(
        "@book{a2000, author={A, B}, title={T}, publisher={P}, year={2000}}\n"
    )
    (tmp_path / "_toc.yml").write_text("format: jb-book\nroot: index\nchapters:\n  - file: book/bibliography\n")
    (tmp_path / "book/bibliography.md").write_text("# Bibliography\n\n```{bibliography}\n:all:\n```\n")
    (tmp_path / "index.md").write_text("# Home\n\nAs {cite}`a2000` says.\n")
    return tmp_path


def build(tree, *options):
    command = [sys.executable, str(tree / "tools/build_book.py"), *options]
    return subprocess.run(command, cwd=tree, capture_output=True, text=True, timeout=120)


def test_a_sound_book_is_built_and_its_place_is_said(tree):
    result = build(tree)
    assert result.returncode == 0, result.stderr
    assert (tree / "_build/html/index.html").as_uri() in result.stdout
    page = (tree / "_build/html/book/bibliography.html").read_text()
    assert "doc-biblioentry" not in page and 'role="listitem"' in page
    assert '<nav aria-label="' in page, "the logo stands in a landmark"

    style = tree / "book/assets/book.css"
    style.write_text(style.read_text() + "/* changed */")
    assert build(tree).returncode == 0
    assert (tree / "_build/html/_static/book.css").read_text().endswith("/* changed */")


def test_a_warning_stops_the_build_each_time(tree):
    (tree / "index.md").write_text("# Home\n\nSee [nothing](nowhere.md).\n")
    for options in ((), ()):
        result = build(tree, *options)
        assert result.returncode != 0
        assert "nowhere.md" in result.stderr
        assert "not built" in result.stderr


def test_each_arrow_of_the_sidebar_is_named_after_its_own_chapter():
    """A chapter without builds stands before one that has some: the first has no arrow, the second one of its own."""
    alone = '<li><a class="reference" href="a.html">Alone</a></li>'
    folded = '<li><a class="reference" href="b.html">With <code>x</code></a><details><summary><i></i></summary>'
    named = repairs.ARROW.sub(repairs.name_arrow, alone + folded + alone + folded)
    assert named.count('<summary aria-label="Pages of With x">') == 2
    assert named.count("<summary") == 2
