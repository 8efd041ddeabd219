"""Looks at every page of the built book as a reader's browser does, opened from disk.

For each page, in light and dark on a desktop and on a phone: no violation that axe finds, no error in the console, no
request that leaves the machine, nothing wider than the screen. Then one search, which has to find something. Two
browsers share the pages.

``python tools/axe.py [folder] [page ...]``; by default every page of ``_build/html``.
"""

import itertools
import os
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from chromium import ChromiumMissing, launched

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

ROOT = Path(__file__).resolve().parents[1]
SCREENS = {"desktop": {"width": 1280, "height": 900}, "phone": {"width": 390, "height": 844}}
BROWSERS = 2
LOCAL = ("file:", "data:", "blob:")

# Faults that can't be mended from here, as (rule, part of the element's HTML): why. One that is gone is reported too.
ALLOWED: dict[tuple[str, str], str] = {}

# Folded answers are read too; what a script draws has to be there first.
READY = """async () => {
  document.querySelectorAll("details").forEach((folded) => { folded.open = true; });
  if (window.MathJax?.startup) await MathJax.startup.promise;
  const undrawn = () => document.querySelector("pre.mermaid:not([data-processed])");
  for (let tries = 0; undrawn() && tries < 100; tries++) await new Promise((done) => setTimeout(done, 100));
  await new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
}"""


@dataclass(frozen=True)
class Window:
    """A browser window, and which of axe's rules are asked of every page in it.

    The first page of a window is asked everything, with the header and the list of chapters, which all pages share.
    """

    theme: str
    screen: str
    structure: bool
    contrast: bool

    def __str__(self) -> str:
        return f"{self.theme} {self.screen}"


# Structure doesn't depend on the theme, and the colours of a page don't depend on the screen.
WINDOWS = (
    Window("light", "desktop", structure=True, contrast=True),
    Window("dark", "desktop", structure=False, contrast=True),
    Window("light", "phone", structure=True, contrast=False),
    Window("dark", "phone", structure=False, contrast=False),
)

# Contrast takes most of the time, and most of that on the words of code, which one style sheet colours the same in
# every block: it is looked at in the first blocks of a page. Without `preload`, which fetches style sheets and fails
# on pages opened from disk.
AXE = """async ({structure, contrast, frame}) => {
  const found = [];
  const shared = frame ? [] : [".bd-sidebar-primary", ".bd-header", ".bd-footer"];
  const page = (others) => ({exclude: [...shared, ...others].filter((part) => document.querySelector(part))});
  const asked = (parts, options) => axe.run(parts.exclude.length ? parts : document, {preload: false, ...options});
  if (structure) found.push(...(await asked(page([]), {rules: {"color-contrast": {enabled: false}}})).violations);
  if (contrast) {
    [...document.querySelectorAll("div.highlight")].slice(8).forEach((block) => block.classList.add("coloured-alike"));
    found.push(...(await asked(page([".coloured-alike"]), {runOnly: ["color-contrast"]})).violations);
  }
  return found;
}"""


def axe_script() -> str:
    """The source of axe, from the package that ships it."""
    from axe_playwright_python.base import AXE_SCRIPT

    return AXE_SCRIPT


def violations(view: "Page", window: Window, first: bool, used: set[tuple[str, str]]) -> Iterator[str]:
    """What axe finds on an open page and nobody allowed; the allowances that were needed are added to ``used``."""
    asked = {"structure": first or window.structure, "contrast": first or window.contrast, "frame": first}
    if not (asked["structure"] or asked["contrast"]):
        return
    view.evaluate(axe_script())
    for rule in view.evaluate(AXE, asked):
        for node in rule["nodes"]:
            allowance = next((a for a in ALLOWED if a[0] == rule["id"] and a[1] in node["html"]), None)
            if allowance:
                used.add(allowance)
            else:
                yield f"{rule['id']} ({rule['impact']}): {node['html'][:160]}"


