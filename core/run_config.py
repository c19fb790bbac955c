"""Reading ``config.toml``, by which a folder says that it is a run's."""

import tomllib
from pathlib import Path
from typing import Any

from core.errors import UserError


def read_config(folder: Path, *tables: str) -> dict[str, Any]:
    """All tables of the run in ``folder``.

    Raises :class:`UserError` if there is no such folder, no such file, or none of the ``tables`` that are needed.
    """
    if not folder.exists():
        raise UserError(f"{folder}: there is no such folder; give the folder of a run")
    file = folder / "config.toml"
    if not file.is_file():
        raise UserError(f"{folder} is not a run folder: there is no config.toml in it")
    try:
        config = tomllib.loads(file.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{file} is damaged: {error}; play the run again into an empty folder") from None
    for name in ("run", *tables):
        if not isinstance(config.get(name), dict):
            raise UserError(f"{file} has no table [{name}]: it was written by another version; play the run again")
    return config


def finished_options(folder: Path) -> dict[str, Any]:
    """The options of a run that has been played to its end; raises :class:`UserError` for any other folder."""
    options: dict[str, Any] = read_config(folder)["run"]
    if not (folder / "sessions.parquet").is_file():
        raise UserError(f"{folder} is unfinished: start the run's command again, which continues it")
    return options
