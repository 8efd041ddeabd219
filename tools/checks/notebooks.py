"""The shape of a build, its outputs, and whether they are those of today's code."""

import ast
import json
import math
import re
from collections import Counter
from pathlib import Path
from typing import Any

from casebook.report import changes
from checks.files import check_links
from checks.prose import check_numbers, without_code

CODE_CELLS, CODE_LINES, CELL_LINES, REUSE_LINES, IN_A_ROW = 40, 350, 15, 25, 2
BYTES = 1_500_000

Cell = dict[str, Any]

NBVAL = re.compile(r"nbval|raises-exception|PYTEST_VALIDATE", re.IGNORECASE)
NOWHERE_ELSE = {  # Markdown that the book understands and JupyterLab or a code host does not
    "a role": re.compile(r"\{[\w:+.-]+\}`"),
    "a directive": re.compile(r"^\s*(?:`{3,}\s*\{|:{3,})", re.MULTILINE),
    "a footnote": re.compile(r"\[\^[^\]]+\]"),
    "an alert": re.compile(r"^>\s*\[!\w+\]", re.MULTILINE),
    "a task list": re.compile(r"^\s*[-*] \[[ xX]\]", re.MULTILINE),
    "attributes": re.compile(r"\)\{[^}]+\}|^\s*\{[#.][^}]+\}", re.MULTILINE),
    "a target": re.compile(r"^\([\w-]+\)=", re.MULTILINE),
}
FOLDED = re.compile(r"<details>\s*<summary>.*?</summary>(?P<gap>\n\s*\n)?.*?(?P<end>\n\s*\n)?\s*</details>", re.DOTALL)
IN_OUTPUT = {
    "absolute path": re.compile(r"(?<![\w.~/])/(?:home|root|tmp|usr|opt|work|var|Users|private)/[\w.]|[A-Z]:\\\w"),
    "warning": re.compile(r"\b\w*Warning:"),
}


def source(cell: Cell) -> str:
    """The text of a cell."""
    return "".join(cell["source"])


def code_lines(cell: Cell) -> int:
    """Lines that are not blank."""
    return sum(bool(line.strip()) for line in source(cell).split("\n"))


def one_definition(text: str) -> bool:
    """Whether a cell defines one function or class, imports and nothing more."""
    try:
        body = ast.parse(text).body
    except SyntaxError:
        return False
    kinds = [type(node) for node in body if not isinstance(node, (ast.Import, ast.ImportFrom))]
    return len(kinds) == 1 and kinds[0] in (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)


def check_size(cells: list[Cell]) -> list[str]:
    """The limits on code: cells, lines, lines of a cell, cells in a row."""
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    found = []
    if len(code) > CODE_CELLS:
        found.append(f"{len(code)} code cells: expected at most {CODE_CELLS}")
    if (total := sum(map(code_lines, code))) > CODE_LINES:
        found.append(f"{total} lines of code: expected at most {CODE_LINES}")
    for number, cell in enumerate(code, 1):
        reuse = "reuse" in cell["metadata"].get("tags", ())
        limit = REUSE_LINES if reuse and one_definition(source(cell)) else CELL_LINES
        if (lines := code_lines(cell)) > limit:
            found.append(f"code cell {number}: {lines} lines: expected at most {limit}")
    kinds = "".join(cell["cell_type"][0] for cell in cells)
    if longest := max((len(run) for run in re.findall(r"c+", kinds)), default=0):
        if longest > IN_A_ROW:
            found.append(f"{longest} code cells in a row: expected prose after {IN_A_ROW}")
    return found


def check_execution(cells: list[Cell]) -> list[str]:
    """Executed once, from the top, importing the library first, no cell exempt from comparison."""
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    if not code:
        return ["no code cell: expected a build to run"]
    found = []
    if [cell["execution_count"] for cell in code] != list(range(1, len(code) + 1)):
        found.append("not executed from the top, cell by cell: run `make execute`")
    if not re.search(r"^\s*(?:import|from) casebook\b", source(code[0]), re.MULTILINE):
        found.append("the first code cell does not import casebook, which fixes the number of threads")
    for number, cell in enumerate(code, 1):
        tags = cell["metadata"].get("tags", ())
        if any(NBVAL.search(tag) for tag in tags) or re.search(
            r"^\s*#\s*(?:NBVAL|PYTEST_)", source(cell), re.MULTILINE
        ):
            found.append(f"code cell {number}: exempt from comparison: no cell is")
        if "reuse" in tags and cell["outputs"]:
            found.append(f"code cell {number}: tagged reuse and shows an output: it would run again in other builds")
        if source(cell).rstrip().endswith(";"):
            found.append(f"code cell {number}: ends with a semicolon, which hides an output")
        if "execution" in cell["metadata"]:
            found.append(f"code cell {number}: stores the time of its execution: run `make execute`")
    return found


def check_output(output: dict[str, Any]) -> list[str]:
    """One output: no error, no warning, no path of a machine, a picture with its words."""
    if output["output_type"] == "error":
        return [f"error {output['ename']}"]
    if output.get("name") == "stderr":
        return [f"text on stderr: {''.join(output['text']).strip()[:80]!r}"]
    data = output.get("data", {})
    texts = [output.get("text", ""), *(data[kind] for kind in data if kind.startswith("text/"))]
    joined = "\n".join("".join(text) for text in texts)
    found = [f"{name} {match[0]!r} in an output" for name, p in IN_OUTPUT.items() if (match := p.search(joined))]
    pictures = [kind for kind in data if kind.startswith("image/")]
    if any(not output["metadata"].get(kind, {}).get("alt") for kind in pictures):
        found.append("picture without alternative text: show it with casebook.report.figure")
    if "<img" in joined:
        found.append("picture inside HTML: show it with casebook.report.figure")
    return found


