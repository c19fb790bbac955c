"""Hash the content of the files that a run names, so that an edited file makes a new run.

Invalid files are hashed, too: their own loader reports the error.
"""

import hashlib
import tomllib
from functools import lru_cache
from importlib import resources
from pathlib import Path

DEEPEST = 16
"""Files that build on each other; a circle has no end."""


def content(folder: str, name: str) -> str:
    """A short hash of a file's bytes and of those it builds on: its ``base``, and so on, and the trace that it names.

    ``name`` is a TOML file's path, or the name of a shipped file in ``sim/<folder>``.
    """
    digest = hashlib.sha256()
    for data in _files(folder, name, Path(), DEEPEST):
        digest.update(hashlib.sha256(data).digest())
    return digest.hexdigest()[:12]


def data_content(name: str) -> dict[str, str]:
    """``{"data": short hash}`` of the file that ``--dataset`` names; nothing for a data set that has a name."""
    path = Path(name).expanduser()
    return {"data": _hash(path, *_stamp(path))} if path.suffix and path.is_file() else {}


@lru_cache(maxsize=4)
def _hash(path: Path, changed: int, size: int) -> str:
    """A short hash of a file's bytes, which are read again when its time or size is another."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:12]


def _stamp(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_mtime_ns, found.st_size


def _files(folder: str, name: str, beside: Path, deepest: int) -> list[bytes]:
    path = beside / Path(name).expanduser()
    if name.endswith(".toml"):
        data = _bytes(path)
    else:
        file = resources.files("sim") / folder / f"{name}.toml"
        data = file.read_bytes() if file.is_file() else b""
    try:
        table = tomllib.loads(data.decode())
    except ValueError:  # not TOML, not UTF-8, or a number with too many digits
        return [data]
    out, near = [data], path.parent if name.endswith(".toml") else Path()
    availability = table.get("availability")
    if isinstance(availability, dict) and isinstance(trace := availability.get("trace"), str):
        out.append(_bytes(near / Path(trace).expanduser()))
    if isinstance(base := table.get("base"), str) and deepest:
        out += _files(folder, base, near, deepest - 1)
    return out


def _bytes(path: Path) -> bytes:
    return path.read_bytes() if path.is_file() else b""
