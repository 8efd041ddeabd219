"""Figures: one look, colours that a colour-blind reader can tell apart, and words for whoever cannot see them."""

import base64
import io
from typing import TYPE_CHECKING

from casebook.report.outputs import checked_name, checked_text, checked_tolerance

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["COLOURS", "figure", "style"]

# Okabe and Ito's colours, which readers with any common colour blindness can tell apart. The yellow, too pale for a
# line on white, is left out; the near-black comes last, for the truth or the reference.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#333333")

DPI = 120


def style() -> None:
    """Sets the book's matplotlib style. Called once, in the first cells of a notebook."""
    import matplotlib as mpl
    from cycler import cycler

    mpl.rcParams.update(
        {
            "axes.prop_cycle": cycler(color=COLOURS),
            "axes.axisbelow": True,
            "axes.edgecolor": "#8a8f98",
            "axes.grid": True,
            "axes.labelcolor": "#33373d",
            "axes.spines.right": False,
            "axes.spines.top": False,
            "axes.titlelocation": "left",
            "axes.titlesize": 10.5,
            "figure.constrained_layout.use": True,
            # White in the dark theme too: a card on which every colour keeps its contrast.
            "figure.facecolor": "white",
            "figure.figsize": (6.4, 3.4),
            "font.family": "DejaVu Sans",  # comes with matplotlib, so the same on every machine
            "font.size": 9.5,
            "grid.color": "#e3e5e8",
            "grid.linewidth": 0.8,
            "legend.frameon": False,
            "lines.linewidth": 1.8,
            "text.color": "#33373d",
            "xtick.color": "#5b6068",
            "ytick.color": "#5b6068",
        }
    )


def _png(fig: "Figure") -> bytes:
    """The figure as a PNG of at most 256 colours: a third of the size, and no difference to the eye."""
    from PIL import Image

    full, small = io.BytesIO(), io.BytesIO()
    fig.savefig(full, format="png", dpi=DPI)
    Image.open(full).convert("RGB").quantize(256).save(small, format="png", optimize=True)
    return small.getvalue()


def _checked_labels(fig: "Figure") -> None:
    for side in ("x", "y"):
        shared = getattr(fig, f"get_sup{side}label")()
        if not shared and not any(getattr(axes, f"get_{side}label")() for axes in fig.axes):
            raise ValueError(f"fig has no label on its {side} axis: expected one, with the unit")


def figure(name: str, fig: "Figure", *, alt: str, caption: str, tol: float | None = 0.02) -> None:
    """Displays a figure with its alternative text and caption, and closes it.

    Args:
        name: unique within the chapter.
        fig: a matplotlib figure whose axes are labelled.
        alt: what the figure shows, in words, for a reader who does not see it.
        caption: one line below the figure.
        tol: share of the ink that a re-execution may move; None for a figure of timings, which is never compared.

    Raises:
        ValueError: an argument is not as described, or an axis has no label.
    """
    import matplotlib.pyplot as plt
    from IPython.display import display
    from matplotlib.figure import Figure

    checked_name(name)
    if not isinstance(fig, Figure):
        raise ValueError(f"fig is a {type(fig).__name__}: expected a matplotlib figure")
    alt = checked_text("alt", alt, least=20)
    caption = checked_text("caption", caption, least=10)
    tol = checked_tolerance(tol)
    _checked_labels(fig)
    data = base64.b64encode(_png(fig)).decode()
    plt.close(fig)
    display(
        {"image/png": data, "text/plain": f"[figure {name}: {alt}]"},
        raw=True,
        metadata={
            "image/png": {"alt": alt, "caption": caption},
            "casebook": {"type": "figure", "name": name, "tol": tol},
        },
    )
