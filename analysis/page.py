"""Pieces of a self-contained HTML page: sections, pictures as data, one template."""

import base64
import re
from collections.abc import Sequence
from dataclasses import dataclass

from jinja2 import Environment, PackageLoader, StrictUndefined

from analysis.tables import Table

_TEMPLATES = Environment(
    loader=PackageLoader("analysis", "templates"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


@dataclass(frozen=True)
class Picture:
    """A figure as SVG in data URIs, for a page and for a phone, light or dark as the reader prefers; ``alt`` says it in
    words."""

    alt: str
    wide: str
    narrow: str


@dataclass(frozen=True)
class Section:
    """A part of a report: how to read it, what it says in numbers, and what it shows."""

    name: str
    title: str
    reading: str = ""
    finding: str = ""
    picture: Picture | None = None
    tables: Sequence[Table] = ()
    facts: Sequence[tuple[str, str]] = ()
    """Names and words."""


def render(**values: object) -> str:
    """The page of a report; a number and its percent sign stay on one line."""
    return re.sub(r"(?<=\d) (?=%)", "\u00a0", _TEMPLATES.get_template("report.html.j2").render(values))


def uri(svg: str) -> str:
    """The SVG as what an image's address may be."""
    return "data:image/svg+xml;base64," + base64.b64encode(svg.encode()).decode()
