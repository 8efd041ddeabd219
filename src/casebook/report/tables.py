"""Tables: read by screen readers, compared cell by cell, quoted by the design pages."""

import html
import numbers
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

from casebook import validate
from casebook.report.outputs import (
    checked_format,
    checked_name,
    checked_text,
    emit,
    number_html,
    number_text,
)

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["table"]

Cell = str | float | None
ABSENT = "–"


def _plain(value: Any) -> Cell:
    """A cell as JSON keeps it: text, a number, or None for what is absent."""
    import pandas as pd

    if isinstance(value, str):
        return value
    if pd.api.types.is_bool(value):
        return "yes" if value else "no"
    if pd.isna(value):
        return None
    if isinstance(value, numbers.Integral):
        return int(value)
    return float(value) if isinstance(value, numbers.Real) else str(value)


def _flat(frame: "pd.DataFrame") -> "pd.DataFrame":
    """The frame with its index as columns, so that no header is empty."""
    import pandas as pd

    if not isinstance(frame, pd.DataFrame):
        raise ValueError(f"frame is a {type(frame).__name__}: expected a DataFrame")
    if frame.columns.nlevels > 1:
        raise ValueError(f"frame has {frame.columns.nlevels} levels of columns: expected one")
    if isinstance(frame.index, pd.RangeIndex) and frame.index.name is None:
        flat = frame
    elif None in frame.index.names:
        raise ValueError("frame has an index without a name: name it, as it becomes the first column, or reset it")
    else:
        flat = frame.reset_index()
    if flat.empty:
        raise ValueError(f"frame has shape {flat.shape}: expected at least one row and one column")
    flat = flat.set_axis([str(column) for column in flat.columns], axis=1)
    if not flat.columns.is_unique or "" in flat.columns:
        raise ValueError(f"frame has columns {list(flat.columns)}: expected a name for each, none twice")
    return flat


def _default_format(cells: list[Cell]) -> str:
    return "d" if all(value is None or isinstance(value, int) for value in cells) else ".3g"


def _shown(column: str, fmt: str, value: Cell) -> tuple[str, str]:
    """A cell in plain text and in HTML."""
    if value is None or isinstance(value, str):
        return value or ABSENT, html.escape(value or ABSENT)
    digits = checked_format(f"formats[{column!r}]", fmt, value)
    return number_text(digits), number_html(digits)


def table(
    name: str,
    frame: "pd.DataFrame",
    *,
    caption: str,
    formats: Mapping[str, str] | None = None,
    volatile: Collection[str] = (),
    tol: float = 0.02,
) -> None:
    """Displays a table whose numbers a re-execution compares and a design page can quote.

    The first column heads the rows. An index with a name becomes the first column; one without is refused.

    Args:
        name: unique within the chapter.
        frame: one row for each row shown. Missing values are shown as a dash.
        caption: one line that says what the table shows.
        formats: format of the numbers by column; by default ``.3g``, and whole numbers in full.
        volatile: columns, such as timings, that are shown and never compared.
        tol: relative change of each other number that a re-execution may show.

    Raises:
        ValueError: an argument is not as described.
    """
    checked_name(name)
    caption = checked_text("caption", caption, least=10)
    flat = _flat(frame)
    columns: list[str] = list(flat.columns)
    formats = dict(formats or {})
    validate.known("formats", formats, columns)
    if isinstance(volatile, str):
        raise ValueError(f"volatile is {volatile!r}: expected a collection of column names")
    validate.known("volatile", dict.fromkeys(volatile), columns)
    tol = validate.probability("tol", tol)

    # Column by column: going over the rows would turn whole numbers into floats.
    cells = {column: [_plain(value) for value in flat[column]] for column in columns}
    used = {column: formats.get(column, _default_format(cells[column])) for column in columns}
    # Text is read from the left, numbers are compared from the right.
    align = {c: "right" if any(isinstance(v, (int, float)) for v in cells[c]) else "left" for c in columns}
    rows = [dict(zip(columns, row, strict=True)) for row in zip(*cells.values(), strict=True)]

    def markup(column: str, value: Cell) -> str:
        tag, scope = ("th", ' scope="row"') if column == columns[0] else ("td", "")
        return f'<{tag}{scope} style="text-align: {align[column]}">{_shown(column, used[column], value)[1]}</{tag}>'

    head = "".join(f'<th scope="col" style="text-align: {align[c]}">{html.escape(c)}</th>' for c in columns)
    body = "\n".join(f"<tr>{''.join(markup(column, value) for column, value in row.items())}</tr>" for row in rows)
    lines = [" | ".join(_shown(column, used[column], value)[0] for column, value in row.items()) for row in rows]
    emit(
        "\n".join([caption, " | ".join(columns), *lines]),
        # The wrapper scrolls sideways on a phone; it takes the focus so that the keyboard can scroll it too.
        f'<div class="table-scroll" tabindex="0" role="group" aria-label="{html.escape(caption)}">\n'
        f'<table class="measured">\n<caption>{html.escape(caption)}</caption>\n'
        f"<thead>\n<tr>{head}</tr>\n</thead>\n<tbody>\n{body}\n</tbody>\n</table>\n</div>",
        {
            "type": "table",
            "name": name,
            "caption": caption,
            "columns": columns,
            "rows": [list(row.values()) for row in rows],
            "formats": [used[column] for column in columns],
            "volatile": [column for column in columns if column in volatile],
            "tol": tol,
        },
    )
