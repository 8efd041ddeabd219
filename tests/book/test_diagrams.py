"""A diagram becomes markup that a script draws and a screen reader announces; one without a title stops the book."""

import pytest
from sphinx.application import Sphinx
from sphinx.errors import ExtensionError
from sphinx.util.docutils import docutils_namespace, patch_docutils

# The suffixes are named, since Sphinx keeps its default in one dictionary that an earlier test's extension changes.
CONF = """
source_suffix = {".md": "markdown"}
extensions = ["myst_parser", "diagrams", "repairs"]
myst_fence_as_directive = ["mermaid"]
myst_enable_extensions = ["tasklist"]
exclude_patterns = ["_build"]
"""
DIAGRAM = "```mermaid\nflowchart LR\n  accTitle: A leads to <B>\n  A --> B\n```\n"


@pytest.fixture
def build(tmp_path):
    """Builds a book of two pages, the second without a diagram; gives the HTML of both."""

    def run(text, builder="html"):
        (tmp_path / "conf.py").write_text(CONF)
        (tmp_path / "index.md").write_text(f"# Home\n\n{text}\n\n```{{toctree}}\nother\n```\n")
        (tmp_path / "other.md").write_text("# Other\n\nNothing drawn.\n")
        out = tmp_path / "_build"
        with patch_docutils(tmp_path), docutils_namespace():
            Sphinx(tmp_path, tmp_path, out, out / ".doctrees", builder, status=None, warningiserror=True).build()
        return [(out / f"{name}.html").read_text() for name in ("index", "other") if (out / f"{name}.html").exists()]

    return run


@pytest.mark.parametrize("builder", ["html", "singlehtml"])
def test_a_titled_diagram_is_drawn_by_the_local_script_alone(build, builder):
    pages = build(DIAGRAM, builder)
    assert 'aria-label="Diagram: A leads to &lt;B&gt;"' in pages[0]
    assert "A --&gt; B" in pages[0]
    assert "mermaid/mermaid.min.js" in pages[0]
    assert "cdn" not in pages[0]
    assert all("mermaid.min.js" not in page for page in pages[1:]), "3.5 MB for a page that draws nothing"


def test_a_diagram_without_a_title_stops_the_build(build):
    with pytest.raises(ExtensionError, match=r"index.md:3: the diagram has no line `accTitle: ...`"):
        build("```mermaid\nflowchart LR\n  A --> B\n```\n")


def test_boxes_to_tick_and_empty_corners_are_mended(build):
    page = build("- [ ] one\n- [x] two\n\n<table><tr><th></th><th>a</th></tr></table>\n\n| | b |\n|-|-|\n| 1 | 2 |")[0]
    assert 'class="task-list-item-checkbox" aria-label="to do"' in page
    assert 'checked="checked" aria-label="done"' in page
    assert "<th></th>" not in page and '<th class="head"><p></p></th>' not in page
    assert page.count("<td></td>") == 2
