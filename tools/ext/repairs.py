"""What Sphinx and its extensions write and the book can't use as it is.

Each repair names its reason; one that is no longer needed can go.
"""

import re
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx

# What the parsers write, and what they should have written.
BODY = (
    # An entry of the bibliography stands in a list; the role it is given is deprecated and not allowed there.
    (re.compile(r' role="doc-biblioentry"'), ' role="listitem"'),
    # An empty corner of a table heads nothing.
    (re.compile(r"<th[^>]*>(<p></p>)?</th>"), "<td></td>"),
    # A box to tick has no name of its own; the text beside it is not tied to it.
    (re.compile(r'(<input class="task-list-item-checkbox" checked="checked")'), r'\1 aria-label="done"'),
    (re.compile(r'(<input class="task-list-item-checkbox") (?!checked)'), r'\1 aria-label="to do" '),
)
# In the sidebar, the arrow that unfolds a chapter stands after the link to it and has no name. The name stops at the
# end of that link: a chapter without builds has no arrow, and the next arrow belongs to another.
ARROW = re.compile(r"(<a [^>]*>)((?:(?!</a>).)*)(</a>\s*<details[^>]*>\s*<summary)(?=>)", re.DOTALL)


def name_arrow(found: re.Match[str]) -> str:
    """The link and the arrow behind it, the arrow named after the link's words."""
    words = re.sub(r"<[^>]*>", "", found[2]).replace('"', "&quot;")
    return f'{found[0]} aria-label="Pages of {words}"'


def repair_page(
    app: Sphinx, pagename: str, templatename: str, context: dict[str, Any], doctree: nodes.document | None
) -> None:
    """Mends what axe rightly refuses in the HTML of a page."""
    if "body" in context:
        for pattern, replacement in BODY:
            context["body"] = pattern.sub(replacement, context["body"])
    if "generate_toctree_html" in context:
        original = context["generate_toctree_html"]

        def named(kind: str, **options: Any) -> Any:
            tree = original(kind=kind, **options)
            return ARROW.sub(name_arrow, str(tree)) if kind == "sidebar" else tree

        context["generate_toctree_html"] = named


def share_visitors(app: Sphinx) -> None:
    """Lets the single page draw what the HTML pages draw.

    An extension that registers its own visitors for ``singlehtml``, as sphinx-exercise does, hides those that all
    others registered for ``html``.
    """
    handlers = app.registry.translation_handlers
    if "singlehtml" in handlers:
        handlers["singlehtml"] = {**handlers.get("html", {}), **handlers["singlehtml"]}


def setup(app: Sphinx) -> dict[str, Any]:
    """Called by Sphinx."""
    app.connect("builder-inited", share_visitors)
    app.connect("html-page-context", repair_page, priority=900)  # after the theme's own
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