def check_opening(cells: list[Cell], path: Path, root: Path) -> list[str]:
    """Opens with a question, aims in bullets and a link to the design; closes with a takeaway for each aim."""

    def bullets(text: str) -> int:
        return len(re.findall(r"^[-*] ", text, re.MULTILINE))

    kinds = [cell["cell_type"] for cell in cells]
    first = kinds.index("code") if "code" in kinds else len(cells)
    opening = "\n\n".join(source(cell) for cell in cells[:first])
    closing = source(cells[-1]) if kinds and kinds[-1] == "markdown" else ""
    found = []
    if not opening.startswith("# ") or "?" not in opening:
        found.append("the opening has no title, or asks no question")
    design = root / "book" / path.parent.relative_to(root / "notebooks").with_suffix(".md")
    if f"{path.parent.name}.md" not in opening:
        found.append(f"the opening has no link to the design, {design.relative_to(root).as_posix()}")
    if not (aims := bullets(opening)):
        found.append("the opening has no aims in bullets")
    if not re.search(r"^## .*take", closing, re.MULTILINE | re.IGNORECASE) or bullets(closing) < aims:
        found.append(f"does not close with takeaways that mirror the aims: expected a heading and {aims} bullets")
    return found


def check_markdown(cells: list[Cell], folder: Path) -> list[str]:
    """Markdown that renders everywhere, no number typed, no dead link."""
    found = []
    for number, cell in enumerate(cells, 1):
        if cell["cell_type"] != "markdown":
            continue
        text = source(cell)
        # A role's text stands in backticks too, so inline code is what has no brace before it.
        prose = re.sub(r"(?<!\})(`+)[^`\n]+?\1(?!`)", " ", without_code(text))
        for name, pattern in NOWHERE_ELSE.items():
            if pattern.search(text if name == "a directive" else prose):
                found.append(f"cell {number}: {name}, which only the book renders")
        for match in FOLDED.finditer(text):
            if not match["gap"] or not match["end"]:
                found.append(f"cell {number}: <details> needs a blank line after its summary and before its end")
        hint = "let an output carry it, or mark the paragraph with <!-- assumed --> or <!-- cited -->"
        problems = check_numbers(text, hint=hint) + check_links(text, folder)
        found += [f"cell {number}, line {line}: {problem}" for line, problem in problems]
    return found


def names(cells: list[Cell]) -> list[str]:
    """The names of the results that the notebook stores."""
    outputs = [output for cell in cells for output in cell.get("outputs", ())]
    return [output["metadata"]["casebook"]["name"] for output in outputs if "casebook" in output.get("metadata", {})]


def check_notebook(path: Path, root: Path) -> list[str]:
    """Everything about one stored notebook."""
    cells: list[Cell] = json.loads(path.read_text("utf-8"))["cells"]
    found = (
        check_size(cells)
        + check_execution(cells)
        + check_opening(cells, path, root)
        + check_markdown(cells, path.parent)
    )
    for number, cell in enumerate((c for c in cells if c["cell_type"] == "code"), 1):
        found += [f"code cell {number}: {problem}" for output in cell["outputs"] for problem in check_output(output)]
    if (size := path.stat().st_size) > BYTES:
        found.append(f"{size:,} bytes: expected at most {BYTES:,}: smaller figures, fewer rows")
    if changed := changes(path):
        found.append(f"outputs are stale ({', '.join(changed)} changed since): run `make execute`")
    return found


def check_names(paths: list[Path]) -> list[str]:
    """Names that occur twice within a chapter: a design page could not tell which is meant."""
    counts: dict[Path, Counter[str]] = {}
    for path in paths:
        counts.setdefault(path.parent, Counter()).update(names(json.loads(path.read_text("utf-8"))["cells"]))
    return [
        f"{chapter.name}: {count} results are named {name!r}: expected each name once in a chapter"
        for chapter, counter in counts.items()
        for name, count in counter.items()
        if count > 1
    ]


def check_claims(paths: list[Path], root: Path) -> list[str]:
    """Whether the page of claims lists those that the notebooks make, in the same words, with the same values."""
    made = {}
    for path in paths:
        build = path.relative_to(root / "notebooks").with_suffix("").as_posix()
        for cell in json.loads(path.read_text("utf-8"))["cells"]:
            records = [output.get("metadata", {}).get("casebook", {}) for output in cell.get("outputs", ())]
            made |= {(build, r["name"]): r for r in records if r.get("type") == "claim"}
    file = root / "book" / "claims.json"
    listed = json.loads(file.read_text("utf-8")) if file.is_file() else []
    known = {(claim["chapter"], claim["name"]): claim for claim in listed}

    def same(key: tuple[str, str]) -> bool:
        if key not in made or key not in known:
            return False
        here, there = made[key], known[key]
        # A timing, which has no tolerance, differs from run to run.
        return all(here[part] == there[part] for part in ("kind", "statement", "bound", "source")) and (
            here["tol"] is None or math.isclose(here["value"], there["value"], rel_tol=here["tol"], abs_tol=1e-9)
        )

    again = "in book/claims.json differs from the notebooks: run `make seeds`"
    return [f"{key[0]}: claim {key[1]!r} {again}" for key in sorted(made.keys() | known.keys()) if not same(key)]
