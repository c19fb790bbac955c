"""A table of interactions in any form, and what a loader says of it."""

from collections.abc import Callable
from datetime import UTC, datetime, timezone
from pathlib import Path

import numpy as np
import pytest

from core.errors import UserError
from sim.data import load
from sim.data.columns import Columns
from sim.data.interactions import Interactions

Row = tuple[int, int, int]
BEGIN = 1_600_000_000
PLACES = Columns(",", (), 0, 4, user=1, item=0, time=3)
"""Columns of a file without a header: item, user, another number, time."""


def baseline() -> list[Row]:
    """(user, item, second): twelve users, eleven rows each, unique times, in no order."""
    rows = [(user, (7 * user + 5 * place) % 13 + 1, BEGIN + 977 * ((user * 31 + place * 47) % 401))
            for place in range(11) for user in range(12, 0, -1)]  # fmt: skip
    assert len({second for _, _, second in rows}) == len(rows)
    return rows


def expected(user: str = "u", item: str = "i") -> Interactions:
    """The baseline with these letters before the numbers, ordered by plain Python."""
    rows = sorted(baseline(), key=lambda row: (row[0], row[2]))
    users, items = sorted({row[0] for row in rows}), sorted({row[1] for row in rows})
    return Interactions(
        name="baseline",
        offsets=np.arange(0, len(rows) + 1, 11),
        items=np.array([items.index(row[1]) + 1 for row in rows], dtype=np.int32),
        times=np.array([row[2] for row in rows]),
        user_ids=[f"{user}{number}" for number in users],
        item_ids=["", *(f"{item}{number}" for number in items)],
        item_titles=["", *(f"{item}{number}" for number in items)],
        genre_names=[],
        genres=np.zeros((len(items) + 1, 0), dtype=bool),
        change_points=np.full(len(users), -1),
    )


def text(
    header: str = "user,item,timestamp",
    line: str = "u{user},i{item},{second}",
    time: Callable[[int], object] = int,
    end: str = "\n",
) -> bytes:
    """The baseline as a file; ``time`` writes a second."""
    lines = [header] if header else []
    lines += [line.format(user=user, item=item, second=time(second)) for user, item, second in baseline()]
    return (end.join(lines) + end).encode()


def iso(second: int, zone: timezone = UTC) -> str:
    return datetime.fromtimestamp(second, zone).isoformat()


def write(folder: Path, content: str | bytes, name: str = "shop.csv") -> Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def message(path: Path, columns: str | None = None) -> str:
    with pytest.raises(UserError) as caught:
        load(str(path), columns=columns)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)
    return str(caught.value)
