"""Whether a file of the user hides a package of ours: ``python -m`` looks into the working folder first."""

import sys
from importlib.machinery import PathFinder
from pathlib import Path

PACKAGES = ("core", "models", "clients", "strategies", "sim", "replay", "analysis")
_ROOT = Path(__file__).resolve().parents[1]


def hiding() -> Path | None:
    """The first file that Python would import instead of one of :data:`PACKAGES`; None if there is none."""
    for name in PACKAGES:
        found = PathFinder.find_spec(name, [entry or "." for entry in sys.path])
        if found is not None and found.origin is not None:
            path = Path(found.origin).resolve()
            if _ROOT not in path.parents:
                return path
    return None


def refuse() -> None:
    """End a command in one line, with exit status 2, if a file hides a package of ours; in an import, raise
    ImportError."""
    path = hiding()
    if path is None:
        return
    what = path.parent if path.name == "__init__.py" else path
    line = (
        f"{what} hides a package of this program that has the same name; rename it, start the command in another "
        "folder, or set PYTHONSAFEPATH=1"
    )
    if sys.argv[:1] == ["-m"]:  # what stands there while Python looks for the module of `python -m`
        print(f"error: {line}", file=sys.stderr)
        sys.exit(2)
    raise ImportError(line)
