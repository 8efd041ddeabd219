"""Packs the built book into a zip that opens from disk: ``_build/casebook-offline.zip``."""

import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
# Fixed, so that the same pages make the same archive.
MOMENT = (2026, 1, 1, 0, 0, 0)


def pack(folder: Path, archive: Path) -> int:
    """Packs a built book and returns the number of its files.

    Args:
        folder: where the HTML is.
        archive: the zip to write; what is there is replaced. Its pages lie in one folder, named like the archive.

    Raises:
        FileNotFoundError: the folder holds no built book.
    """
    if not (folder / "index.html").is_file():
        raise FileNotFoundError(f"{folder} holds no book: build it first")
    # What only Sphinx needs is left out.
    files = [p for p in sorted(folder.rglob("*")) if p.is_file() and p.name not in (".buildinfo", "objects.inv")]
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as target:
        for path in files:
            name = Path(archive.stem, path.relative_to(folder)).as_posix()
            target.writestr(zipfile.ZipInfo(name, MOMENT), path.read_bytes(), zipfile.ZIP_DEFLATED)
    return len(files)


def main() -> int:
    """The command line."""
    archive = ROOT / "_build" / "casebook-offline.zip"
    try:
        count = pack(ROOT / "_build" / "html", archive)
    except FileNotFoundError as error:
        print(error)
        return 1
    size = archive.stat().st_size / 1e6
    print(f"Packed {count} files into {archive.relative_to(ROOT)}, {size:.1f} MB: unpack it and open index.html")
    return 0


if __name__ == "__main__":
    sys.exit(main())
