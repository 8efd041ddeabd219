"""Each check of the sources is fed a broken sample and must complain; the whole sample must pass."""

import copy
import json
from pathlib import Path

import pytest

import check_sources
from casebook.report import fingerprint
from checks import designs, files, notebooks, prose

HINT = "mark it"


def complaints(text):
    return [problem for _, problem in prose.check_numbers(text, hint=HINT)]


@pytest.mark.parametrize(
    "text",
    [
        "The trees win by 0.031 in AUC.",
        "Revenue rises by 12%.",
        "It is 6.12× faster, or 3x.",
        "About 7 percent of users.",
        "The call takes 40 ms.",
        "It costs \\$300 a day.",
        "| model | 0.85 |",
        "```{note}\nIt is 0.3.\n```",
        ":::{tip}\nIt is 12 %.\n:::",
        "> **Note** it is 0.3",
    ],
)
def test_a_number_typed_in_prose_is_seen(text):
    assert len(complaints(text)) >= 1
    assert "typed in prose" in complaints(text)[0]


@pytest.mark.parametrize(
    "text",
    [
        "Seven steps, 10 cases, 45 minutes, in 2014, p99 and top-10.",
        "{measured}`lift:.2f` times, {assumed}`40 ms`.",
        "Use `threshold=0.5` and $p > 0.5$.",
        "$$\nL = 0.5 y\n$$",
        "```mermaid\nA[40 ms]\n```",
        "```\n0.3\n```",
        "A 95% interval, and 80% power.",
        "A budget of 40 ms. <!-- assumed -->",
        "See [the page](../0.5/page.md).",
        ":width: 50%",
        "At {cited}`3.5 million` a day {cite}`he2014practical`.",
    ],
)
def test_other_numbers_are_free(text):
    assert complaints(text) == []


def test_the_line_is_that_of_the_number():
    assert [line for line, _ in prose.check_numbers("One.\n\n```\ncode\n```\n\nTwo,\nand 0.3.", hint=HINT)] == [8]


def test_a_cited_figure_needs_its_citation():
    assert complaints("At {cited}`3.5 million` a day.") == ["a {cited} figure without its {cite} in the same paragraph"]


# Written in pieces, so that this file passes its own check.
HOME, HOST = "/" + "home/ann/book", "py" + "pi.org"


@pytest.mark.parametrize(("text", "words"), [(f'path = "{HOME}"', "absolute path"), (f"https://{HOST}/simple", "host")])
def test_files_hold_nothing_of_one_machine(text, words):
    assert words in files.check_text(f"first line\n{text}")[0][1]
    assert files.check_text("see notebooks/work/x and https://example.org/home/page and ../root/x") == []


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[a](none.md)", "no such file"),
        ("[a](none.md#part)", "no such file"),
        ("![](a.png)", "without alternative text"),
    ],
)
def test_links_lead_somewhere(tmp_path, text, words):
    (tmp_path / "here.md").touch()
    assert files.check_links("[a](here.md#part), [b](#part), [c](https://example.org), `[d](none.md)`", tmp_path) == []
    assert words in files.check_links(text, tmp_path)[0][1]


# A build, as small as the standard allows.


def md(text):
    return {"cell_type": "markdown", "metadata": {}, "source": text}


def code(text, *outputs, tags=()):
    return {
        "cell_type": "code",
        "execution_count": 0,
        "metadata": {"tags": list(tags)},
        "outputs": list(outputs),
        "source": text,
    }


def output(data, **record):
    return {"output_type": "display_data", "data": data, "metadata": {"casebook": record}}


