"""Measure what the casebook costs on this machine, print it and write it to the book: python tools/bench.py.

One run, from the world to the pages. What the builds time themselves (training, scoring, the service under load) is
taken from the tables of the run made here: nothing is timed by code that could differ from what the reader sees.
"""

import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psutil

import casebook  # before what computes: it fixes the threads
from casebook import rng
from running import ROOT, chapter, find, run

PAGE = ROOT / "book" / "benchmarks.md"
RATES = (100, 200, 400, 800, 1600)  # requests a second; the last is meant to be too much
LOAD_S = 3

Table = tuple[str, list[str], list[list[str]]]  # caption, columns, rows


def processor() -> str:
    """The processor's name, as its maker calls it."""
    if sys.platform == "darwin":
        command = ["sysctl", "-n", "machdep.cpu.brand_string"]
        return subprocess.run(command, capture_output=True, text=True).stdout.strip()
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith(("model name", "Model"))]
    return names[0] if names else platform.machine()


def machine() -> Table:
    """What all of this was measured on."""
    memory = psutil.virtual_memory().total / 1e9
    rows = [
        ["processor", f"{processor()}; {os.cpu_count()} of them, {casebook.THREADS} used by each library"],
        ["memory", f"{memory:.0f} GB"],
        ["system", f"{platform.system()} {platform.machine()}, Python {platform.python_version()}"],
    ]
    return "The machine", ["what", "which"], rows


def world() -> Table:
    """How fast each world writes its log."""
    from casebook.worlds.ad_click import AdClick
    from casebook.worlds.takeaway import Takeaway
    from casebook.worlds.video import Video

    rows = []
    for name, made in (("ad click", AdClick), ("takeaway", Takeaway), ("video recommendation", Video)):
        for days in (1, 14):
            one = made(seed=0)
            started = time.perf_counter()
            log = one.log(days=days)
            seconds = time.perf_counter() - started
            rows.append([f"{name}, {days} days", f"{len(log):,}", f"{seconds:.2f}", f"{len(log) / seconds:,.0f}"])
    return "Writing a log", ["world", "rows", "s", "rows/s"], rows


def empty_service() -> Table:
    """What HTTP, validation and admission cost when the model costs nothing: the yardstick for a case's service."""
    from casebook.serve.artefact import write_artefact
    from casebook.serve.load import poisson_load
    from casebook.serve.run import start_replicas
    from casebook.serve.service import Scorer

    def load(directory: Path) -> Scorer:
        from casebook.serve.service import empty_scorer

        return empty_scorer()

    request = {"user": 1, "candidates": list(range(100))}
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        write_artefact(Path(folder), load)
        for rate in RATES:
            with start_replicas(Path(folder)) as (service,):
                requests = [request] * (rate * LOAD_S)
                load_made = poisson_load(service.url, requests, rate=rate, rng=rng.stream("bench", f"load {rate}"))
            s = load_made.summary()
            row = [f"{rate:,}", f"{s['scored_per_s']:,.0f}", f"{s['p50_ms']:.1f}", f"{s['p99_ms']:.1f}"]
            rows.append([*row, f"{s['shed'] / s['sent']:.0%}"])
    caption = "An empty service behind HTTP under rising load: one process, 100 candidates a request"
    return caption, ["requests/s offered", "scored/s", "p50 ms", "p99 ms", "shed"], rows


def timings(notebook: object, build: str) -> Iterator[Table]:
    """The numbers in a build's tables that differ from run to run, timings; the first column says of what."""
    for cell in notebook.cells:
        for output in cell.get("outputs", ()):
            record = output.get("metadata", {}).get("casebook", {})
            if record.get("type") != "table" or not record["volatile"]:
                continue
            columns = enumerate(record["columns"])
            shown = [i for i, c in columns if c in record["volatile"] and not isinstance(record["rows"][0][i], str)]
            if not shown:
                continue  # volatile, and no timing: a digest
            shown.insert(0, 0)
            rows = [[text(row[i], record["formats"][i]) for i in shown] for row in record["rows"]]
            yield f"{record['caption']} ({build})", [record["columns"][i] for i in shown], rows


def text(value: object, fmt: str) -> str:
    """A cell as the build displays it."""
    return "–" if value is None else value if isinstance(value, str) else format(value, fmt)


def builds() -> Iterator[Table]:
    """Every notebook from the top: its cost, and what it timed."""
    costs, timed = [], []
    for path in find([]):
        done = run(path, env={"CASEBOOK_SIZE": "book"})
        if done.error:
            raise SystemExit(f"{chapter(path)} stopped: {done.error}")
        costs.append([chapter(path), f"{done.seconds:.0f}", f"{done.peak_mb:,.0f}"])
        timed += timings(done.notebook, chapter(path))
    yield "Each notebook, executed from the top", ["notebook", "s", "peak MB"], costs
    yield from timed


def book() -> Iterator[Table]:
    """The build of the book from stored outputs, and what its pages weigh."""
    started = time.perf_counter()
    subprocess.run([sys.executable, "tools/build_book.py", "--fresh"], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    seconds = time.perf_counter() - started
    html = ROOT / "_build" / "html"
    pages = sorted(html.rglob("*.html"), key=lambda p: -p.stat().st_size)
    total = sum(p.stat().st_size for p in html.rglob("*") if p.is_file())
    rows = [
        ["build, everything anew", f"{seconds:.1f} s"],
        ["pages", str(len(pages))],
        ["all files", f"{total / 1e6:.1f} MB"],
    ]
    yield "The book", ["what", "how much"], rows
    heavy = [[p.relative_to(html).as_posix(), f"{p.stat().st_size / 1e3:,.0f}"] for p in pages[:8]]
    yield "The heaviest pages, without pictures, scripts and fonts", ["page", "kB"], heavy


def markdown(table: Table) -> str:
    """A table with its caption as a sentence above."""
    caption, columns, rows = table
    lines = [columns, ["---", *["---:"] * (len(columns) - 1)], *rows]
    return f"{caption}.\n\n" + "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


HEAD = """\
# Speed and size

What this book costs to run, as `make bench` measured it in one run; this page is its last output. Other programs at
work and other processors give other numbers: compare rows with each other, not with your own machine.
"""


def main() -> int:
    """Measure, print, write; returns the exit status."""
    tables: list[Table] = []

    def measured(*more: Table) -> None:
        for table in more:
            print("\n" + markdown(table), flush=True)
            tables.append(table)

    measured(machine(), world(), empty_service())
    for table in builds():
        measured(table)
    for table in book():
        measured(table)
    PAGE.write_text("\n".join([HEAD, *map(markdown, tables)]))
    print(f"Written to {PAGE.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
