"""The one form in which a named result is displayed: text, HTML and a record in the output's metadata."""

import html
import re
from typing import Any

from casebook import validate

__all__ = ["checked_format", "checked_name", "checked_text", "checked_tolerance", "emit", "number_html", "number_text"]

NAME = re.compile(r"[a-z][a-z0-9_]*")


def emit(text: str, markup: str, record: dict[str, Any]) -> None:
    """Displays a result in the running cell, or as text where there is no notebook.

    Args:
        text: the plain form. Digits that a comparison must skip come from :func:`number_text`.
        markup: the HTML form, with digits from :func:`number_html`.
        record: what the comparison and the design pages read; JSON values only.
    """
    from IPython.display import display

    display({"text/plain": text, "text/html": markup}, raw=True, metadata={"casebook": record})


def number_text(digits: str) -> str:
    """Digits in plain text. The brackets tell the text comparison (``sanitize.cfg``) to leave them to the record."""
    return f"⟨{digits}⟩"


def number_html(digits: str, value: float | None = None) -> str:
    """Digits in HTML. The element tells the text comparison (``sanitize.cfg``) to leave them to the record."""
    attribute = "" if value is None else f' value="{value!r}"'
    return f"<data{attribute}>{html.escape(digits)}</data>"


def checked_name(name: str) -> str:
    """The name, if a design page can refer to it: lower case letters, digits and underscores, a letter first."""
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise ValueError(f"name is {name!r}: expected lower case letters, digits and underscores, a letter first")
    return name


def checked_text(argument: str, value: str, *, least: int = 1) -> str:
    """The value, if it is text of at least ``least`` characters on one line."""
    if not isinstance(value, str) or len(value.strip()) < least or "\n" in value:
        raise ValueError(f"{argument} is {value!r}: expected one line of at least {least} characters")
    return value.strip()


def checked_tolerance(tol: float | None) -> float | None:
    """The tolerance: a share in [0, 1], or None for what is shown and never compared."""
    return None if tol is None else validate.probability("tol", tol)


def checked_format(argument: str, fmt: str, value: float) -> str:
    """The value in the format, or an error that names the format."""
    try:
        return format(value, fmt)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{argument} is {fmt!r}: expected a format for {value!r}, such as '.3g' or '.1%'") from error