SAID = {"name": "lift", "kind": "measured here", "statement": "trees win", "bound": "> 1", "source": None, "value": 2}
CLAIM = output({"text/plain": "✓"}, type="claim", tol=0.02, **SAID)
STREAM = {"output_type": "stream", "name": "stdout"}
PICTURE = {
    "output_type": "display_data",
    "data": {"image/png": "iVBO", "text/plain": "[figure]"},
    "metadata": {"image/png": {"alt": "A line."}, "casebook": {"type": "figure", "name": "curve"}},
}
BUILD = [
    md("# Model x\n\nDoes it learn? [The design](../../../book/cases/x.md).\n\n- See it learn\n- See it fail"),
    code("import casebook", tags=["reuse"]),
    md("Now it is tried, on `0.5` of the rows.\n\n<details>\n<summary>Why?</summary>\n\nBecause.\n\n</details>"),
    code("x = 1", CLAIM),
    code("y = 2", PICTURE),
    md("## Take away\n\n- It learned\n- It failed"),
]
TOC = "root: index\nchapters:\n  - file: book/cases/x\n    sections:\n      - file: notebooks/cases/x/1_model\n"


@pytest.fixture
def tree(tmp_path):
    """A project in order, with one chapter; gives a function that writes its build and checks the whole."""
    build = tmp_path / "notebooks" / "cases" / "x" / "1_model.ipynb"
    page = tmp_path / "book" / "cases" / "x.md"
    for folder in (build.parent, page.parent, tmp_path / "src" / "casebook"):
        folder.mkdir(parents=True)
    for name, text in (("pyproject.toml", ""), ("index.md", "# Home"), ("_toc.yml", TOC)):
        (tmp_path / name).write_text(text, "utf-8")
    page.write_text(design(), "utf-8")
    (tmp_path / "book" / "claims.json").write_text(json.dumps([{"chapter": "cases/x/1_model"} | SAID]), "utf-8")

    def check(cells=BUILD, **changes):
        cells = copy.deepcopy(cells)
        counted = (cell for cell in cells if cell["cell_type"] == "code")
        for number, cell in enumerate(counted, 1):
            cell["execution_count"] = changes.get("count", number)
        text = json.dumps({"cells": cells, "metadata": {}})
        build.write_text(text, "utf-8")
        stored = {"casebook": {"fingerprint": changes.get("stored", fingerprint(build))}}
        build.write_text(json.dumps({"cells": cells, "metadata": stored}), "utf-8")
        return check_sources.check(tmp_path)

    check.root = tmp_path
    return check


def design(**changes):
    """A design page in order, but for what is changed in its parts."""
    diagram = "```mermaid\nflowchart LR\n  A --> B\n```\n\nLogs become models.\n"
    kinds = ["the requirement changes to hourly"] * 3 + ["why not trees"] * 5
    parts = {
        "top": "# Design x\n\nThirty minutes to read. Prerequisites: none.\n",
        "prompt": "## The prompt\n\nDesign it.\n",
        "minute": f"## The answer in a minute\n\n{diagram}",
        "steps": "".join(f"## {n}. {title}\n\nProse.\n" for n, title in enumerate(designs.STEPS, 1)),
        "table": "| option | cost | what would change it |\n|---|---|---|\n| a | b | c |\n",
        "diagrams": f"{diagram}\n{diagram}",
        "pushed": "## Trade-offs you will be pushed on\n\n"
        + "".join(f":::{{dropdown}} If {kind}?\nSay this.\n:::\n\n" for kind in kinds),
        "rest": "".join(f"## {title}\n\nProse.\n" for title in designs.SECTIONS[3:6]),
        "exercises": "## Exercises\n\nAn estimate. In code, checked. An open one with a rubric.\n",
        "read": "## Read next\n\n{cite:t}`he2014practical`, for the pipeline.\n",
    }
    return "\n".join((parts | changes).values())


def changed(position, **changes):
    cells = copy.deepcopy(BUILD)
    cells[position].update(changes)
    return cells


def test_a_tree_in_order_passes(tree):
    assert tree() == []


