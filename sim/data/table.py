"""Read any table of interactions: :mod:`sim.data.columns` recognises its form, here it is read and checked.

pyarrow reads the file; only if something is wrong, a slow reader goes through the records for the first bad line.
"""

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv as arrow_csv

from core.errors import UserError
from sim.data import times
from sim.data.columns import Columns, tell_columns
from sim.data.interactions import Interactions, build_interactions
from sim.data.raw import Raw, read_raw

SUFFIXES = tuple(
    f"{kind}{packed}" for kind in (".csv", ".tsv", ".txt", ".dat", ".inter") for packed in ("", ".gz", ".xz")
)
_BLOCK = 1 << 24  # bytes that pyarrow parses at once, and so the longest record
_SHOWN = 80  # characters of a bad field in a message


@dataclass(frozen=True)
class Rows:
    """Rows of a file in its order; users and items are codes into the ids, each of which occurs once there."""

    users: np.ndarray  # (N,) int32
    items: np.ndarray  # (N,) int32
    times: np.ndarray  # (N,) int64 microseconds since 1970, UNKNOWN_TIME where the field is empty and may be
    positions: np.ndarray  # (N,) int64, empty unless a position column was asked for
    user_ids: list[str]
    item_ids: list[str]
    time_form: str  # a unit since 1970, or ISO 8601 with or without a zone


@dataclass(frozen=True)
class Extra:
    """What a format has beside user, item and time."""

    time_may_be_empty: bool = False
    position: int | None = None
    """Index of a column of whole numbers from 0."""
    number: int | None = None
    """Index of a column whose values must be finite numbers; they are not kept."""


def load_table(path: Path, columns: str | None = None) -> Interactions:
    """Load the interactions of a file; every row is a positive one, and nothing is filtered.

    Rows of one user stand in the order of their times, to the microsecond; ties keep the order of the file.

    Args:
        path: A text file, packed or not, with a column for user, item and time each.
        columns: The text of ``--columns``, if it was given.

    Raises:
        UserError: The file is missing, damaged or empty, its form is ambiguous, or a row is bad (named by its line).
    """
    raw = read_raw(path)
    told = tell_columns(raw.name, raw.data, columns)
    rows = read_rows(raw, told)
    notes = (told.note(), _time_note(rows), *raw.notes)
    del raw  # the text of a large file
    return build_interactions(
        path.name,
        rows.users,
        rows.items,
        rows.times,
        rows.user_ids,
        rows.item_ids,
        ticks=times.MICROSECONDS,
        notes=notes,
    )


def read_rows(raw: Raw, columns: Columns, extra: Extra = Extra()) -> Rows:
    """Read user, item, time, and optionally a position.

    Raises:
        UserError: The file is empty or has a bad row; names the first one's line.
    """
    try:
        rows = _read_fast(raw, columns, extra)
    except (pa.ArrowInvalid, times.BadTimes, _BadRow) as error:
        line = _first_bad_line(raw, columns, extra)
        raise UserError(line or f"{raw.name} cannot be read: {str(error).splitlines()[0][:200]}") from error
    if not len(rows.users):
        raise UserError(f"{raw.name} is empty: it has no interaction; it should have one per line")
    return rows


class _BadRow(ValueError):
    """Some row is bad; which one is not known here."""


def _read_fast(raw: Raw, columns: Columns, extra: Extra) -> Rows:
    """As read_rows, but a bad row is not named."""
    doubled = len(columns.separator) > 1  # pyarrow separates by one character: of "::" every second field is empty
    stride = 2 if doubled else 1
    names = [str(index) for index in range(stride * (columns.width - 1) + 1)]
    user, item, time = (str(stride * index) for index in (columns.user, columns.item, columns.time))
    ids = pa.dictionary(pa.int32(), pa.string())
    kinds: dict[str, pa.DataType] = {user: ids, item: ids}
    if doubled:
        kinds |= dict.fromkeys(names[1::2], pa.null())
    for index, kind in ((extra.position, pa.int64()), (extra.number, pa.float64())):
        if index is not None:
            kinds[str(stride * index)] = kind
    quotes = not doubled and b'"' in raw.data
    begin = _offset(raw.data, columns.header_lines)

    def read(time_kind: pa.DataType) -> pa.Table:
        if not raw.data[begin : begin + 4096].strip() and not raw.data[begin:].strip():  # pyarrow refuses an empty text
            return pa.table({name: pa.array([], kind) for name, kind in (kinds | {time: time_kind}).items()})
        return arrow_csv.read_csv(
            pa.BufferReader(pa.py_buffer(memoryview(raw.data)[begin:])),
            read_options=arrow_csv.ReadOptions(column_names=names, block_size=_BLOCK),
            parse_options=arrow_csv.ParseOptions(
                delimiter=columns.separator[0], quote_char='"' if quotes else False, newlines_in_values=quotes
            ),
            convert_options=arrow_csv.ConvertOptions(
                column_types=kinds | {time: time_kind},
                include_columns=[*kinds, time],
                null_values=[""],
                strings_can_be_null=False,
            ),
        )

    try:
        if b"0x" in raw.data or b"0X" in raw.data:  # pyarrow would read such a text as a number
            raise _BadRow("a time may be hexadecimal")
        table = read(pa.int64())
    except (pa.ArrowInvalid, _BadRow):  # fractions, ISO 8601, or a bad row, which fails again
        table = read(pa.string())
    moments = table[time]
    if pa.types.is_string(moments.type) and extra.time_may_be_empty:
        moments = pc.if_else(pc.equal(moments, ""), None, moments)
    if moments.null_count and not extra.time_may_be_empty:
        raise _BadRow("a time is empty")
    ticks, form = times.to_microseconds(moments, columns.decimal_comma)
    users, user_ids = _codes(table[user])
    items, item_ids = _codes(table[item])
    positions = np.zeros(0, dtype=np.int64)
    if extra.position is not None:
        positions = _numbers(table[str(stride * extra.position)])
        if len(positions) and positions.min() < 0:
            raise _BadRow("a position is negative")
    if extra.number is not None:
        _numbers(table[str(stride * extra.number)])
    return Rows(users, items, ticks, positions, user_ids, item_ids, form)


