"""The PDF and the offline edition: what is in them, and one clear line where they can't be made."""

import zipfile

import pytest

import chromium
import offline
import print_pdf

PAGE = """<!doctype html><html lang="en"><head><title>Book</title></head><body><main>
<h1>Book</h1><p>See <a href="#two">two</a>.</p><details><summary>Answer</summary><p>Folded words.</p></details>
<h2 id="two" style="break-before: page">Two</h2></main></body></html>"""


def test_the_pdf_has_bookmarks_links_and_folded_answers(tmp_path):
    try:
        chromium.find()
    except chromium.ChromiumMissing as missing:
        pytest.skip(str(missing))
    from pypdf import PdfReader

    (tmp_path / "index.html").write_text(PAGE)
    print_pdf.print_page(tmp_path / "index.html", tmp_path / "book.pdf")
    pdf = PdfReader(tmp_path / "book.pdf")
    first, inside = pdf.outline
    assert first.title == "Book" and inside[0].title == "Two"
    assert len(pdf.pages) == 2
    assert "Folded words." in pdf.pages[0].extract_text()
    assert any(note.get_object()["/Subtype"] == "/Link" for note in pdf.pages[0]["/Annots"])
    assert "/StructTreeRoot" in pdf.root_object, "tagged, for screen readers"


def test_without_chromium_one_line_says_what_to_do(monkeypatch, capsys):
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("CHROMIUM", raising=False)
    monkeypatch.setattr(chromium, "APPLICATIONS", ())
    assert print_pdf.main() == 1
    said = capsys.readouterr().out
    assert said.count("\n") == 1 and "install the package chromium" in said


def test_the_zip_opens_at_its_index_and_is_the_same_each_time(tmp_path):
    book = tmp_path / "html"
    (book / "_static").mkdir(parents=True)
    (book / "index.html").write_text("home")
    (book / "_static/a.css").write_text("a {}")
    (book / "objects.inv").write_text("only Sphinx reads this")
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        assert offline.pack(book, tmp_path / name / "book.zip") == 2
    assert (tmp_path / "one/book.zip").read_bytes() == (tmp_path / "two/book.zip").read_bytes()
    with zipfile.ZipFile(tmp_path / "one/book.zip") as archive:
        assert archive.namelist() == ["book/_static/a.css", "book/index.html"]
        assert archive.read("book/index.html") == b"home"


def test_no_book_no_zip(tmp_path):
    with pytest.raises(FileNotFoundError, match="holds no book"):
        offline.pack(tmp_path, tmp_path / "book.zip")