LONG = "\n".join(f"x{i} = {i}" for i in range(16))
FUNCTION = "def f():\n" + "\n".join(f"    x{i} = {i}" for i in range(22))
BROKEN = {
    "43 code cells: expected at most 40": [*BUILD[:2], *[md("Prose."), code("x = 1")] * 40, *BUILD[2:]],
    "lines of code: expected at most 350": [*BUILD[:2], *[md("Prose."), code("x = 1\n" * 15)] * 25, *BUILD[2:]],
    "code cell 2: 16 lines": changed(3, source=LONG),
    "code cell 2: 23 lines": changed(3, source=FUNCTION),
    "3 code cells in a row": [*BUILD[:4], code("z = 1"), *BUILD[4:]],
    "no code cell": BUILD[:1],
    "does not import casebook": changed(1, source="import numpy as np"),
    "exempt from comparison": changed(3, metadata={"tags": ["nbval-ignore-output"]}),
    "code cell 3: exempt": changed(4, source="# NBVAL_IGNORE_OUTPUT\ny = 2"),
    "tagged reuse and shows an output": changed(1, outputs=[CLAIM | {"metadata": {}}]),
    "ends with a semicolon": changed(3, source="x = 1;"),
    "stores the time": changed(3, metadata={"execution": {}}),
    "error ValueError": changed(3, outputs=[{"output_type": "error", "ename": "ValueError"}, CLAIM]),
    "text on stderr: 'careful'": changed(3, outputs=[STREAM | {"name": "stderr", "text": "careful"}, CLAIM]),
    "warning 'FutureWarning:'": changed(3, outputs=[STREAM | {"text": "FutureWarning: x"}, CLAIM]),
    "absolute path '/tmp/k'": changed(3, outputs=[STREAM | {"text": "in /tmp/kernel"}, CLAIM]),
    "picture without alternative text: show": changed(4, outputs=[PICTURE | {"metadata": {}}]),
    "picture inside HTML": changed(4, outputs=[output({"text/html": "<img src='x'>"}, type="record", name="i")]),
    "results are named 'lift'": changed(4, outputs=[CLAIM]),
    "has no title, or asks no question": changed(0, source=BUILD[0]["source"].replace("?", ".")),
    "no link to the design": changed(0, source=BUILD[0]["source"].replace("x.md", "")),
    "no aims in bullets": changed(0, source=BUILD[0]["source"].replace("\n- ", "\n")),
    "does not close with takeaways": changed(5, source="## Take away\n\n- It learned"),
    "a role, which": changed(2, source="See {ref}`x`."),
    "a directive, which": changed(2, source="```{note}\nx\n```"),
    "a footnote, which": changed(2, source="See[^1]."),
    "an alert, which": changed(2, source="> [!NOTE]\n> x"),
    "a task list, which": changed(2, source="- [ ] x"),
    "a target, which": changed(2, source="(here)=\n## Here"),
    "attributes, which": changed(2, source="![a line](../../../index.md){width=50}"),
    "<details> needs a blank line": changed(2, source="<details><summary>Why?</summary>\nBecause.\n</details>"),
    "number typed in prose: '0.3'": changed(2, source="It is 0.3."),
    "no such file": changed(2, source="[there](nowhere.md)"),
    "claim 'lift' in book/claims.json differs": changed(3, outputs=[]),
}


@pytest.mark.parametrize("words", BROKEN)
def test_a_broken_build_is_seen(tree, words):
    found = tree(BROKEN[words])
    assert any(words in complaint for complaint in found), found


def test_a_long_definition_may_be_reused(tree):
    assert tree(changed(3, source=FUNCTION, metadata={"tags": ["reuse"]}, outputs=[])) == [
        "cases/x/1_model: claim 'lift' in book/claims.json differs from the notebooks: run `make seeds`"
    ]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"count": None}, "not executed from the top"),
        ({"count": 1}, "not executed from the top"),
        ({"stored": ""}, "outputs are stale (notebook, library, lock changed since)"),
    ],
)
def test_a_notebook_that_was_not_executed_is_seen(tree, changes, words):
    assert any(words in complaint for complaint in tree(**changes))


def test_a_heavy_notebook_is_seen(tree, monkeypatch):
    monkeypatch.setattr(notebooks, "BYTES", 1000)
    assert any("bytes: expected at most 1,000" in complaint for complaint in tree())


