"""Say what this machine has and lacks for the casebook, and what to do about it. Needs nothing but Python."""

import os
import platform
import shutil
import subprocess
import sys

import env


def line(name: str, good: bool, has: str, advice: str = "") -> None:
    """Print one finding; advice only where something is missing."""
    print(f"  {'ok  ' if good else 'LACK'}  {name:<9} {has}{'' if good or not advice else ': ' + advice}")


def memory_gb() -> float:
    """The machine's memory in GB."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9


def chromium() -> str:
    """The path of a browser that can print and check pages; empty if there is none."""
    from chromium import ChromiumMissing, find

    try:
        return find()
    except ChromiumMissing:
        return ""


def environment() -> str:
    """What .venv holds."""
    if env.is_foreign():
        return "not made by make: move it away or delete it"
    if not env.is_usable():
        return "not there yet: the first make sets it up"
    missing = env.missing(list(env.GROUPS))
    whole = [group for group in env.GROUPS if group not in missing]
    stale = [group for group in env.EVERYDAY if group in missing]
    return f"has {', '.join(whole) or 'nothing current'}" + (f"; {', '.join(stale)} on first use" if stale else "")


def has_gpu() -> str:
    """The graphics processor's name, or empty."""
    if not shutil.which("nvidia-smi"):
        return ""
    done = subprocess.run(
        ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    return done.stdout.decode().strip().splitlines()[0] if done.returncode == 0 and done.stdout.strip() else ""


def main() -> int:
    """Print the findings; the status is 1 if the book can't be built here."""
    fits = env.fits(sys.version_info)
    free = shutil.disk_usage(str(env.ROOT)).free / 1e9
    memory = memory_gb()
    redis = os.environ.get("REDIS_URL") or shutil.which("redis-server")
    browser = chromium() if fits else ""
    gpu = has_gpu()
    print(f"{platform.system()} {platform.machine()}, {os.cpu_count()} processors")
    print("To read (make book):")
    line("Python", fits, platform.python_version(), "install Python 3.11, 3.12 or 3.13, then make PYTHON=/path/to/it")
    line("disk", free > 0.5, f"{free:.1f} GB free", "0.5 GB is needed for reading, 4 GB for everything")
    print("To run (make test, make lab):")
    line("disk", free > 4, f"{free:.1f} GB free", "4 GB is needed for everything")
    line("memory", memory > 4, f"{memory:.1f} GB", "2 GB free is needed to run one notebook, 4 GB for the tests")
    wheels = "an embedded one stands in on Linux with Python 3.11 or 3.12, else a stand-in that says so on every result"
    install = "`apt install redis-server` or `brew install redis`; until then " + wheels
    line("Redis", bool(redis), redis or "not found", install)
    print("To print and to check pages (make pdf, make test):")
    line("Chromium", bool(browser), browser or "not found", "`apt install chromium`, or install Chrome")
    print("Of no consequence:")
    print(f"        GPU       {gpu or 'none'}: everything runs on the CPU")
    print(f"        .venv     {environment() if fits else 'needs a Python that fits'}")
    return 0 if fits and free > 0.5 else 1


if __name__ == "__main__":
    sys.exit(main())
