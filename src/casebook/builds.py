"""How a later notebook gets what an earlier one defined, without a line written twice.

The cells of a build that others may use carry the tag ``reuse``: imports, constants, definitions of functions and
classes, nothing that takes time or shows an output.
"""

import json
import linecache
import sys
from pathlib import Path
from types import ModuleType

__all__ = ["load"]

TAG = "reuse"


def _find(name: str) -> Path:
    """The notebook, in the tree where this process runs if that has one, else in the tree of this library."""
    if not isinstance(name, str) or not name:
        raise ValueError(f"name is {name!r}: expected that of a build, such as 'cases/ad_click/1_model'")
    trees = [folder / "notebooks" for folder in (Path.cwd(), *Path.cwd().parents, Path(__file__).parents[2])]
    for tree in trees:
        if (path := tree / f"{name}.ipynb").is_file():
            return path
    tree = next((tree for tree in trees if tree.is_dir()), trees[-1])
    known = sorted(path.relative_to(tree).with_suffix("").as_posix() for path in tree.rglob("[!.]*.ipynb"))
    raise ValueError(f"name is {name!r}: expected one of {', '.join(known) or 'no build at all'}")


def load(name: str) -> ModuleType:
    """A build's definitions as a module.

    Executes, in order, the code cells of the notebook that are tagged ``reuse``, and no other.

    Args:
        name: the notebook below ``notebooks/``, without its ending: ``"cases/ad_click/1_model"``.

    Returns:
        A module with the names that these cells define; new at each call.

    Raises:
        ValueError: there is no such build, or none of its cells is tagged.
    """
    cells = json.loads(_find(name).read_text(encoding="utf-8"))["cells"]
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    reused = [(i, "".join(c["source"])) for i, c in enumerate(code, 1) if TAG in c.get("metadata", {}).get("tags", ())]
    if not reused:
        raise ValueError(f"name is {name!r}: expected a build with cells tagged {TAG!r}, and it has none")
    # One text in the line cache for all cells, so that tracebacks and inspect.getsource show them; each cell is
    # compiled below blank lines that put it where it stands there.
    filename = f"<{name}>"
    lines = "\n\n".join(source for _, source in reused).splitlines(keepends=True)
    linecache.cache[filename] = (len(lines), None, lines, filename)
    module = ModuleType(f"casebook.builds.{name.replace('/', '.')}", f"Definitions of the build {name}.")
    module.__file__ = filename
    sys.modules[module.__name__] = module  # where dataclasses and pickle look a class's module up
    above = 0
    for number, source in reused:
        try:
            exec(compile("\n" * above + source, filename, "exec", dont_inherit=True), module.__dict__)
        except Exception as error:
            error.add_note(
                f"in code cell {number} of {name}: a cell tagged {TAG!r} can use only what other such cells define"
            )
            raise
        above += source.count("\n") + 2
    return module
