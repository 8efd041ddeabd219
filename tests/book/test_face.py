"""What the cover, the reference pages and the assets say agrees with what is there."""

import re
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
STEPS = [
    "Clarify requirements",
    "Frame as an ML task",
    "Prepare the data",
    "Develop the model",
    "Evaluate",
    "Deploy and serve",
    "Monitor and maintain",
]
CARD = re.compile(
    r"::::\{grid-item-card\} (?P<title>[^\n]+)\n(?P<options>(?::[^\n]+\n)*)(?P<text>.*?)\n::::\n", re.DOTALL
)


@pytest.fixture(scope="module")
def cases():
    """The cards of the ten cases: by title, whether built, where they lead, what they say."""
    text = (ROOT / "index.md").read_text().partition("## The ten cases")[2]
    return {m["title"]: (m["options"], m["text"]) for m in CARD.finditer(text)}


def listed(entry):
    """Every file that an entry of the table of contents names, its patterns resolved."""
    if isinstance(entry, dict):
        found = [entry["file"]] if "file" in entry else []
        found += [p.relative_to(ROOT).with_suffix("").as_posix() for p in ROOT.glob(entry.get("glob", "nothing"))]
        return found + [f for value in entry.values() for f in listed(value)]
    return [f for item in entry for f in listed(item)] if isinstance(entry, list) else []


def test_the_cover_names_the_seven_steps_in_their_words():
    text = (ROOT / "index.md").read_text().partition("## The seven steps")[2].partition("## The ten cases")[0]
    named = re.findall(r"^\d\. \*\*\[(.+)\]\((book/framework/.+)\)\*\*$", text, re.MULTILINE)
    assert [name for name, _ in named] == STEPS
    pages = sorted(p.relative_to(ROOT).as_posix() for p in (ROOT / "book/framework").glob("[1-7]_*.md"))
    assert [page for _, page in named] == pages


def test_the_cover_says_honestly_which_cases_are_built(cases):
    assert len(cases) == 10
    built = {m[1] for o, _ in cases.values() for m in [re.search(r":link: /?(book/cases/\w+)", o)] if m}
    in_the_book = {f for f in listed(yaml.safe_load((ROOT / "_toc.yml").read_text())) if f.startswith("book/cases/")}
    assert built == in_the_book
    for title, (options, text) in cases.items():
        is_built = ":link:" in options
        assert (":class-card: built" in options) == is_built, title
        assert ("Planned" in text) != is_built, title


def test_the_contents_list_every_page_and_every_build():
    named = set(listed(yaml.safe_load((ROOT / "_toc.yml").read_text())))
    pages = {p.relative_to(ROOT).with_suffix("").as_posix() for p in (ROOT / "book").rglob("*.md")}
    builds = {p.relative_to(ROOT).with_suffix("").as_posix() for p in (ROOT / "notebooks").glob("*/*/*.ipynb")}
    assert named == pages | builds


def test_the_glossary_is_in_order_and_cites_what_is_listed():
    text = (ROOT / "book/glossary.md").read_text()
    terms = re.findall(r"^(\S.*)\n  \S", text.partition("```{glossary}\n")[2], re.MULTILINE)
    assert len(terms) > 50
    assert terms == sorted(terms, key=lambda term: re.sub(r"[^a-z0-9 ]", "", term.lower()))
    keys = set(re.findall(r"^@\w+\{(\w+),", (ROOT / "book/references.bib").read_text(), re.MULTILINE))
    assert set(re.findall(r"\{cite\}`(\w+)`", text)) <= keys


def test_the_bibliography_is_in_order_and_complete():
    entries = re.split(r"\n(?=@)", (ROOT / "book/references.bib").read_text())[1:]
    keys = [re.match(r"@\w+\{(\w+),", entry)[1] for entry in entries]
    assert keys == sorted(set(keys))
    for key, entry in zip(keys, entries, strict=True):
        fields = set(re.findall(r"^\s+(\w+)\s*=", entry, re.MULTILINE))
        assert {"author", "title", "year"} <= fields, key
        assert fields & {"booktitle", "journal", "publisher", "institution", "eprint", "url"}, key
        assert re.search(r"\d{4}", key)[0] in re.search(r"year\s*=\s*\{(\d+)\}", entry)[1], key


def test_what_is_shipped_with_the_pages_has_its_licence():
    for name in ("mathjax", "mermaid"):
        assert (ROOT / "book/assets" / name / "LICENSE").is_file()


def test_the_address_of_the_project_stands_in_one_place_of_the_book():
    address = yaml.safe_load((ROOT / "_config.yml").read_text())["repository"]["url"].removeprefix("https://")
    texts = [
        ROOT / "index.md",
        ROOT / "_config.yml",
        *(ROOT / "book").rglob("*.md"),
        *(ROOT / "book/templates").rglob("*"),
    ]
    assert [p.name for p in texts if address in p.read_text()] == ["_config.yml"]