def _codes(column: pa.ChunkedArray) -> tuple[np.ndarray, list[str]]:
    """Codes (N,) int32 and the ids that they stand for, without the blanks around them."""
    if not len(column):
        return np.zeros(0, dtype=np.int32), []
    parts = column.unify_dictionaries()
    codes = np.concatenate([chunk.indices.to_numpy() for chunk in parts.chunks])
    written: list[str] = parts.chunk(0).dictionary.to_pylist()
    ids: dict[str, int] = {}
    new = np.array([ids.setdefault(text.strip(), len(ids)) for text in written], dtype=np.int32)
    if "" in ids:
        raise _BadRow("an id is empty")
    return (codes if len(ids) == len(written) else new[codes]), list(ids)


def _numbers(column: pa.ChunkedArray) -> np.ndarray:
    if column.null_count:
        raise _BadRow("a number is missing")
    numbers: np.ndarray = column.to_numpy()
    if not np.isfinite(numbers).all():
        raise _BadRow("a number is not finite")
    return numbers


def _offset(data: bytes, lines: int) -> int:
    """Where the line begins that comes after so many."""
    begin = 0
    for _ in range(lines):
        found = data.find(b"\n", begin)
        begin = len(data) if found < 0 else found + 1
    return begin


def _time_note(rows: Rows) -> str:
    first, last = (times.day(moment / times.MICROSECONDS) for moment in (int(rows.times.min()), int(rows.times.max())))
    unit = rows.time_form
    kind = f"{unit}{', taken as UTC' if 'without' in unit else ''}" if "ISO" in unit else f"{unit} since 1970"
    return f"times: {kind}, from {first} to {last}"


def _first_bad_line(raw: Raw, columns: Columns, extra: Extra) -> str | None:
    """What is wrong with the first bad record and where; None if each of them alone is good."""
    try:
        text = raw.data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = raw.data.count(b"\n", 0, error.start) + 1
        return f"{raw.name} line {line}: not UTF-8 text; convert the file to UTF-8"
    first = ""
    end = 0
    try:
        for line, end, row in _records(text, columns):  # noqa: B007 (read by the handler below)
            where = f"{raw.name} line {line}: "
            if len(row) != columns.width:
                return f"{where}expected {columns.width} fields, found {len(row)}"
            fields = [field.strip() for field in row]
            for role in ("user", "item"):
                if not fields[getattr(columns, role)]:
                    return f"{where}the {role} is empty"
            time = fields[columns.time]
            if time or not extra.time_may_be_empty:
                found = times.form(time, columns.decimal_comma)
                if found is None or found != times.form(first or time, columns.decimal_comma):
                    return where + _wrong_time(time, found, first, columns.decimal_comma)
                first = first or time
            if extra.position is not None and not (
                fields[extra.position].isdecimal() and fields[extra.position].isascii()
            ):
                return f"{where}expected a position 0, 1, ..., found {_shown(fields[extra.position])}"
            if extra.number is not None and not times.is_number(fields[extra.number]):
                return f"{where}expected a number, found {_shown(fields[extra.number])}"
    except csv.Error as error:
        return f"{raw.name} line {end + 1}: not a record of such a file ({error})"
    return None


def _records(text: str, columns: Columns) -> Iterator[tuple[int, int, Sequence[str]]]:
    """The first line, the last line and the fields of each record below the header that is not blank."""
    if len(columns.separator) > 1:
        for number, written in enumerate(text.split("\n"), start=1):
            if number > columns.header_lines and written.removesuffix("\r"):
                yield number, number, written.removesuffix("\r").split(columns.separator)
        return
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=columns.separator, strict=True)
    last = 0  # a quoted field may span lines
    for row in reader:
        line, last = last + 1, reader.line_num
        if row and line > columns.header_lines:
            yield line, last, row


def _wrong_time(time: str, found: str | None, first: str, decimal_comma: bool) -> str:
    if not first:
        return f"expected a time (a number since 1970, or ISO 8601), found {_shown(time)}"
    form = times.form(first, decimal_comma)
    hint = f", which looks like {found}" if found else ""
    return f"expected a time in {form}, as the first row has it ({_shown(first)}), found {_shown(time)}{hint}"


def _shown(text: str) -> str:
    return repr(text if len(text) <= _SHOWN else f"{text[:_SHOWN]}...")
