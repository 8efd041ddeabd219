"""Numbers, tables and figures reach a page from the stored outputs of its builds, or the build of the book stops."""

import base64
import io
import json

import pytest
from PIL import Image
from sphinx.application import Sphinx
from sphinx.errors import ExtensionError
from sphinx.util.docutils import docutils_namespace, patch_docutils

CONF = """
extensions = ["myst_nb", "sphinxcontrib.bibtex", "measured"]
myst_enable_extensions = ["colon_fence"]
nb_execution_mode = "off"
bibtex_bibfiles = ["references.bib"]
exclude_patterns = ["_build"]
"""
INDEX = "# Home\n\n```{toctree}\n:glob:\nbook/cases/*\nnotebooks/cases/x/*\n```\n\n```{bibliography}\n```\n"
BIB = "@article{he2014, author={He, Xinran}, title={Practical Lessons}, journal={ADKDD}, year={2014}}"
CLAIM = {
    "chapter": "cases/x/1_model", "name": "lift", "kind": "also seen in practice", "source": "he2014", "bound": "> 1",
    "statement": "trees | win", "value": 1.5, "fmt": ".1f", "seeds": 30, "held": 29, "min": 0.9, "max": 2.1,
}  # fmt: skip


def output(data, **record):
    metadata = {"casebook": record} | record.pop("extra", {})
    return {"output_type": "display_data", "data": data, "metadata": metadata}


def number(name, value):
    return output({"text/plain": name}, type="record", name=name, value=value, fmt=".3g", tol=0.02)


def picture():
    file = io.BytesIO()
    Image.new("RGB", (4, 4)).save(file, format="png")
    return base64.b64encode(file.getvalue()).decode()


LADDER = output(
    {"text/plain": "table"}, type="table", name="ladder", caption="Quality <and> cost",
    columns=["model", "slice", "share", "rows"], formats=["", "", ".1%", "d"], volatile=[], tol=0.02,
    rows=[["LR", "new", 0.1234, 500], ["LR", "old", 0.5, 1200], ["trees", "old", None, 7]],
)  # fmt: skip
CURVE = output(
    {"image/png": picture(), "text/plain": "[figure]"}, type="figure", name="curve", tol=0.02,
    extra={"image/png": {"alt": "A rising line.", "caption": "It <rises>."}},
)  # fmt: skip


@pytest.fixture
def book(tmp_path):
    """Builds a book of one page with two builds; gives what it wrote of the page and of the first build."""

    def write(name, *outputs):
        cell = {"cell_type": "code", "execution_count": 1, "metadata": {}, "source": "x", "outputs": list(outputs)}
        title = {"cell_type": "markdown", "metadata": {}, "source": "# Build"}
        language = {"language_info": {"name": "python", "pygments_lexer": "ipython3"}}
        text = json.dumps({"cells": [title, cell], "metadata": language, "nbformat": 4, "nbformat_minor": 4})
        path = tmp_path / "notebooks" / "cases" / "x" / f"{name}.ipynb"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")

    def build(page):
        files = {
            "conf.py": CONF,
            "references.bib": BIB,
            "index.md": INDEX,
            "book/cases/x.md": f"# Page\n\n{page}\n",
            "claims.json": json.dumps([CLAIM]),
        }
        for name, text in files.items():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(text, "utf-8")
        target = tmp_path / "_build" / "html"
        with patch_docutils(), docutils_namespace():
            app = Sphinx(
                tmp_path, tmp_path, target, tmp_path / "_build" / "trees", "html", status=None, warning=None,
                warningiserror=True, freshenv=True,
            )  # fmt: skip
            app.build()
        return tuple(
            (target / f"{name}.html").read_text("utf-8") for name in ("book/cases/x", "notebooks/cases/x/1_model")
        )

    write("1_model", number("lift", 1.2345), LADDER, CURVE)
    write("2_evaluate", number("gain", 12))
    build.write = write
    return build


