"""Prints the whole book as one PDF with bookmarks and working links: ``_build/casebook.pdf``.

The book is built as a single page, opened in Chromium with every folded answer open and every diagram and formula
drawn, and printed in the light theme.
"""

import sys
from pathlib import Path

from build_book import ROOT, build
from chromium import ChromiumMissing, find, launched

# Everything that is drawn by a script is there once these say so.
DRAWN = """async () => {
  document.querySelectorAll("details").forEach((folded) => { folded.open = true; });
  document.querySelectorAll(".toggle-hidden").forEach((folded) => folded.classList.remove("toggle-hidden"));
  if (window.MathJax?.startup) await MathJax.startup.promise;
  const undrawn = () => document.querySelector("pre.mermaid:not([data-processed])");
  for (let tries = 0; undrawn() && tries < 300; tries++) await new Promise((done) => setTimeout(done, 100));
  if (undrawn()) throw new Error("a diagram was not drawn");
  await Promise.all([...document.images].map((image) => image.decode().catch(() => {})));
}"""

FOOTER = (
    '<div style="width: 100%; text-align: center; font: 8px sans-serif; color: #575c63">'
    '<span class="pageNumber"></span></div>'
)


def print_page(page: Path, pdf: Path) -> None:
    """Prints a page to a PDF, tagged for screen readers and with its headings as bookmarks.

    Raises:
        ChromiumMissing: there is no browser to print with.
    """
    with launched() as browser:
        view = browser.new_page(color_scheme="light")
        view.set_default_timeout(120_000)
        view.goto(page.resolve().as_uri())
        view.evaluate(DRAWN)
        view.emulate_media(media="print")
        view.pdf(
            path=pdf,
            format="A4",
            margin={"top": "18mm", "bottom": "18mm", "left": "17mm", "right": "17mm"},
            print_background=True,
            display_header_footer=True,
            header_template="<span></span>",
            footer_template=FOOTER,
            outline=True,
            tagged=True,
        )


def main() -> int:
    """The command line."""
    try:
        find()  # before a minute is spent on building
    except ChromiumMissing as error:
        print(f"No PDF was printed. {error}")
        return 1
    page = build(builder="singlehtml")
    pdf = ROOT / "_build" / "casebook.pdf"
    print_page(page, pdf)
    print(f"Printed {pdf.relative_to(ROOT)}, {pdf.stat().st_size / 1e6:.1f} MB. Open {pdf.as_uri()}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
