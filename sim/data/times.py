"""Tell in which form and unit a column holds its times, and convert it to microseconds since 1970."""

import math
import re
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

UNKNOWN_TIME = np.iinfo(np.int64).min
"""Stands for an empty time where the format allows one."""
MICROSECONDS = 1_000_000
"""Ticks of a second in which times are read and ordered."""

_UNITS = (("seconds", 10**11), ("milliseconds", 10**14), ("microseconds", 10**17), ("nanoseconds", 10**20))
"""A time that is below the bound has this unit: 10**11 seconds are the year 5138, 10**11 milliseconds are 1973."""
_NUMBER = re.compile(r"-?(\d+([.,]\d*)?|[.,]\d+)([eE][+-]?\d+)?")
_ISO = re.compile(r"\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d(\.\d{1,9})?)?(?P<zone>Z|[+-]\d\d(:?\d\d)?)?)?")


class BadTimes(ValueError):
    """A column in which some value is no time, or not one in the form of the others."""


def is_number(text: str) -> bool:
    """Whether the text is a decimal number; its fraction may follow a comma."""
    return _NUMBER.fullmatch(text.strip()) is not None


def form(text: str, decimal_comma: bool) -> str | None:
    """The form of one time: a unit since 1970, ``ISO 8601 with a zone``, ``ISO 8601 without a zone``; None if it is no
    time."""
    text = text.strip()
    iso = _ISO.fullmatch(text)
    if iso is not None:
        try:
            datetime.fromisoformat(text)
        except ValueError:
            return None
        return "ISO 8601 with a zone" if iso["zone"] else "ISO 8601 without a zone"
    if not is_number(text) or ("," in text and not decimal_comma):
        return None
    return unit(abs(float(text.replace(",", "."))))


def unit(size: float) -> str | None:
    """The unit of a number of this size; None if it is too large for any."""
    return next((name for name, bound in _UNITS if size < bound), None)


def seconds(text: str, decimal_comma: bool) -> float | None:
    """One time in seconds since 1970; None if it is no time."""
    found = form(text, decimal_comma)
    if found is None:
        return None
    text = text.strip()
    if found.startswith("ISO"):
        moment = datetime.fromisoformat(text)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    return float(text.replace(",", ".")) / 10 ** (3 * _names().index(found))


def to_microseconds(column: pa.ChunkedArray, decimal_comma: bool) -> tuple[np.ndarray, str]:
    """Convert a whole column; all its values must have one form and one unit.

    Args:
        column: (N,) int64 or text; null is an unknown time.
        decimal_comma: Whether a comma in a number begins its fraction.

    Returns:
        (N,) int64 microseconds since 1970, UNKNOWN_TIME where it is null; and the form, as :func:`form` names it.

    Raises:
        BadTimes: The column mixes forms or units, or holds something else.
    """
    unknown = column.is_null().to_numpy(zero_copy_only=False) if column.null_count else None
    if pa.types.is_string(column.type):
        column = pc.utf8_trim_whitespace(column)
        iso = _from_iso(column)
        if iso is not None:
            return iso
        try:
            column = pc.cast(pc.replace_substring(column, ",", ".") if decimal_comma else column, pa.float64())
        except pa.ArrowInvalid as error:
            raise BadTimes(str(error)) from error
    values = column.fill_null(0).to_numpy(zero_copy_only=False)
    sizes = np.abs(values if unknown is None else values[~unknown])
    if not len(sizes):
        return np.full(len(values), UNKNOWN_TIME), "seconds"
    if not np.isfinite(sizes).all():
        raise BadTimes("a time is not finite")
    found = unit(sizes.max())
    if found is None or found != unit(sizes.min()):
        raise BadTimes("the times have no common unit")
    power = _names().index(found)
    if values.dtype == np.int64:
        out = values * 1000 ** (2 - power) if power <= 2 else values // 1000
    else:
        out = np.rint(values * 1000.0 ** (2 - power)).astype(np.int64)
    if unknown is not None:
        out[unknown] = UNKNOWN_TIME
    return out, found


def _from_iso(column: pa.ChunkedArray) -> tuple[np.ndarray, str] | None:
    for zone in ("UTC", None):
        try:
            moments = pc.cast(column, pa.timestamp("ns", zone))
        except pa.ArrowInvalid:
            continue
        ticks = pc.cast(moments, pa.int64()).fill_null(0).to_numpy(zero_copy_only=False) // 1000
        ticks = np.where(column.is_null().to_numpy(zero_copy_only=False), UNKNOWN_TIME, ticks)
        return ticks, f"ISO 8601 {'with' if zone else 'without'} a zone"
    return None


def _names() -> list[str]:
    return [name for name, _ in _UNITS]


def day(moment: float) -> str:
    """A time in seconds since 1970 as ``2020-09-13``, or ``year 51234`` where the calendar ends."""
    try:
        return datetime.fromtimestamp(moment, UTC).date().isoformat()
    except (ValueError, OverflowError, OSError):
        return f"year {1970 + math.floor(moment / 31_556_952)}"