def test_numbers_come_from_any_build_of_the_chapter(book):
    page, _ = book(
        "A {measured}`lift:.2f` B {measured}`gain:d` C {measured}`cases/x::lift:.0%` "
        "D {measured}`cases/x/2_evaluate::gain:.1f` E {measured}`ladder[LR, new, share]:.0%` "
        "F {measured}`ladder[trees,rows]:,d` G {assumed}`40 ms` H {cited}`3 million` {cite}`he2014`"
    )
    for letter, text in zip("ABCDEF", ["1.23", "12", "123%", "12.0", "12%", "7"], strict=True):
        assert f'{letter} <span class="measured">{text}</span>' in page
    assert '<span class="assumed">40 ms</span>' in page and '<span class="cited">3 million</span>' in page


def test_a_changed_build_changes_the_page(book):
    assert ">1.23<" in book("{measured}`lift:.2f`")[0]
    book.write("1_model", number("lift", 9.87))
    assert ">9.87<" in book("{measured}`lift:.2f`")[0]


def test_a_table_and_a_figure(book):
    page, build = book(
        ":::{measured-table} ladder\n:columns: model, share\nAbout {measured}`lift:.1f` *times*.\n:::\n\n"
        ":::{measured-table} cases/x/1_model::ladder\n:label: whole\n:::\n\n"
        ":::{measured-figure} curve\n:alt: Other words.\n:::\n\n"
        "See {ref}`this <figure-x-curve>` and {ref}`that <whole>`."
    )
    assert page.count("<th class=") == 2 + 3 + 4 + 3, "two tables, each with its headings and three headed rows"
    assert 'About <span class="measured">1.2</span> <em>times</em>.' in page
    assert "Quality &lt;and&gt; cost" in page and "12.3%" in page and "–" in page
    assert 'alt="Other words."' in page and "It &lt;rises&gt;." in page
    assert 'href="#figure-x-curve"' in page and 'href="#whole"' in page
    assert build.count('alt="A rising line."') == build.count("<figcaption>") == 1, "the build's own page has them too"


def test_the_claims_with_how_they_fared(book):
    page, _ = book("```{claims-table} claims.json\n```")
    for text in ("trees | win", "&gt; 1", "1.5", "0.9 to 2.1", "29 of 30", "1_model.html", "He14"):
        assert text in page


@pytest.mark.parametrize(
    ("page", "words"),
    [
        ("{measured}`lfit:.2f`", r"page.*: 'lfit' is not recorded \(looked in: notebooks/cases/x/1_model.ipynb, "),
        ("{measured}`cases/y::lift:.2f`", "'lift' is not recorded .*no build at all"),
        ("{measured}`lift`", "'lift' has no format"),
        ("{measured}`lift:q`", "1.2345 can't be displayed as 'q'"),
        ("{measured}`ladder:.2f`", "None can't be displayed"),
        ("{measured}`ladder[LR, share]:.2f`", r"'ladder' has 2 rows \['LR'\]"),
        ("{measured}`ladder[FM, share]:.2f`", r"'ladder' has 0 rows \['FM'\]: expected one of"),
        ("{measured}`ladder[share]:.2f`", "expected one of a row and a column"),
        ("{measured}`ladder[LR, cost]:.2f`", "'ladder' has no column 'cost': expected one of"),
        ("{measured}`lift[LR, cost]:.2f`", "'lift' is a record"),
        ("{measured}`a b:.2f`", "'a b': expected name, table"),
        (":::{measured-table} curve\n:::", "'curve' is a figure: expected a table"),
        (":::{measured-table} ladder\n:columns: cost\n:::", "'ladder' has no column 'cost'"),
        (":::{measured-figure} curve\nOne.\n\nTwo.\n:::", "the caption is not one paragraph"),
        ("```{claims-table} none.json\n```", "there is no none.json"),
    ],
)
def test_what_is_not_there_stops_the_build(book, page, words):
    with pytest.raises(ExtensionError, match=words.replace("page", r"x\.md:3")):
        book(page)


def test_a_name_in_two_builds_is_refused(book):
    book.write("2_evaluate", number("lift", 1))
    with pytest.raises(ExtensionError, match="'lift' is recorded more than once"):
        book("{measured}`lift:.2f`")
