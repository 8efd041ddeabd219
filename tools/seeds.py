"""Run notebooks under several seeds and write how each claim fared: python tools/seeds.py --seeds 30 [cases/ad_click]

SEEDS is a count from 0 (30), a range (20-29) or a list (3,5,8); seed 0, whose outputs the book shows, is always among
them. Two notebooks run at a time. A run that was made from the same code, library and lock is not made again: an
interrupted run goes on where it stopped. The page of claims shows what is written to book/claims.json.

The exit status tells of news only: a notebook that stopped, or a claim that fell at a seed where the file said it held.
"""

import argparse
import json
import math
import statistics
import sys
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

from casebook.report import fingerprint
from running import ROOT, chapter, find, run

CLAIMS = ROOT / "book" / "claims.json"
CACHE = ROOT / "_build" / "seeds"


def parse_seeds(text: str) -> list[int]:
    """The seeds that a count, a range or a list stands for.

    Raises:
        ValueError: it is none of these.
    """
    try:
        if "-" in text:
            first, last = map(int, text.split("-"))
            chosen = range(first, last + 1)
        else:
            numbers = [int(part) for part in text.split(",")]
            chosen = numbers if "," in text else range(numbers[0])
        if not chosen or min(chosen) < 0:
            raise ValueError
    except ValueError:
        raise ValueError(f"SEEDS is {text}: expected a count (30), a range (20-29) or a list (3,5,8)") from None
    return sorted({0, *chosen})


def run_seed(path: Path, seed: int) -> dict:
    """One notebook at one seed: what its claims recorded, and why it stopped, if it did."""
    kept = CACHE / chapter(path) / fingerprint(path).replace(" ", "_").replace(":", "-") / f"{seed}.json"
    if kept.exists():
        return json.loads(kept.read_text())
    done = run(path, seed=seed, go_on=True, env={"CASEBOOK_SIZE": "book"})
    result = {"claims": done.claims, "error": done.error, "seconds": done.seconds}
    if done.error is None:  # a stopped run is made again: its cause may have been the machine's
        kept.parent.mkdir(parents=True, exist_ok=True)
        draft = kept.with_suffix(".draft")
        draft.write_text(json.dumps(result))
        draft.replace(kept)
    return result


def summarise(build: str, results: dict[int, dict]) -> list[dict]:
    """How each claim of a build fared, in the order in which the build makes them.

    A seed at which the notebook stopped before it came to the claim counts as one at which the claim did not hold.
    """
    names = list(dict.fromkeys(c["name"] for seed in sorted(results) for c in results[seed]["claims"]))
    rows = []
    for name in names:
        made = {seed: c for seed, r in results.items() for c in r["claims"] if c["name"] == name}
        shown = made[min(made)]
        finite = [c["value"] for c in made.values() if math.isfinite(c["value"])]
        failed = sorted(seed for seed in results if seed not in made or not made[seed]["held"])
        rows.append(
            {key: shown[key] for key in ("name", "kind", "statement", "bound", "value", "fmt", "source")}
            | {"chapter": build, "seeds": len(results), "held": len(results) - len(failed), "failed": failed}
            | {
                "min": min(finite, default=math.nan),
                "median": statistics.median(finite) if finite else math.nan,
                "max": max(finite, default=math.nan),
            }
        )
    return rows


def newly_fallen(before: list[dict], after: list[dict]) -> list[dict]:
    """The claims that fell at a seed where the file said they held; a claim that the file does not know is no news."""
    known = {(c["chapter"], c["name"], c["bound"]): set(c["failed"]) for c in before}
    return [c for c in after if set(c["failed"]) - known.get((c["chapter"], c["name"], c["bound"]), set(c["failed"]))]


def main() -> int:
    """Run, write the file, print what fell; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", default="30", help="a count, a range or a list")
    parser.add_argument("names", nargs="*", help="chapters or builds; all by default")
    options = parser.parse_args()
    try:
        seeds = parse_seeds(options.seeds)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    paths = find(options.names)
    results: dict[Path, dict[int, dict]] = {path: {} for path in paths}
    stopped = []
    with ThreadPoolExecutor(2) as pool:
        jobs = {pool.submit(run_seed, path, seed): (path, seed) for path in paths for seed in seeds}
        try:
            for number, job in enumerate(as_completed(jobs), 1):
                path, seed = jobs[job]
                result = results[path][seed] = job.result()
                fell = [c["name"] for c in result["claims"] if not c["held"]]
                said = (
                    f"stopped: {result['error']}"
                    if result["error"]
                    else f"fell: {', '.join(fell)}"
                    if fell
                    else "all held"
                )
                print(
                    f"{number:4d}/{len(jobs)}  {result['seconds']:6.1f} s  {chapter(path)} at seed {seed}: {said}",
                    flush=True,
                )
                if result["error"]:
                    stopped.append(f"{chapter(path)} at seed {seed}: {result['error']}")
        except KeyboardInterrupt:
            pool.shutdown(cancel_futures=True)
            print("Interrupted: what was run is kept, and the next `make seeds` goes on from there", file=sys.stderr)
            return 130

    before = json.loads(CLAIMS.read_text()) if CLAIMS.exists() else []
    after = [row for path in paths for row in summarise(chapter(path), results[path])]
    run_here = {chapter(path) for path in paths}
    all_builds = {chapter(path) for path in find([])}
    kept = [c for c in before if c["chapter"] in all_builds - run_here]
    rows = sorted([*kept, *after], key=lambda c: c["chapter"])  # stable: the order within a build stays
    CLAIMS.write_text(json.dumps(rows, indent=1, ensure_ascii=False) + "\n")

    for c in (c for c in after if c["failed"]):
        print(f"{c['chapter']}: {c['name']} held in {c['held']} of {c['seeds']}; it fell at {c['failed']}")
    held = sum(not c["failed"] for c in after)
    print(f"{held} of {len(after)} claims held at every one of {len(seeds)} seeds: written to book/claims.json")
    news = newly_fallen(before, after)
    for c in news:
        print(f"NEW: {c['chapter']}: {c['name']} fell where book/claims.json said it held", file=sys.stderr)
    for line in stopped:
        print(f"STOPPED: {line}", file=sys.stderr)
    return 1 if news or stopped else 0


if __name__ == "__main__":
    sys.exit(main())
