"""Mermaid diagrams that need no network and that a screen reader can announce.

A fence with the word ``mermaid`` becomes a ``<pre class="mermaid">`` that ``book/assets/book.js`` draws with the copy
of Mermaid beside it, loaded as a classic script because browsers refuse ES modules from ``file://``. JupyterLab and
public code hosts draw the same fence themselves.
"""

import html
import re
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.errors import ExtensionError
from sphinx.util.docutils import SphinxDirective

TITLE = re.compile(r"^\s*accTitle\s*:\s*(\S.*)$", re.MULTILINE)


class Mermaid(SphinxDirective):
    """One diagram; its ``accTitle`` line, Mermaid's own, is its alternative text."""

    has_content = True

    def run(self) -> list[nodes.Node]:
        """The diagram's source, for the script of the page to draw."""
        source = "\n".join(self.content)
        title = TITLE.search(source)
        if not title:
            raise ExtensionError(
                f"{self.get_location()}: the diagram has no line `accTitle: ...` below its first: "
                "expected its content in a few words, for readers who do not see it"
            )
        label = html.escape(title[1].strip())
        # It takes the focus, so that the keyboard can scroll what is wider than a phone.
        markup = (
            f'<div class="diagram" role="img" aria-label="Diagram: {label}" tabindex="0">'
            f'<pre class="mermaid">{html.escape(source)}</pre></div>'
        )
        self.env.metadata[self.env.docname]["diagrams"] = "yes"
        return [nodes.raw("", markup, format="html")]


def load_script(
    app: Sphinx, pagename: str, templatename: str, context: dict[str, Any], doctree: nodes.document
) -> None:
    """Loads Mermaid, which is 3.5 MB, only on pages that have a diagram; the single page has those of all."""
    pages = app.env.metadata if app.builder.name == "singlehtml" else [pagename]
    if any("diagrams" in app.env.metadata[page] for page in pages):
        app.add_js_file("mermaid/mermaid.min.js", priority=400)


def setup(app: Sphinx) -> dict[str, Any]:
    """Called by Sphinx."""
    app.add_directive("mermaid", Mermaid)
    app.connect("html-page-context", load_script)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
