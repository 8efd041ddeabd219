"""Memory goes back to the system."""

import sys

import numpy as np
import psutil
import pytest

from casebook import memory


def test_release_may_be_called_anywhere():
    assert memory.release() is None


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only the C library of Linux keeps and trims")
def test_what_was_freed_between_kept_pieces_goes_back():
    process = psutil.Process()
    pieces = [np.ones(10_000) for _ in range(3000)]  # 80 kB each: too small to be mapped one by one
    kept = pieces[::100]
    del pieces
    before = process.memory_info().rss
    memory.release()
    assert before - process.memory_info().rss > 100e6
    assert len(kept) == 30
