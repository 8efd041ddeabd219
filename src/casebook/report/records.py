"""Recorded numbers: displayed in the notebook, quoted by the design pages."""

import html
import numbers

from casebook import validate
from casebook.report.outputs import checked_format, checked_name, checked_tolerance, emit, number_html, number_text

__all__ = ["record"]


def record(name: str, value: float, *, fmt: str = ".3g", tol: float | None = 0.02, unit: str = "") -> None:
    """Displays a number under a name by which a design page can quote it.

    Args:
        name: unique within the chapter.
        value: a finite number; a whole number stays one.
        fmt: format of the value when displayed.
        tol: relative change of the value that a re-execution may show; None for a timing, which is never compared.
        unit: such as ``"ms"``; displayed after the number.

    Raises:
        ValueError: an argument is not as described.
    """
    checked_name(name)
    checked = validate.number("value", value)
    plain: float = int(value) if isinstance(value, numbers.Integral) else checked
    tol = checked_tolerance(tol)
    digits = checked_format("fmt", fmt, plain)
    after = f" {unit}" if unit else ""
    emit(
        f"{name} = {number_text(digits)}{after}",
        f'<p class="record"><code>{name}</code> = {number_html(digits, plain)}{html.escape(after)}</p>',
        {"type": "record", "name": name, "value": plain, "fmt": fmt, "tol": tol, "unit": unit},
    )
