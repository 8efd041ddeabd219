"""Checks the built book without a browser: links and anchors, nothing loaded from elsewhere, alternative text, weight.

``python tools/check_pages.py [folder]``; the folder is ``_build/html`` unless another is named.
"""

import re
import sys
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urldefrag, urlsplit

ROOT = Path(__file__).resolve().parents[1]

# What a reader on a phone downloads: a page with its pictures, and the same with every script, style and font it names.
OWN_MB, WHOLE_MB = 3.0, 9.0

# Pages that Sphinx writes from its own templates; the first has links that its script resolves.
GENERATED = {"search.html", "genindex.html"}

LOADING = {
    "script": ("src",),
    "img": ("src",),
    "iframe": ("src",),
    "source": ("src", "srcset"),
    "video": ("src", "poster"),
    "audio": ("src",),
    "object": ("data",),
    "embed": ("src",),
}
LOADING_LINKS = {"stylesheet", "icon", "shortcut", "preload", "modulepreload", "prefetch", "manifest"}
STYLE_LOADS = re.compile(r"""(?:@import\s+|url\()\s*["']?(https?:)?//""", re.IGNORECASE)
PATH_AS_TEXT = re.compile(r"(^|/)\S+\.(png|svg|jpe?g|gif|webp)$", re.IGNORECASE)


@dataclass
class Page:
    """What one HTML file names."""

    anchors: set[str] = field(default_factory=set)
    links: list[str] = field(default_factory=list)
    loads: list[tuple[str, str]] = field(default_factory=list)
    unnamed_images: list[str] = field(default_factory=list)


class Reader(HTMLParser):
    """Collects a :class:`Page`."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.page = Page()

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        """Notes what the tag defines, links to and loads."""
        values = {name: value or "" for name, value in attributes}
        if "id" in values:
            self.page.anchors.add(values["id"])
        if tag == "a":
            if "name" in values:
                self.page.anchors.add(values["name"])
            if "href" in values:
                self.page.links.append(values["href"])
        if tag == "link" and LOADING_LINKS & set(values.get("rel", "").lower().split()):
            self.page.loads.append((tag, values.get("href", "")))
        for name in LOADING.get(tag, ()):
            if values.get(name):
                self.page.loads.append((tag, values[name]))
        if tag == "img" and not self._is_named(values):
            self.page.unnamed_images.append(values.get("src", "")[:80])

    @staticmethod
    def _is_named(values: dict[str, str]) -> bool:
        """Whether an image has alternative text that is not its path. The logo, beside its name, needs none."""
        if "logo__image" in values.get("class", "").split():
            return "alt" in values
        text = values.get("alt", "").strip()
        return bool(text) and not PATH_AS_TEXT.search(text)


def read(path: Path) -> Page:
    """What a page names."""
    reader = Reader()
    reader.feed(path.read_text(encoding="utf-8"))
    return reader.page


def is_elsewhere(address: str) -> bool:
    """Whether an address leaves the book."""
    parts = urlsplit(address)
    return bool(parts.netloc) or parts.scheme not in ("", "data")


def target(page: Path, address: str) -> Path:
    """The file that an address on a page names."""
    path = unquote(urlsplit(address).path)
    return (page.parent / path).resolve() if path else page


def weigh(page: Path, loads: list[tuple[str, str]]) -> tuple[int, int]:
    """Bytes of a page with its pictures, and with everything it names."""
    files = {(tag, target(page, address)) for tag, address in loads if not urlsplit(address).scheme}
    sizes = {path: (tag, path.stat().st_size) for tag, path in files if path.is_file()}
    pictures = sum(size for tag, size in sizes.values() if tag == "img")
    own = page.stat().st_size + pictures
    return own, own + sum(size for tag, size in sizes.values() if tag != "img")


def weights(folder: Path) -> dict[str, tuple[int, int]]:
    """Bytes of each page: with its pictures, and with everything it names."""
    return {str(p.relative_to(folder)): weigh(p, read(p).loads) for p in sorted(folder.rglob("*.html"))}


def complaints(folder: Path) -> list[str]:
    """What is wrong with the built book in a folder, one line each.

    Raises:
        FileNotFoundError: the folder holds no page.
    """
    # The theme ships templates and licences below _static: they are no pages.
    paths = [p.resolve() for p in sorted(folder.rglob("*.html")) if "_static" not in p.relative_to(folder).parts]
    if not paths:
        raise FileNotFoundError(f"{folder} holds no page: build the book first")
    pages = {path: read(path) for path in paths}
    found = []
    for path, page in pages.items():
        name = path.relative_to(folder.resolve())
        found += [
            f"{name}: {tag} is loaded from elsewhere: {address}" for tag, address in page.loads if is_elsewhere(address)
        ]
        found += [f"{name}: image without alternative text: {source}" for source in page.unnamed_images]
        for address in page.links:
            if is_elsewhere(address) or path.name in GENERATED:
                continue
            file, anchor = target(path, address), unquote(urldefrag(address).fragment)
            if not file.is_file():
                found.append(f"{name}: link to a page that is not there: {address}")
            elif anchor and file in pages and anchor not in pages[file].anchors:
                found.append(f"{name}: link to an anchor that is not there: {address}")
        for address in (a for _, a in page.loads if not is_elsewhere(a) and urlsplit(a).scheme == ""):
            if not target(path, address).is_file():
                found.append(f"{name}: names a file that is not there: {address}")
        own, whole = weigh(path, page.loads)
        if own > OWN_MB * 1e6 or whole > WHOLE_MB * 1e6:
            found.append(
                f"{name}: weighs {own / 1e6:.1f} MB with its pictures and {whole / 1e6:.1f} MB with all it loads: "
                f"expected at most {OWN_MB:g} and {WHOLE_MB:g}"
            )
    for style in sorted(folder.rglob("*.css")):
        if STYLE_LOADS.search(style.read_text(encoding="utf-8")):
            found.append(f"{style.relative_to(folder)}: a style loads something from elsewhere")
    return found


def main() -> int:
    """The command line."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "_build" / "html"
    try:
        found = complaints(folder)
    except FileNotFoundError as error:
        print(error)
        return 1
    for line in found:
        print(line)
    weighed = weights(folder)
    heaviest, (own, whole) = max(weighed.items(), key=lambda item: item[1])
    print(
        f"{len(weighed)} pages, {len(found)} complaints; "
        f"the heaviest, {heaviest}: {own / 1e6:.2f} MB with its pictures, {whole / 1e6:.2f} MB with all it loads"
    )
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
