"""How numbers and lists are written in tables, figures and sentences."""

import math
from collections.abc import Callable, Mapping
from typing import Any

import pandas as pd

from core.schema import ORACLES

Row = Mapping[str, Any]
"""A row of a frame, by column."""


def number(value: float, digits: int = 3) -> str:
    """``value`` with ``digits`` significant digits and without exponent up to a billion; a dash for NaN.

    >>> number(0.012345), number(12345.6), number(0.0), number(2.5e-7)
    ('0.0123', '12,346', '0', '2.5e-07')
    """
    if not math.isfinite(value):
        return "–"
    if value == 0:
        return "0"
    magnitude = math.floor(math.log10(abs(value)))
    if magnitude < -4 or magnitude > 9:
        return f"{value:.{digits}g}"
    return f"{value:,.{max(0, digits - 1 - magnitude)}f}"


def quality(value: float) -> str:
    """A Hit@10 or NDCG@10, four decimals as in the paper."""
    return "–" if not math.isfinite(value) else f"{value:.4f}"


def spread(value: float) -> str:
    """A standard deviation of qualities; a dash for NaN."""
    return f"± {quality(value)}" if math.isfinite(value) else "–"


def signed(value: float) -> str:
    """A difference of two qualities with its sign, the minus a real one; a dash for NaN."""
    return "–" if not math.isfinite(value) else f"{value:+.4f}".replace("-", "−")


def interval(low: float, high: float, write: Callable[[float], str] = quality) -> str:
    """``0.1010 to 0.1043``; nothing if there is none."""
    return f"{write(low)} to {write(high)}" if math.isfinite(low) else ""


def percent(share: float, digits: int = 1) -> str:
    """A share from 0 to 1 as a percentage."""
    return "–" if not math.isfinite(share) else f"{100 * share:.{digits}f}\u00a0%"


def signed_percent(share: float, digits: int = 1) -> str:
    """A relative difference with its sign, the minus a real one."""
    if not math.isfinite(share):
        return "–"
    return f"{100 * share:+.{digits}f}\u00a0%".replace("-", "−")


def told_apart(row: Row) -> bool:
    """Whether the 95 % interval of a difference of NDCG@10 leaves out zero; so it does where there is no interval."""
    return not row["ndcg@10_delta_low"] <= 0 <= row["ndcg@10_delta_high"]


def p_text(p: float) -> str:
    """A p-value for readers."""
    if not math.isfinite(p):
        return "–"
    return "<\u00a00.001" if p < 0.001 else f"{p:.3f}"


def join(parts: list[str]) -> str:
    """``a, b and c``."""
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}" if parts else ""


def plural(count: int, noun: str) -> str:
    """``1 device``, ``1,000 devices``."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def scaled(factor: float) -> Callable[[float], str]:
    """A writer of numbers in another unit: ``scaled(1e3)`` writes seconds as milliseconds."""
    return lambda value: number(factor * value)


def between(low: str, high: str, write: Callable[[float], str] = quality) -> Callable[[Row], str]:
    """A writer of the interval from the column ``low`` to the column ``high``."""
    return lambda row: interval(row[low], row[high], write)


def records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """The rows of a frame as plain dicts."""
    return [{str(key): value for key, value in row.items()} for row in frame.to_dict("records")]


def best_row(rows: list[dict[str, Any]], key: str = "ndcg@10") -> dict[str, Any]:
    """The row with the highest ``key``; one without a value is highest of none, and an oracle's only of its own."""
    rows = [row for row in rows if row.get("method") not in ORACLES] or rows
    return max(rows, key=lambda row: row[key] if math.isfinite(row[key]) else -math.inf)