@pytest.mark.parametrize(
    ("listed", "complaints"),
    [
        ({"value": 2.01}, 0),
        ({"value": 3}, 1),
        ({"bound": "> 0"}, 1),
        ({"statement": "trees lose"}, 1),
        ({"name": "l"}, 2),
    ],
)
def test_the_page_of_claims_is_current(tree, listed, complaints):
    claims = json.dumps([{"chapter": "cases/x/1_model"} | SAID | listed])
    (tree.root / "book" / "claims.json").write_text(claims, "utf-8")
    assert len(tree()) == complaints


def test_a_notebook_outside_the_contents_is_seen(tree):
    (tree.root / "_toc.yml").write_text("root: index\n")
    assert [complaint.partition(":")[2] for complaint in tree()] == [" not in _toc.yml, so no reader finds it"] * 2


PARTS = {
    "the steps are": {"steps": "".join(f"## {title}\n\nProse.\n" for title in reversed(designs.STEPS))},
    "no section 'The prompt'": {"prompt": ""},
    "no section 'Read next'": {"read": ""},
    "words before anything is unfolded": {"prompt": "## The prompt\n\n" + "word " * 3001},
    "folded follow-ups in": {"pushed": "## Trade-offs you will be pushed on\n\nProse.\n"},
    "follow-ups say that the requirement changes": {
        "pushed": design().partition("pushed on")[2].replace("changes to", "moves")
    },
    "does not give 'minutes'": {"top": "# Design x\n\nPrerequisites: none.\n"},
    "does not give 'prerequisites'": {"top": "# Design x\n\nThirty minutes.\n"},
    "code on a design page": {"prompt": "## The prompt\n\n```python\nx = 1\n```\n"},
    "0 decision tables": {"table": ""},
    "6 decision tables": {"table": "| option | what would change it |\n|---|---|\n| a | b |\n\n" * 6},
    "1 diagrams: expected at least 3": {"diagrams": ""},
    "diagram 2 is not followed by a sentence": {"diagrams": "```mermaid\nA\n```\n\n| a |\n" * 2},
    "7 boxes in the diagram": {
        "minute": "## The answer in a minute\n\n```mermaid\nflowchart LR\n  A[a b] --> B(b) --> C{c}\n  "
        "A --> D[d] --> E[e] --> F[f] --> G[g]\n```\n\nSo it goes.\n"
    },
    "no exercise with 'rubric'": {"exercises": "## Exercises\n\nAn estimate. In code.\n"},
    "'Read next' cites no source": {"read": "## Read next\n\nNothing.\n"},
}


@pytest.mark.parametrize("words", PARTS)
def test_a_broken_design_is_seen(words):
    assert designs.check_design(design()) == []
    found = designs.check_design(design(**PARTS[words]))
    assert any(words in complaint for complaint in found), found


def test_the_page_of_a_step_has_its_own_shape():
    steps = "".join(f"## {n}. {title}\n\nProse.\n" for n, title in enumerate(designs.STEPS, 1))
    text = design(steps="## Where the story stands\n\nHere.\n")
    assert designs.check_step(text) == []
    assert designs.check_step(design(steps=steps)) == ["no section 'Where the story stands'"]
    assert any("0 folded follow-ups" in problem for problem in designs.check_step(text.replace("dropdown", "note")))


def test_what_is_folded_is_not_counted():
    folded = (
        ":::{dropdown} Why?\n" + "word " * 3001 + "\n:::\n\n<details>\n<summary>Why?</summary>\n\n" + "word " * 3001
    )
    assert designs.check_design(design(prompt=f"## The prompt\n\n{folded}\n\n</details>\n")) == []


def test_generated_pages_may_hold_numbers(tmp_path):
    page = tmp_path / "book" / "benchmarks.md"
    page.parent.mkdir()
    page.write_text("It took 0.3 s.")
    assert check_sources.check_page(page, tmp_path) == []
    assert check_sources.check_page(Path(page.rename(page.with_name("other.md"))), tmp_path)
