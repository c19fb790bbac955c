"""Pieces of a self-contained HTML page: tables, pictures as data, one template."""

import base64
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined

from analysis import style

_TEMPLATES = Environment(
    loader=PackageLoader("analysis", "templates"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


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
class Picture:
    """A figure in four variants (page or phone, light or dark), each as a data URI; ``alt`` says it in
    words."""

    alt: str
    light: str
    dark: str
    narrow_light: str
    narrow_dark: str

    @staticmethod
    def of(page: str, phone: str, alt: str) -> "Picture":
        """From the SVG for a page and the one for a phone."""
        return Picture(alt, *(_uri(svg) for svg in (page, style.dark(page), phone, style.dark(phone))))


@dataclass(frozen=True)
class Section:
    """A part of a report: how to read it, what it says in numbers, and what it shows."""

    name: str
    title: str
    reading: str
    finding: str
    picture: Picture | None = None
    tables: list[Table] = field(default_factory=list)


def column(values: Sequence[float], texts: Sequence[str], best: float | None = None) -> list[Cell]:
    """The cells of a column; those that equal ``best`` are marked, unless all do."""
    several = len(set(values)) > 1
    return [Cell(text, several and value == best) for value, text in zip(values, texts, strict=True)]


def noted(cells: Sequence[Cell], notes: Sequence[str]) -> list[Cell]:
    """The cells of a column with small letters below them."""
    return [Cell(cell.text, cell.best, note) for cell, note in zip(cells, notes, strict=True)]


def render(template: str, **values: object) -> str:
    """The page of this template; a number and its percent sign stay on one line."""
    return re.sub(r"(?<=\d) (?=%)", "\u00a0", _TEMPLATES.get_template(template).render(values))


def write(path: Path, text: str) -> Path:
    """Write a file as a whole or not at all."""
    draft = path.with_name(f".{path.name}.part")
    draft.write_text(text, encoding="utf-8")
    os.replace(draft, path)
    return path


def _uri(svg: str) -> str:
    return "data:image/svg+xml;base64," + base64.b64encode(svg.encode()).decode()
