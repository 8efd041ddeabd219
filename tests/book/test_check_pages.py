"""The check of built pages is fed broken ones and must complain; a sound book passes."""

import pytest

import check_pages

SOUND = """<html><head><link rel="stylesheet" href="_static/a.css?v=1"/></head><body>
<a href="other.html#there">x</a> <a href="#here">y</a> <a href="https://example.org">z</a>
<h2 id="here">Here</h2><img src="_images/a.png" alt="A rising line."/>
<img class="logo__image" src="_images/a.png" alt=""/></body></html>"""


@pytest.fixture
def book(tmp_path):
    """A sound book of two pages, whose first can be given a line more."""

    def write(line="", style=""):
        for folder in ("_static", "_images"):
            (tmp_path / folder).mkdir(exist_ok=True)
        (tmp_path / "_static/a.css").write_text("body { color: red }" + style)
        (tmp_path / "_images/a.png").write_bytes(b"png")
        (tmp_path / "index.html").write_text(SOUND.replace("</body>", line + "</body>"))
        (tmp_path / "other.html").write_text('<a id="there" href="index.html">back</a>')
        return tmp_path

    return write


def test_a_sound_book_passes(book):
    assert check_pages.complaints(book()) == []


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ('<a href="gone.html">x</a>', "link to a page that is not there: gone.html"),
        ('<a href="other.html#gone">x</a>', "link to an anchor that is not there: other.html#gone"),
        ('<a href="#gone">x</a>', "link to an anchor that is not there: #gone"),
        ('<script src="https://cdn.example.org/x.js"></script>', "script is loaded from elsewhere"),
        ('<script src="//cdn.example.org/x.js"></script>', "script is loaded from elsewhere"),
        ('<link rel="stylesheet" href="http://fonts.example.org/x.css"/>', "link is loaded from elsewhere"),
        ('<img src="https://example.org/x.png" alt="A line."/>', "img is loaded from elsewhere"),
        ('<script src="_static/gone.js"></script>', "names a file that is not there: _static/gone.js"),
        ('<img src="_images/a.png"/>', "image without alternative text"),
        ('<img src="_images/a.png" alt=" "/>', "image without alternative text"),
        ('<img src="_images/a.png" alt="_images/a.png"/>', "image without alternative text"),
    ],
)
def test_a_fault_is_named_with_its_page(book, line, complaint):
    found = check_pages.complaints(book(line))
    assert len(found) == 1
    assert found[0].startswith("index.html: ") and complaint in found[0]


@pytest.mark.parametrize(
    "style", ["@import 'https://example.org/x.css';", "a { background: url(//example.org/x.png) }"]
)
def test_a_style_that_loads_from_elsewhere_is_seen(book, style):
    assert check_pages.complaints(book(style=style)) == ["_static/a.css: a style loads something from elsewhere"]


def test_a_heavy_page_is_seen_and_weighed(book):
    folder = book()
    (folder / "_images/a.png").write_bytes(b"0" * 3_100_000)
    (found,) = check_pages.complaints(folder)
    assert "weighs 3.1 MB with its pictures" in found
    own, whole = check_pages.weights(folder)["index.html"]
    assert own > 3_100_000 and whole > own
    assert check_pages.weights(folder)["other.html"][0] < 100


def test_an_empty_folder_is_no_book(tmp_path):
    with pytest.raises(FileNotFoundError, match="holds no page"):
        check_pages.complaints(tmp_path)
