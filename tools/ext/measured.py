"""Numbers, tables and figures of the prose come from the stored outputs of the builds.

In the text, ``{measured}`name:format` `` is a number that a build recorded or claimed, and
``{measured}`table[row, column]:format` `` a cell of one of its tables: the row is given by its first cell, or by its
first few where one is not enough. A page ``book/<part>/<name>.md`` finds the names of its own builds; those of another
are reached as ``{measured}`cases/ad_click::name:format` ``. The directives ``measured-table`` and ``measured-figure``
show a whole result. A name that no build recorded stops the build of the book.

Two more roles mark numbers that no build can measure: ``{assumed}`40 ms` `` and ``{cited}`750 million` `` (with its
citation in the same paragraph). ``claims-table`` lists every claim with how it fared over the seeds.
"""

import base64
import hashlib
import json
import re
from functools import cache
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

from docutils import nodes
from docutils.parsers.rst import directives
from myst_nb.core.render import MimeData, NbElementRenderer
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.errors import ExtensionError
from sphinx.util.docutils import SphinxDirective, SphinxRole

REFERENCE = re.compile(r"(?:(?P<build>[\w/]+)::)?(?P<name>\w+)(?:\[(?P<cell>[^\]]+)\])?")
ABSENT = "–"


class Result(NamedTuple):
    """A stored output: what casebook.report recorded of it, and its data."""

    record: dict[str, Any]
    output: dict[str, Any]


@cache
def read_results(path: Path, modified: int) -> dict[str, Result]:
    """The named results of a stored notebook; ``modified`` makes a changed file be read again."""
    outputs = (o for cell in json.loads(path.read_text("utf-8"))["cells"] for o in cell.get("outputs", ()))
    found = ((output.get("metadata", {}).get("casebook"), output) for output in outputs)
    return {record["name"]: Result(record, output) for record, output in found if record}


def builds(root: Path, docname: str, build: str | None) -> list[Path]:
    """Where a page's names are looked up: in ``build``, a notebook or a chapter, else in the page's own builds."""
    name = build or docname.partition("/")[2]
    single = root / "notebooks" / f"{name}.ipynb"
    return [single] if single.is_file() else sorted((root / "notebooks" / name).glob("*.ipynb"))


def lookup(env: BuildEnvironment, reference: str, where: str) -> tuple[Result, str | None]:
    """The result that a reference names, and the cell it asks for, if any. The page then depends on the notebooks."""
    match = REFERENCE.fullmatch(reference)
    if not match:
        raise ExtensionError(f"{where}: {reference!r}: expected name, table[row, column] or part/chapter::name")
    paths = builds(Path(env.srcdir), env.docname, match["build"])
    found = []
    for path in paths:
        env.note_dependency(str(path))
        found += [r for r in [read_results(path, path.stat().st_mtime_ns).get(match["name"])] if r]
    if len(found) != 1:
        searched = ", ".join(path.relative_to(env.srcdir).as_posix() for path in paths) or "no build at all"
        problem = "is not recorded" if not found else "is recorded more than once"
        raise ExtensionError(f"{where}: {match['name']!r} {problem} (looked in: {searched})")
    return found[0], match["cell"]


def cell_text(value: Any, fmt: str) -> str:
    """A cell of a table as it is displayed."""
    return ABSENT if value in (None, "") else value if isinstance(value, str) else format(value, fmt)


def table_cell(record: dict[str, Any], cell: str, where: str) -> Any:
    """The value in the row that starts with these cells and the column of this name."""
    if record["type"] != "table":
        raise ExtensionError(
            f"{where}: {record['name']!r} is a {record['type']}, and [{cell}] asks for a cell of a table"
        )
    *keys, column = (part.strip() for part in cell.split(","))
    if column not in record["columns"]:
        raise ExtensionError(
            f"{where}: {record['name']!r} has no column {column!r}: expected one of {record['columns']}"
        )

    def starts(row: list[Any]) -> list[str]:
        return [cell_text(value, fmt) for value, fmt in zip(row[: len(keys)], record["formats"], strict=False)]

    rows = [row for row in record["rows"] if starts(row) == keys]
    if not keys or len(rows) != 1:
        known = [starts(row) for row in record["rows"]] if keys else "a row and a column"
        raise ExtensionError(f"{where}: {record['name']!r} has {len(rows)} rows {keys}: expected one of {known}")
    return rows[0][record["columns"].index(column)]


