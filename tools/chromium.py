"""The machine's own Chromium, driven through Playwright: nothing is downloaded."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from playwright.sync_api import Browser

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
APPLICATIONS = (
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
)
# Nothing but the page: the browser's own background requests would be taken for the book's.
SWITCHES = ("--disable-gpu", "--disable-background-networking", "--disable-component-update", "--disable-sync")


class ChromiumMissing(Exception):
    """No Chromium on this machine; the message says what to do."""


def find() -> str:
    """The path of a Chromium or Chrome: ``CHROMIUM`` if set, else one on the PATH or among the applications.

    Raises:
        ChromiumMissing: there is none.
    """
    candidates = (shutil.which(name) for name in (os.environ.get("CHROMIUM", ""), *NAMES) if name)
    for path in (*candidates, *APPLICATIONS):
        if path and Path(path).exists():
            return path
    raise ChromiumMissing(
        "Chromium is not installed: install the package chromium (or Chrome), or set CHROMIUM to its path."
    )


@contextmanager
def launched() -> Iterator["Browser"]:
    """A headless browser, closed at the end.

    Raises:
        ChromiumMissing: there is none.
    """
    path = find()
    from playwright.sync_api import sync_playwright

    # Chromium refuses its sandbox to root, which is who a container runs as.
    switches = [*SWITCHES, "--no-sandbox"] if hasattr(os, "geteuid") and os.geteuid() == 0 else list(SWITCHES)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=switches)
        try:
            yield browser
        finally:
            browser.close()
