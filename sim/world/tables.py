"""Read the TOML files of device mixes and drifts; a mistake is one line that names file, table, key and what to write.

The checks are our own: with pydantic the 42 lines of them here and in :mod:`sim.world.scenario` become 36, most of
which turn its errors into such a line (it names a tier by its number, and no key that may have been meant); the errors
of msgspec do not have the value either.
"""

import tomllib
from collections.abc import Iterable
from importlib import resources
from pathlib import Path

from core.errors import UserError, unknown

LARGEST = 1e30
"""Numbers above this are infinite in all but name: products of a few of them would be."""


def shipped(kind: str) -> list[str]:
    """The names of the files of a kind, ``scenario`` or ``drift``, that come with the project."""
    folder = resources.files("sim") / f"{kind}s"
    return sorted(entry.name[: -len(".toml")] for entry in folder.iterdir() if entry.name.endswith(".toml"))


def read_toml(kind: str, name: str, beside: Path = Path()) -> tuple[Path, dict[str, object]]:
    """The place and the table of a TOML file, named relative to ``beside``, or of a shipped file of that kind.

    The place of a shipped file is its name alone. Raises :class:`UserError` for a file that is not there or not TOML.
    """
    path = beside / Path(name).expanduser()
    if not name.endswith(".toml"):
        if name not in shipped(kind):
            raise UserError(unknown(kind, name, [*shipped(kind), "or a TOML file"]))
        path, data = Path(name), (resources.files("sim") / f"{kind}s" / f"{name}.toml").read_bytes()
    elif path.is_file():
        data = path.read_bytes()
    else:
        raise UserError(f"{kind} file {path} does not exist")
    try:
        return path, tomllib.loads(data.decode("utf-8"))
    except ValueError as error:  # not TOML, not UTF-8, or a number with too many digits
        raise UserError(f"{kind} {path.name} is not valid TOML: {error}") from None


def check_keys(where: str, table: Iterable[str], known: set[str], required: set[str]) -> None:
    """Raise :class:`UserError` for the first key that is not known, or that is required and missing."""
    keys = set(table)
    for key in table:
        if key not in known:
            raise UserError(f"{where}: {unknown('key', key, sorted(known))}")
    for key in sorted(required - keys):
        raise UserError(f"{where}: {key} is missing")


def as_table(where: str, given: object) -> dict[str, object]:
    """A value that has to be a table; raises :class:`UserError` if it is none."""
    if not isinstance(given, dict):
        raise UserError(f"{where} is missing or no table")
    return given


def number(where: str, key: str, given: object, *, most: float = LARGEST, zero: bool = False) -> float:
    """A number above 0 (``zero``: or 0) and at most ``most``; raises :class:`UserError` for anything else."""
    if isinstance(given, bool) or not isinstance(given, int | float):
        raise UserError(f"{where}: {key} is {given!r}, not a number")
    if not (0 < given <= most or (zero and given == 0)):
        least = "at least" if zero else "greater than"
        end = "finite" if most == LARGEST else f"at most {most:g}"
        raise UserError(f"{where}: {key} is {given!s:.24}; it must be {least} 0 and {end}")
    return float(given)