class Measured(SphinxRole):
    """A number from a build, in the format that follows the last colon."""

    def run(self) -> tuple[list[nodes.Node], list[nodes.system_message]]:
        """The number as text."""
        where = self.get_location()
        reference, colon, fmt = self.text.rpartition(":")
        if not colon or reference.endswith(":"):
            raise ExtensionError(f"{where}: {self.text!r} has no format: expected one such as {self.text}:.2f")
        (record, _), cell = lookup(self.env, reference, where)
        value = table_cell(record, cell, where) if cell else record.get("value")
        try:
            text = format(value, fmt)
        except (TypeError, ValueError) as error:
            raise ExtensionError(f"{where}: {self.text!r}: {value!r} can't be displayed as {fmt!r}: {error}") from error
        return [nodes.inline(text, text, classes=["measured"])], []


class Marked(SphinxRole):
    """A number that was not measured, marked as what it is."""

    def run(self) -> tuple[list[nodes.Node], list[nodes.system_message]]:
        """The text, with the role's name as its class."""
        return [nodes.inline(self.rawtext, self.text, classes=[self.name])], []


class MeasuredDirective(SphinxDirective):
    """What the table and the figure share: a result's name, and a caption that replaces the recorded one."""

    required_arguments = 1
    has_content = True
    kind = ""

    def result(self) -> Result:
        """The result that the argument names, if it is of the right kind."""
        result, _ = lookup(self.env, self.arguments[0], self.get_location())
        if result.record["type"] != self.kind:
            raise ExtensionError(
                f"{self.get_location()}: {self.arguments[0]!r} is a {result.record['type']}: expected a {self.kind}"
            )
        return result

    def caption(self, recorded: str, make: type[nodes.TextElement]) -> nodes.TextElement:
        """The directive's content as a caption, or the recorded one."""
        if not self.content:
            return make(recorded, recorded)
        paragraph, *more = self.parse_content_to_nodes()
        if more or not isinstance(paragraph, nodes.paragraph):
            raise ExtensionError(f"{self.get_location()}: the caption is not one paragraph")
        return make("", "", *paragraph.children)

    def label(self, node: nodes.Element, name: str) -> None:
        """Makes the node a target: ``label``, or one such as ``table-ad_click-ladder``."""
        target = self.options.get("label") or f"{self.kind}-{self.env.docname.rpartition('/')[2]}-{name}"
        node["names"].append(nodes.fully_normalize_name(target))
        self.set_source_info(node)
        self.state.document.note_explicit_target(node, node)


class MeasuredFigure(MeasuredDirective):
    """A figure of a build. Options: ``alt`` and ``label``; the content is a caption for this page."""

    kind = "figure"
    option_spec: ClassVar = {"alt": directives.unchanged_required, "label": directives.unchanged_required}

    def run(self) -> list[nodes.Node]:
        """The figure, its picture written where Sphinx finds it."""
        record, output = self.result()
        recorded = output["metadata"]["image/png"]
        picture = base64.b64decode(output["data"]["image/png"])
        name = f"{hashlib.sha256(picture).hexdigest()[:16]}.png"
        folder = Path(self.env.srcdir, "_build", "measured")
        folder.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(picture)
        figure = nodes.figure(
            "", nodes.image(uri=f"/_build/measured/{name}", alt=self.options.get("alt", recorded["alt"]))
        )
        figure += self.caption(recorded["caption"], nodes.caption)
        self.label(figure, record["name"])
        return [figure]


def build_table(
    title: nodes.TextElement, head: list[str], rows: list[list[list[nodes.Node]]], right: list[bool]
) -> nodes.table:
    """A table whose first column heads its rows; ``right`` says which columns are aligned to the right."""

    def row(cells: list[list[nodes.Node]]) -> nodes.row:
        entries = zip(cells, right, strict=True)
        return nodes.row("", *(nodes.entry("", *c, classes=["text-right"] if r else []) for c, r in entries))

    group = nodes.tgroup(cols=len(head))
    for position in range(len(head)):
        group += nodes.colspec(colwidth=1, **({"stub": 1} if position == 0 else {}))
    group += nodes.thead("", row([[nodes.paragraph(text, text)] for text in head]))
    group += nodes.tbody("", *(row(cells) for cells in rows))
    return nodes.table("", title, group)


