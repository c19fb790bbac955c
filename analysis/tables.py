"""One specification of a table's columns, rendered for the terminal (rich), for a page (Jinja) and as Markdown.

A column says what it is called, which value it shows, how that is written, and which end of it is the better one::

    NDCG = Column("NDCG@10", "ndcg@10", quality, unit="95 % interval", best=max, note=between("low", "high"))
    table = build(frame, [METHOD, NDCG, ...], "● best of its column.")

``table`` has cells for the page; :func:`terminal` renders it for the terminal.
"""

import math
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
from rich import box
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table as TerminalTable
from rich.text import Text

from analysis.text import Row, records
from core.schema import ORACLES


@dataclass(frozen=True)
class Cell:
    """A cell of a table; ``best`` of its column, ``note`` below it in small letters."""

    text: str
    best: bool = False
    note: str = ""


@dataclass(frozen=True)
class Table:
    """A table: the header's cells are name and unit, the first column names the row; ``words``: its cells may wrap."""

    caption: str
    header: list[tuple[str, str]]
    rows: list[list[Cell]]
    words: bool = False


@dataclass(frozen=True)
class Column:
    """What a column of a table shows."""

    header: str
    key: str = ""
    """The column of the frame; empty: ``write`` gets the whole row."""
    write: Callable[[Any], str] = str
    unit: str = ""
    """Below the header, in small letters."""
    best: Callable[..., float] | None = None
    """``max`` or ``min``: which value is marked; None: no value is."""
    note: Callable[[Row], str] | None = None
    """Writes what stands below a cell in small letters."""
    explanation: str = ""
    """A sentence of the caption, where the column is shown."""
    optional: bool = False
    """Left out where no row has a value."""
    short: str = ""
    """The header in the terminal, where width is dear; a line break divides it."""

    def text(self, row: Row) -> str:
        """The cell of this row."""
        return self.write(row[self.key] if self.key else row)


def method_column(title: Callable[[str], str], header: str = "Method") -> Column:
    """The first column of most tables: what the method is called."""
    return Column(header, "method", title)


def grouped_method_column(
    title: Callable[[str], str], unit: str = "", note: Callable[[Row], str] | None = None, by: str = "setting"
) -> Column:
    """The same for rows of several settings, whose letter (the column ``by``) comes first; for one run without."""

    def write(row: Row) -> str:
        return (f"{row[by]}: " if by in row else "") + title(row["method"])

    return Column("Method", write=write, unit=unit, note=note)


def build(
    frame: pd.DataFrame | list[dict[str, Any]], columns: Sequence[Column], caption: str = "", within: Sequence[str] = ()
) -> Table:
    """The table of a frame.

    The best value is marked in every column that has a better end, unless all are the same; with ``within`` it is
    marked among the rows that agree in these columns of the frame.
    """
    frame = pd.DataFrame(frame)
    rows, shown = records(frame), [one for one in columns if not one.optional or frame[one.key].notna().any()]
    marks = [_marks(frame, column, [name for name in within if name in frame]) for column in shown]
    cells = [
        [
            Cell(column.text(row), marked[i], column.note(row) if column.note else "")
            for column, marked in zip(shown, marks, strict=True)
        ]
        for i, row in enumerate(rows)
    ]
    words = " ".join(text for text in (caption, *(column.explanation for column in shown)) if text)
    return Table(words, [(column.header, column.unit) for column in shown], cells)


def terminal(
    table: Table, title: str = "", columns: Sequence[Column] = (), left: int = 1, tight: bool = False
) -> TerminalTable:
    """The table for the terminal, its caption below it; the best of a column bold and starred, notes left out.

    ``columns`` gives the headers where they are not those of the page; the first ``left`` columns are words. ``tight``
    spares the rules and spaces between columns, and folds what does not fit.
    """
    names = [column.short or column.header for column in columns]
    names = names or ["\n".join(part for part in both if part) for both in table.header]
    shown = TerminalTable(
        title=Text(title, "table.title") if title else None,  # as text: a file's name may look like markup
        caption=Text(table.caption, "table.caption") if table.caption else None,
        caption_justify="left",
        box=None if tight else box.SIMPLE_HEAD,
        padding=0 if tight else (0, 1, 0, 0),
    )
    for place, name in enumerate(names):
        cells = [row[place] for row in table.rows]
        slot = " " if any(cell.best for cell in cells) else ""  # for the star
        longest = max((len(cell.text) for cell in cells), default=0)
        widest = max(len(line) for line in name.split("\n"))
        shown.add_column(
            name.replace("\n", f"{slot}\n") + slot,
            justify="right" if place >= left else "left",
            no_wrap=not tight,
            overflow="fold",
            min_width=min(longest, 13) if place < left else max(longest, widest) + len(slot) + tight,
        )
    starred = [[cell.best for cell in cells] for cells in zip(*table.rows, strict=True)]
    for row in table.rows:
        shown.add_row(*(_star(cell, any(marks)) for cell, marks in zip(row, starred, strict=True)))
    return shown


WIDTH = 120
"""Characters of a line where there is no terminal."""


def console() -> Console:
    """Where tables are printed: as wide as the terminal, or as the environment says, else :data:`WIDTH`."""
    found = Console()
    return found if found.is_terminal or "COLUMNS" in os.environ else Console(width=WIDTH)


def show(table: TerminalTable) -> None:
    """Print a table of :func:`terminal`; in a terminal that is too narrow its lines break, and nothing is lost."""
    shown = console()
    caption, table.caption = table.caption, None
    needed = Measurement.get(shown, shown.options.update(max_width=_WIDEST), table)
    width = min(max(shown.width, needed.minimum), needed.maximum)
    shown.print(table, width=width, crop=False)
    if caption is not None:
        shown.print(caption, style="table.caption", width=min(width, shown.width))


_WIDEST = 1_000
"""Characters: more than any table has."""


def markdown(table: Table) -> list[str]:
    """The lines of the table as Markdown."""
    header = [" ".join(part for part in both if part) for both in table.header]
    lines = [header, ["---", *["---:"] * (len(header) - 1)], *([cell.text for cell in row] for row in table.rows)]
    return ["| " + " | ".join(cells) + " |" for cells in lines]


def _star(cell: Cell, column_has_one: bool) -> Text:
    """The text of a cell, with its star or the room for it."""
    if cell.best:
        return Text(f"{cell.text}*", style="bold green")
    return Text(cell.text + (" " if column_has_one else ""))


def _marks(frame: pd.DataFrame, column: Column, within: list[str]) -> list[bool]:
    """Which rows have the best value of their group, if the group has several values; an oracle competes with none."""
    if column.best is None or frame.empty:
        return [False] * len(frame)
    groups = frame.groupby(within, sort=False).indices.values() if within else [range(len(frame))]
    values, marked = frame[column.key].tolist(), [False] * len(frame)
    told = frame["method"].isin(ORACLES).tolist() if "method" in frame else marked
    for group in groups:
        rivals = [i for i in group if not told[i]]
        known = [values[i] for i in rivals if math.isfinite(values[i])]
        if len({*known}) > 1:
            for i in rivals:
                marked[i] = values[i] == column.best(known)
    return marked
