"""The figures of a report, one module each: all that there is to one is in its file.

Every module has

``TITLE``, ``READING``
    what the figure is called, and how to read it;
``data(run)``
    the frame behind it, or None if the run does not hold it;
``draw(frame, sheet)``
    the picture, which sees nothing but that frame: the CSV beside a picture is all there is in it;
``finding(run, frame)``
    its key numbers in a sentence or two; empty if there is nothing to say;
``tables(run, frame)``
    the tables below it, if it has any.

A new figure is a file here and its name in :data:`FIGURES`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pandas as pd
from matplotlib.figure import Figure

from analysis import style
from analysis.page import Picture, Section, uri
from analysis.run import Run
from analysis.style import Sheet
from analysis.tables import Table

FIGURES: dict[str, ModuleType] = {
    name: import_module(f"analysis.figures.{name}")
    for name in (
        *("quality_sessions", "change_point", "requests", "stale_fresh", "tradeoff", "block_usage", "block_groups"),
        *("paths", "tiers", "tier_costs", "fairness", "budget", "costs", "training"),
    )
}
"""By the name of their files, in the order of the report."""


@dataclass(frozen=True)
class Drawn:
    """A figure with the frame behind it, and the sheet that it is drawn on."""

    name: str
    module: ModuleType
    frame: pd.DataFrame
    sheet: Sheet

    def figure(self, width: style.Width = "wide") -> Figure:
        """Draw it, laid out for a page or for a phone."""
        with style.use():
            return style.settle(self.module.draw(self.frame, replace(self.sheet, width=width)))

    def publish(self, folder: Path) -> tuple[str, str]:
        """Write PNG, PDF and CSV side by side; the result is the SVG for a page and the one for a phone."""
        folder.mkdir(parents=True, exist_ok=True)
        self.frame.to_csv(folder / f"{self.name}.csv", index=False)
        page, phone = self.figure(), self.figure("narrow")
        with style.use():
            style.save(page, folder / self.name)
            return style.svg(page), style.svg(phone)

    def section(self, folder: Path, said: str, tables: Sequence[Table] = (), heading: str = "") -> Section:
        """Publish it in ``folder``; the result is its section of a page."""
        heading = heading or self.module.TITLE
        picture = Picture(f"{heading}. {said}", *map(uri, self.publish(folder)))
        return Section(self.name, heading, self.module.READING, said, picture, tables)


def collect(run: Run) -> dict[str, Drawn]:
    """The figures for which the run holds data."""
    sheet = Sheet(run.methods, run.titles, run.references)
    frames = {name: module.data(run) for name, module in FIGURES.items()}
    return {name: Drawn(name, FIGURES[name], frame, sheet) for name, frame in frames.items() if frame is not None}


def sections(run: Run, drawn: dict[str, Drawn], folder: Path) -> list[Section]:
    """What a report shows of these figures, which are written into ``folder``; what an earlier report of the run has
    left of others is removed."""
    for name in set(FIGURES) - set(drawn):
        for kind in ("png", "pdf", "csv"):
            (folder / f"{name}.{kind}").unlink(missing_ok=True)
    return [
        one.section(
            folder,
            one.module.finding(run, one.frame),
            one.module.tables(run, one.frame) if hasattr(one.module, "tables") else (),
        )
        for one in drawn.values()
    ]
