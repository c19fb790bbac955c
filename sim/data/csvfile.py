"""Any CSV file (plain, .gz or .xz) whose rows are interactions."""

import csv
import gzip
import io
import lzma
import math
import zlib
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from core.errors import UserError
from sim.data.interactions import Interactions, build_interactions

SUFFIXES = (".csv", ".csv.gz", ".csv.xz")
LATEST_TIME = 10**11  # seconds, far in the future; larger numbers are milliseconds
UNKNOWN_TIME = np.iinfo(np.int64).min


@dataclass(frozen=True)
class Rows:
    """Rows of a file in its order; users and items are codes into the ids, numbered as they first appear."""

    users: np.ndarray  # (N,) int64
    items: np.ndarray  # (N,) int64
    times: np.ndarray  # (N,) int64 seconds, UNKNOWN_TIME where the field is empty and may be
    positions: np.ndarray  # (N,) int64, empty unless a position column was asked for
    user_ids: list[str]
    item_ids: list[str]


def load_csv(path: Path) -> Interactions:
    """Interactions of a CSV file with a header naming `user`, `item` and `timestamp`; others are ignored.

    Every row is a positive interaction and nothing is filtered. Timestamps are seconds since 1970; a
    fraction of a second is cut off. Ties within a user keep the order of the file.

    Raises:
        UserError: The file is missing, damaged, empty, lacks a column, or has a bad row (named by its line).
    """
    rows = read_rows(path, header=("user", "item", "timestamp"))
    name = path.name.removesuffix(path.suffix).removesuffix(".csv")
    return build_interactions(name, rows.users, rows.items, rows.times, rows.user_ids, rows.item_ids)


def read_rows(
    path: Path,
    *,
    header: Sequence[str] | None = None,
    columns: Sequence[int] = (),
    time_may_be_empty: bool = False,
) -> Rows:
    """Read user, item, timestamp, and optionally a position, from a CSV file.

    Args:
        path: The file; compression is told by the suffix.
        header: Names of these three or four columns in the file's header; None if the file has no header.
        columns: Without a header: their indices.
        time_may_be_empty: Whether an empty timestamp becomes UNKNOWN_TIME instead of an error.

    Raises:
        UserError: The file is missing, damaged, empty, lacks a column, or has a bad row (named by its line).
    """
    reader = csv.reader(io.StringIO(_text(path), newline=""), strict=True)
    users, items, times, positions = array("q"), array("q"), array("q"), array("q")
    user_codes: dict[str, int] = {}
    item_codes: dict[str, int] = {}
    width = None
    last = 0  # the line on which the previous record ended: a quoted field may span lines
    try:
        if header is not None:
            names = [name.strip() for name in next(reader, [])]
            columns, width, last = _indices(path, names, header), len(names), reader.line_num
        for row in reader:
            line, last = last + 1, reader.line_num
            if not row:
                continue
            width = width or max(len(row), max(columns) + 1)
            if len(row) != width:
                raise UserError(f"{path} line {line}: expected {width} fields, found {len(row)}")
            user, item, time = (row[column].strip() for column in columns[:3])
            if not user or not item:
                raise UserError(f"{path} line {line}: the {'item' if user else 'user'} is empty")
            users.append(user_codes.setdefault(user, len(user_codes)))
            items.append(item_codes.setdefault(item, len(item_codes)))
            times.append(UNKNOWN_TIME if time_may_be_empty and not time else _seconds(path, line, time))
            if len(columns) > 3:
                position = row[columns[3]].strip()
                if not position.isdecimal():
                    raise UserError(f"{path} line {line}: expected a position 0, 1, ..., found {position!r}")
                positions.append(int(position))
    except csv.Error as error:
        raise UserError(f"{path} line {last + 1}: not a CSV record ({error})") from error
    if not users:
        raise UserError(f"{path} is empty: it has no interaction; it should have one per line")
    return Rows(
        users=np.array(users, dtype=np.int64),
        items=np.array(items, dtype=np.int64),
        times=np.array(times, dtype=np.int64),
        positions=np.array(positions, dtype=np.int64),
        user_ids=list(user_codes),
        item_ids=list(item_codes),
    )


def _text(path: Path) -> str:
    try:
        data = path.read_bytes()
        if path.suffix == ".gz":
            data = gzip.decompress(data)
        elif path.suffix == ".xz":
            data = lzma.decompress(data)
    except FileNotFoundError as error:
        raise UserError(
            f"{path} does not exist; name an existing CSV file, or use --dataset synthetic, which needs none"
        ) from error
    except (OSError, EOFError, lzma.LZMAError, zlib.error) as error:
        raise UserError(f"{path} cannot be read, it may be damaged or cut short ({error})") from error
    if not data.strip():
        raise UserError(f"{path} is empty")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise UserError(f"{path} line {line}: not UTF-8 text; convert the file to UTF-8") from error


def _indices(path: Path, names: list[str], wanted: Sequence[str]) -> list[int]:
    missing = [name for name in wanted if name not in names]
    if missing:
        word = "column" if len(missing) == 1 else "columns"
        raise UserError(
            f"{path} has no {word} {', '.join(missing)}; its header names {', '.join(names)}, "
            f"and {', '.join(wanted)} are needed"
        )
    return [names.index(name) for name in wanted]


def _seconds(path: Path, line: int, text: str) -> int:
    try:
        seconds = int(text) if text.isdecimal() else math.floor(float(text))
    except (ValueError, OverflowError):  # not a number; infinity
        seconds = -LATEST_TIME
    if abs(seconds) >= LATEST_TIME:
        hint = ", this looks like milliseconds" if text.isdecimal() else ""
        raise UserError(f"{path} line {line}: expected a timestamp in seconds since 1970, found {text[:80]!r}{hint}")
    return seconds
