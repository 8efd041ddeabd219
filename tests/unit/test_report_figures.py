"""Figures carry their words, keep their size small, and share one look."""

import base64
import io

import matplotlib
import pytest

matplotlib.use("Agg")

import matplotlib.pyplot as plt
from PIL import Image

from casebook.report import figure, style
from casebook.report.figures import COLOURS

WORDS = {"alt": "A line rises from the lower left to the upper right.", "caption": "A line that rises."}


def drawing(**labels):
    fig, axes = plt.subplots()
    axes.plot([0, 1], [0, 1])
    axes.set(**labels)
    return fig


def test_a_figure_carries_its_words_and_is_closed(shown):
    fig = drawing(xlabel="rank", ylabel="share")
    figure("curve", fig, **WORDS, tol=None)
    [(data, metadata)] = shown
    assert metadata == {"image/png": WORDS, "casebook": {"type": "figure", "name": "curve", "tol": None}}
    assert data["text/plain"] == f"[figure curve: {WORDS['alt']}]"
    assert not plt.fignum_exists(fig.number)
    picture = Image.open(io.BytesIO(base64.b64decode(data["image/png"])))
    assert picture.mode == "P" and len(data["image/png"]) < 40_000


def test_style_is_the_same_wherever_it_is_drawn(shown):
    with matplotlib.rc_context():
        style()
        for _ in range(2):
            figure("curve", drawing(xlabel="rank", ylabel="share"), **WORDS)
        colours = [entry["color"] for entry in matplotlib.rcParams["axes.prop_cycle"]]
    assert shown[0][0]["image/png"] == shown[1][0]["image/png"]
    assert colours == list(COLOURS)


def test_colours_stay_apart_and_readable_on_white():
    """Every pair differs in lightness or hue; every colour has a contrast of at least 2 with white."""

    def luminance(colour):
        channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
        return sum(weight * c for weight, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))

    assert len(set(COLOURS)) == len(COLOURS)
    assert all(1.05 / (luminance(colour) + 0.05) > 2 for colour in COLOURS)


@pytest.mark.parametrize(
    ("fig", "change", "message"),
    [
        ("picture", {}, "fig is a str: expected a matplotlib figure"),
        (None, {"alt": "a plot"}, "alt is 'a plot': expected one line of at least 20"),
        (None, {"caption": ""}, "caption is ''"),
        (None, {"tol": 1.5}, "tol is 1.5"),
    ],
)
def test_bad_input_is_refused(shown, fig, change, message):
    with pytest.raises(ValueError, match=message):
        figure("curve", fig or drawing(xlabel="rank", ylabel="share"), **(WORDS | change))


@pytest.mark.parametrize(("given", "side"), [("ylabel", "x"), ("xlabel", "y")])
def test_an_axis_without_a_label_is_refused(shown, given, side):
    with pytest.raises(ValueError, match=f"fig has no label on its {side} axis"):
        figure("curve", drawing(**{given: "share"}), **WORDS)
