"""Numbers in prose: a measured one comes from a build, an assumption or a cited figure says that it is one."""

import re
from collections.abc import Iterator

# A number that somebody measured or estimated: a decimal, a percentage, a multiple, an amount with a unit of machines
# or money. Whole numbers ("seven steps", "45 minutes", "10 cases") are free.
NUMBER = re.compile(
    r"""(?<![\w.,-])(?:
        \d[\d,]*\.\d+\s?[%×]?                                  # 0.85, 6.12×
      | \d[\d,]*\s?(?:%|×|x\b|percent\b)                       # 12 %, 3x
      | \d[\d,]*\s?(?:µs|us|ms|KB|kB|MB|GB|TB|PB|QPS|qps)\b    # 40 ms
      | (?:€|\\\$)\s?\d[\d,]*                                  # \$5
    )""",
    re.VERBOSE,
)
# The level of an interval is a convention, not a result.
LEVEL = re.compile(r"\b(?:50|80|90|95|99)\s?%\s(?:[a-z]+\s)?(?:intervals?|confidence|significance|power)\b")

FENCE = re.compile(r"^(?P<indent>\s*)(?P<mark>`{3,}|~{3,})(?P<info>.*)$")
MARKED = re.compile(r"<!--\s*(?:assumed|cited)\s*-->")
NOT_PROSE = [
    re.compile(r"<!--.*?-->", re.DOTALL),
    re.compile(r"\{[\w:+.-]+\}(`+).+?\1", re.DOTALL),  # a role: {measured}`…`, {assumed}`…`, {cite}`…`
    re.compile(r"(`+).+?\1", re.DOTALL),
    re.compile(r"\$\$.+?\$\$", re.DOTALL),
    re.compile(r"(?<!\\)\$(?!\s).+?(?<![\s\\])\$", re.DOTALL),
    re.compile(r"\]\([^)]*\)"),
    re.compile(r"<[^>\n]+>"),
    re.compile(r"https?://\S+"),
]


def without_code(text: str) -> str:
    """The text with code blocks and the options of directives blanked, line for line; a directive's content stays."""
    kept, fence, code = [], "", False
    for line in text.split("\n"):
        match = FENCE.match(line)
        if not fence and match:
            # In ```{note} the content is prose; in ```mermaid and ```{code-block} it is not.
            fence, code = match["mark"], not re.match(r"\s*\{(?!code|mermaid|math|bibliography)", match["info"])
            kept.append("" if code else re.sub(r"\{[\w-]+\}", "", match["info"]))
        elif fence and match and match["mark"].startswith(fence) and not match["info"].strip():
            fence, code = "", False
            kept.append("")
        else:
            kept.append("" if code or re.match(r"\s*:[\w-]+:(?!`)", line) else line)
    return "\n".join(kept)


def paragraphs(text: str) -> Iterator[tuple[int, str]]:
    """Blocks between blank lines, each with the number of its first line."""
    start, block = 1, list[str]()
    for number, line in enumerate([*text.split("\n"), ""], 1):
        if line.strip():
            start = start if block else number
            block.append(line)
        elif block:
            yield start, "\n".join(block)
            block = []


def plain(paragraph: str) -> str:
    """The paragraph without code, formulas, roles, links and comments, its line breaks kept."""
    for pattern in NOT_PROSE:
        paragraph = pattern.sub(lambda match: "\n" * match[0].count("\n") + " ", paragraph)
    return paragraph


def check_numbers(text: str, *, hint: str) -> list[tuple[int, str]]:
    """Numbers typed into prose, as (line, complaint).

    Args:
        text: Markdown.
        hint: how the author of this kind of page marks a number.
    """
    found = []
    for start, paragraph in paragraphs(without_code(text)):
        if "{cited}`" in paragraph and "{cite" not in paragraph.replace("{cited}`", ""):
            found.append((start, "a {cited} figure without its {cite} in the same paragraph"))
        if MARKED.search(paragraph):
            continue
        for offset, line in enumerate(LEVEL.sub(" ", plain(paragraph)).split("\n")):
            found += [(start + offset, f"number typed in prose: {n.strip()!r}: {hint}") for n in NUMBER.findall(line)]
    return found


def words(text: str) -> int:
    """Words of prose: what stands between spaces and has a letter or a digit, code blocks left out."""
    return len(re.findall(r"\S*\w\S*", re.sub(r"<!--.*?-->", "", without_code(text), flags=re.DOTALL)))
