"""The numbers that the paper prints, from the files in ``printed/``."""

import tomllib
from functools import lru_cache
from pathlib import Path
from typing import Any

_FOLDER = Path(__file__).parent / "printed"


@lru_cache
def read(name: str) -> dict[str, Any]:
    """Read the file ``printed/<name>.toml``: a table, or what is wrong with the tables (``errata``)."""
    return tomllib.loads((_FOLDER / f"{name}.toml").read_text(encoding="utf-8"))
