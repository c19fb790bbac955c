"""A column of a table: name, type, unit, meaning, and what stands in for it; and the words that tables share."""

from dataclasses import dataclass

NEEDED = object()
"""Stands for nothing: a run without this column cannot be read."""


@dataclass(frozen=True)
class Column:
    """One column of a table; numbers are finite and not negative unless the column says otherwise."""

    name: str
    dtype: str
    """As pandas calls it; ``text`` for words, which keep the type that pandas gives them."""
    unit: str
    meaning: str
    stands_in: object = NEEDED
    """The value where a run lacks the column."""
    optional: str = ""
    """The option without which a run has no such column."""
    missing: bool = False
    """Single values may be NaN."""
    infinite: bool = False
    """Values may be infinite."""
    signed: bool = False
    """Values may be negative."""


NUMBER, COUNT, MASK, MACS = "number", "count", "bit mask", "multiply-accumulates"
SUM, SHARE, CHANGE = "0 to 1, summed over events", "0 to 1", "-1 to 1"
"""Units."""
