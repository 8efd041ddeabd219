"""The shape of a design page, of a case or of a step: its headings, its length, its diagrams, its follow-ups."""

import re

from checks.prose import words

WORDS = 3000
STEPS = (
    "Clarify requirements", "Frame as an ML task", "Prepare the data", "Develop the model", "Evaluate",
    "Deploy and serve", "Monitor and maintain",
)  # fmt: skip
SECTIONS = (
    "The prompt", "The answer in a minute", "Trade-offs you will be pushed on", "What the interviewer looks for",
    "When a foundation model changes the answer", "The night before", "Exercises", "Read next",
)  # fmt: skip
# A page of the framework is built around the decisions of its step, so its middle is its own.
STEP_SECTIONS = (
    "Where the story stands", "Trade-offs you will be pushed on", "What the interviewer looks for", "The night before",
    "Exercises", "Read next",
)  # fmt: skip
PUSHED_ON = SECTIONS[2]
TABLES, BOXES = 5, 6
EXERCISES = ("estimate", "code", "rubric")

HEADING = re.compile(r"^(?P<level>#{1,6}) +(?:(?:Step )?\d+[.:·]? +)?(?P<title>.*?) *$", re.MULTILINE)
# Folded text: a dropdown of the book, or the element that also renders elsewhere.
DROPDOWN = re.compile(
    r"^(?P<mark>:{3,}|`{3,})\{dropdown\} *(?P<title>[^\n]*)\n.*?^(?P=mark) *$", re.MULTILINE | re.DOTALL
)
DETAILS = re.compile(r"<details>\s*<summary>(?P<title>.*?)</summary>.*?</details>", re.DOTALL)
DIAGRAM = re.compile(r"^```mermaid\n.*?^```\n(?P<after>(?:\s*\n)*[^\n]*)", re.MULTILINE | re.DOTALL)
NODE = re.compile(r"(?<![\w.])(\w+) ?(?=[\[({])")  # what is named before a bracket in a flowchart
CODE = re.compile(r"^(?:```|~~~) *(?:\{code[\w-]*\}|\{eval\w*\}|python|py|bash|sql|sh)\b", re.MULTILINE)


def titles(text: str, level: int = 2) -> list[str]:
    """The headings of a level, without their numbers."""
    return [match["title"] for match in HEADING.finditer(text) if len(match["level"]) == level]


def section(text: str, title: str) -> str:
    """The text below a heading of the second level, up to the next one."""
    match = re.search(
        rf"^## +(?:[^\n]*?){re.escape(title)} *$(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL | re.IGNORECASE
    )
    return match[1] if match else ""


def folded(text: str) -> list[str]:
    """The titles of what is folded."""
    return [match["title"].strip() for pattern in (DROPDOWN, DETAILS) for match in pattern.finditer(text)]


def unfolded(text: str) -> str:
    """What a reader sees before unfolding anything."""
    return DETAILS.sub(r"\g<title>", DROPDOWN.sub(r"\g<title>", text))


def check_design(text: str) -> list[str]:
    """Everything about the design page of a case."""
    steps = [title for title in titles(text) if title in STEPS]
    found = []
    if steps != list(STEPS):
        found.append(f"the steps are {steps}: expected {list(STEPS)}, in this order, as headings of the second level")
    minute = DIAGRAM.search(section(text, SECTIONS[1]))
    if minute and (boxes := len(set(NODE.findall(minute[0])))) > BOXES:
        found.append(f"{boxes} boxes in the diagram of {SECTIONS[1]!r}: expected at most {BOXES}, for a hand to redraw")
    return found + _check_shape(text, SECTIONS, follow_ups=8, changes=3, diagrams=3)


def check_step(text: str) -> list[str]:
    """Everything about the page of a step of the framework."""
    return _check_shape(text, STEP_SECTIONS, follow_ups=6, changes=2, diagrams=2)


def _check_shape(text: str, sections: tuple[str, ...], *, follow_ups: int, changes: int, diagrams: int) -> list[str]:
    lower = [title.lower() for title in titles(text)]
    found = [f"no section {name!r}" for name in sections if name.lower() not in lower]
    if (count := words(unfolded(text))) > WORDS:
        found.append(f"{count} words before anything is unfolded: expected at most {WORDS}")
    pushed = folded(section(text, PUSHED_ON))
    if len(pushed) < follow_ups:
        found.append(f"{len(pushed)} folded follow-ups in {PUSHED_ON!r}: expected at least {follow_ups}")
    moved = [title for title in pushed if "requirement changes" in title.lower()]
    if len(moved) < changes:
        found.append(f"{len(moved)} follow-ups say that the requirement changes: expected at least {changes}")
    opening = text.partition("\n## ")[0].lower()
    found += [
        f"the top of the page does not give {word!r}" for word in ("minutes", "prerequisites") if word not in opening
    ]
    if CODE.search(text):
        found.append("code on a design page: it belongs into a build")
    decisions = re.findall(r"^\|.*would change.*\|", text, re.MULTILINE | re.IGNORECASE)
    if not 1 <= len(decisions) <= TABLES:
        found.append(
            f"{len(decisions)} decision tables (with a column of what would change the choice): expected 1 to {TABLES}"
        )
    drawn = list(DIAGRAM.finditer(text))
    if len(drawn) < diagrams:
        found.append(f"{len(drawn)} diagrams: expected at least {diagrams}")
    for number, match in enumerate(drawn, 1):
        if not re.match(r"[A-Za-z*_]", match["after"].strip()):
            found.append(f"diagram {number} is not followed by a sentence with its content in words")
    exercises = section(text, "Exercises").lower()
    found += [f"no exercise with {kind!r} in it" for kind in EXERCISES if kind not in exercises]
    if "{cite" not in section(text, "Read next"):
        found.append("'Read next' cites no source")
    return found
