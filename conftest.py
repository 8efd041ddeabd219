"""How a re-executed notebook is compared with the stored one, and what a test run reports about notebooks."""

import os
from collections import defaultdict

from nbval import plugin as nbval

# Off where the stored outputs were not made (another system, another Python): notebooks run and claims must hold, but
# numbers and pictures may differ.
COMPARE = os.environ.get("CASEBOOK_COMPARE", "1") != "0"

if COMPARE:
    # The stored outputs are those of the default world.
    os.environ.update(CASEBOOK_SEED="0", CASEBOOK_SIZE="book")
os.environ.pop("CASEBOOK_CLAIMS_CONTINUE", None)

_as_text = nbval.IPyNbCell.compare_outputs


def _compare(cell, fresh, stored, skip_compare=None):
    """Text as nbval compares it, strictly; then numbers within their tolerance and figures by their pixels."""
    if not COMPARE:
        return True
    from casebook.report.compare import differences

    if not _as_text(cell, fresh, stored, skip_compare):
        return False
    found = differences(stored, fresh)
    cell.comparison_traceback.extend(found)
    return not found


nbval.IPyNbCell.compare_outputs = _compare


def pytest_collection_finish(session):
    if any(isinstance(item, nbval.IPyNbCell) for item in session.items):
        # In a new environment matplotlib says in a notebook's output that it builds its font cache; build it here.
        import matplotlib.font_manager  # noqa: F401


def pytest_terminal_summary(terminalreporter):
    seconds = defaultdict(float)
    for reports in terminalreporter.stats.values():
        for report in reports:
            file = getattr(report, "nodeid", "").partition("::")[0]
            if file.endswith(".ipynb"):
                seconds[file] += getattr(report, "duration", 0)
    for file, total in sorted(seconds.items()):
        terminalreporter.write_line(f"{total:7.1f} s  {file}")