class MeasuredTable(MeasuredDirective):
    """A table of a build. Options: ``columns`` to show, ``label``; the content is a caption for this page."""

    kind = "table"
    option_spec: ClassVar = {"columns": directives.unchanged_required, "label": directives.unchanged_required}

    def run(self) -> list[nodes.Node]:
        """The table."""
        record, _ = self.result()
        columns: list[str] = record["columns"]
        shown = [c.strip() for c in self.options["columns"].split(",")] if "columns" in self.options else columns
        for column in shown:
            if column not in columns:
                where, name = self.get_location(), record["name"]
                raise ExtensionError(f"{where}: {name!r} has no column {column!r}: expected one of {columns}")
        at = [columns.index(column) for column in shown]
        texts = [[cell_text(row[i], record["formats"][i]) for i in at] for row in record["rows"]]
        right = [any(isinstance(row[i], (int, float)) for row in record["rows"]) for i in at]
        rows = [[[nodes.paragraph(text, text)] for text in row] for row in texts]
        table = build_table(self.caption(record["caption"], nodes.title), shown, rows, right)
        self.label(table, record["name"])
        return [table]


class ClaimsTable(SphinxDirective):
    """Every claim of the book, by build, from the file that the run over the seeds wrote."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """A heading line and a table for each build; a sentence where there are no claims yet."""
        path = Path(self.env.srcdir, self.arguments[0])
        if not path.is_file():
            raise ExtensionError(
                f"{self.get_location()}: there is no {self.arguments[0]}: expected what `make seeds` writes"
            )
        self.env.note_dependency(str(path))
        claims: dict[str, list[dict[str, Any]]] = {}
        for claim in json.loads(path.read_text("utf-8")):
            claims.setdefault(claim["chapter"], []).append(claim)
        if not claims:
            return [nodes.paragraph("", "No build makes a claim yet.")]
        return [self.table(chapter, claims[chapter]) for chapter in sorted(claims)]

    def table(self, chapter: str, claims: list[dict[str, Any]]) -> nodes.table:
        """The claims of one build, under its name."""
        link = addnodes.pending_xref(
            "", nodes.inline(chapter, chapter), refdomain="std", reftype="doc", refdoc=self.env.docname,
            reftarget=f"/notebooks/{chapter}", refexplicit=False, refwarn=True,
        )  # fmt: skip
        head = ["claim", "kind", "claimed", "measured", "range over the seeds", "held in"]
        rows = [[self.cell(text) for text in self.texts(claim)] for claim in claims]
        return build_table(nodes.title("", "", link), head, rows, [False, False, True, True, True, True])

    def texts(self, claim: dict[str, Any]) -> list[str]:
        """The cells of one claim."""

        def number(key: str) -> str:
            return format(claim[key], claim.get("fmt") or ".3g")

        kind = f"{claim['kind']} {{cite}}`{claim['source']}`" if claim.get("source") else claim["kind"]
        span = f"{number('min')} to {number('max')}"
        return [claim["statement"], kind, claim["bound"], number("value"), span, f"{claim['held']} of {claim['seeds']}"]

    def cell(self, text: str) -> list[nodes.Node]:
        """Plain text, unless it carries a citation."""
        return self.parse_text_to_nodes(text) if "{cite}" in text else [nodes.paragraph(text, text)]


PLAIN = NbElementRenderer.render_image


def described(renderer: NbElementRenderer, data: MimeData) -> list[nodes.Element]:
    """A picture as myst-nb renders it, with the alternative text and the caption that were stored with it."""
    found = PLAIN(renderer, data)
    words = data.output_metadata.get(data.mime_type, {})
    if "alt" not in words:
        return found
    found[0]["alt"] = words["alt"]
    return [nodes.figure("", found[0], nodes.caption(words["caption"], words["caption"]))]


def setup(app: Sphinx) -> dict[str, Any]:
    """Called by Sphinx."""
    NbElementRenderer.render_image = described
    app.add_role("measured", Measured())
    app.add_role("assumed", Marked())
    app.add_role("cited", Marked())
    app.add_directive("measured-figure", MeasuredFigure)
    app.add_directive("measured-table", MeasuredTable)
    app.add_directive("claims-table", ClaimsTable)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