@contextmanager
def viewer(browser: "Browser", window: Window) -> Iterator[tuple["Page", list[str]]]:
    """A browser window, and the list to which it adds what goes wrong while it is used."""
    heard: list[str] = []
    context = browser.new_context(viewport=SCREENS[window.screen], reduced_motion="reduce")
    try:
        choice = "; ".join(f"localStorage.setItem('{key}', '{window.theme}')" for key in ("mode", "theme"))
        context.add_init_script(choice)
        view = context.new_page()
        view.on("console", lambda said: heard.append(f"console: {said.text}") if said.type == "error" else None)
        view.on("pageerror", lambda error: heard.append(f"error: {error}"))
        view.on("request", lambda sent: None if sent.url.startswith(LOCAL) else heard.append(f"request: {sent.url}"))
        yield view, heard
    finally:
        context.close()


def look(view: "Page", address: str, window: Window, first: bool, used: set[tuple[str, str]]) -> Iterator[str]:
    """What is wrong with one page, apart from what its window hears."""
    view.goto(address)
    view.evaluate(READY)
    yield from violations(view, window, first, used)
    wide = view.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    if wide > 1:
        yield f"the page is {wide} px wider than the screen"


def leaf_through(folder: Path, names: list[str], used: set[tuple[str, str]]) -> list[str]:
    """What one browser finds wrong with some pages; the same fault in several windows is one line."""
    seen: dict[str, dict[str, list[str]]] = {name: {} for name in names}
    with launched() as browser:
        for window in WINDOWS:
            with viewer(browser, window) as (view, heard):
                for name, faults in seen.items():
                    lines = [*look(view, (folder / name).as_uri(), window, name == names[0], used), *heard]
                    heard.clear()
                    for line in dict.fromkeys(lines):
                        faults.setdefault(line, []).append(str(window))
    return [f"{name} [{', '.join(w)}]: {line}" for name, faults in seen.items() for line, w in faults.items()]


def search(browser: "Browser", folder: Path, word: str = "calibration") -> list[str]:
    """What is wrong with the search of the book."""
    view = browser.new_page()
    view.goto(f"{(folder / 'search.html').as_uri()}?q={word}")
    try:
        view.wait_for_selector("#search-results ul.search li a", timeout=5_000)
    except Exception:
        return [f"search.html: finds nothing for {word!r}"]
    finally:
        view.close()
    return []


def complaints(folder: Path, pages: list[Path] | None = None) -> list[str]:
    """What is wrong with the built book, one line each.

    Args:
        folder: where the HTML is.
        pages: those to look at; by default all, and then the search and the list of allowances are checked as well.

    Raises:
        ChromiumMissing: there is no browser to look with.
        FileNotFoundError: the folder holds no page.
    """
    folder = folder.resolve()
    chosen = pages or [p for p in sorted(folder.rglob("*.html")) if "_static" not in p.relative_to(folder).parts]
    if not chosen:
        raise FileNotFoundError(f"{folder} holds no page: build the book first")
    names = [page.resolve().relative_to(folder).as_posix() for page in chosen]
    shares = [share for share in (names[i::BROWSERS] for i in range(BROWSERS)) if share]
    used: set[tuple[str, str]] = set()
    with ThreadPoolExecutor(BROWSERS) as browsers:
        found = [*itertools.chain(*browsers.map(lambda share: leaf_through(folder, share, used), shares))]
    if pages is None:
        with launched() as browser:
            found += search(browser, folder)
        found += [f"allowed and not needed any more: {rule}, {part}" for rule, part in ALLOWED.keys() - used]
    return sorted(found)


def main() -> int:
    """The command line."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "_build" / "html"
    try:
        found = complaints(folder, [folder / name for name in sys.argv[2:]] or None)
    except FileNotFoundError as error:
        print(error)
        return 1
    except ChromiumMissing as error:
        print(f"The pages were not looked at. {error}")
        return 1 if os.environ.get("CI") else 0
    for line in found:
        print(line)
    print(f"{len(found)} complaints: axe, console, requests, width; light and dark, desktop and phone")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
