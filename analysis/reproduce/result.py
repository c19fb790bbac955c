"""A reproduced table or figure: its cells, and how they are printed and written.

A cell is one number of the paper with ours; ``CELL_COLUMNS`` says what is kept of it.
"""

import math
import textwrap
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.image import imsave
from rich.console import Console

from analysis import style, tables
from analysis.captions import BACKBONES
from analysis.page import write
from analysis.reproduce import paper
from analysis.reproduce.options import OURS
from analysis.style import Sheet
from analysis.tables import Cell, Table
from analysis.text import number, quality, records, signed

CELL_COLUMNS = {
    "table": "the target",
    "backbone": "sasrec or nextitnet; empty where there is none",
    "dataset": "data set of both numbers",
    "method": "name of the method, or of the row",
    "metric": "what was measured",
    "paper": "the paper's number; empty where it has none",
    "ours": "our number, mean over seeds",
    "spread": "standard deviation over seeds; empty with one seed",
    "difference": "ours minus the paper's",
    "protocol": "paper or tuned; the protocol of ours",
    "devices": "devices that were simulated",
    "events": "predictions, of one seed",
    "candidates": "items among which the next one is looked for",
    "seeds": "how many trainings",
    "epochs": "epochs of cloud training, the most of the seeds",
    "context": "items that the backbone reads",
    "memory": "items that the extractors read",
    "blocks": "blocks of the backbone",
}

METRICS = {"ndcg": "NDCG@10", "hit": "Hit@10", "flops": "M MACs", "param": "Mbit"}
"""What the paper's tables of methods have."""

UNITS = {
    "size": "Size",
    "statistics": "",
    "seconds": "s, translated",
    "here": "s, measured here",
    "counted": "s, counted",
    "communication": "s",
    "message": "s, whole messages",
    "selected": "% of sessions run block k",
    "running": "% of devices run k blocks",
    "blocks": "",
    "rank": "rank",
}
"""What other tables have."""

ROWS = {
    OURS: "Forward-OFA",
    paper.IMPROVEMENT: "improvement",
    "backbone": "backbone (Mbit)",
    "device": "Forward-device (M weights)",
    "cloud": "Forward-cloud (M weights)",
    "cloud-all": "Forward-cloud, all generators",
    "ratio": "device / backbone",
    "on-cloud": "on-cloud fine-tuning",
    "on-device": "on-device fine-tuning",
    "on-cloud-scaled": "on-cloud, scaled to the phone",
    "on-cloud-times": "on-cloud / Forward-OFA",
    "on-device-times": "on-device / Forward-OFA",
    "regular": "whole network",
}

FOOTER, LINE_INCHES = 190, 0.095
"""Characters and height of a line below a figure."""


@dataclass(frozen=True)
class Result:
    """What a target gives."""

    target: str
    title: str
    cells: pd.DataFrame
    """Columns of :data:`CELL_COLUMNS`."""
    groups: list[list[str]]
    """Metrics that stand side by side in one table."""
    draw: Callable[[Sheet], Figure]
    """Called in the style of :mod:`analysis.style`."""
    facts: list[str] = field(default_factory=list)
    """Protocol, machine, time, command: what the numbers are worth nothing without."""
    text: str = ""
    """More, as Markdown."""
    titles: Mapping[str, str] = field(default_factory=dict)
    """What the methods of its runs are called."""

    @property
    def notes(self) -> list[str]:
        """What the paper got wrong here."""
        return paper.notes(self.target)


def fill(rows: list[dict[str, object]]) -> pd.DataFrame:
    """Cells from rows; what a row does not say is empty, and the difference is worked out."""
    frame = pd.DataFrame(rows).reindex(columns=list(CELL_COLUMNS))
    for name in ("paper", "ours", "spread"):
        frame[name] = frame[name].astype(float)
    frame["difference"] = frame["ours"] - frame["paper"]
    return frame


def show(result: Result, console: Console) -> None:
    """Print the tables, then the protocol, then what the paper got wrong."""
    console.print(heading(result), style="bold", highlight=False)
    for table in _tables(result):
        console.print(tables.terminal(table))
    if result.text:
        console.print(result.text, markup=False, highlight=False)
    for line in result.facts:
        console.print(line, markup=False, highlight=False)
    if result.notes:
        console.print("What the paper got wrong or leaves open:", markup=False)
        for note in result.notes:
            console.print(f"  - {note}", markup=False, highlight=False)


def publish(result: Result, folder: Path) -> list[Path]:
    """Write ``<target>.csv``, ``.png`` and ``.md``; returns their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    stem = folder / result.target
    paint(result, stem.with_suffix(".png"))
    return [
        write(stem.with_suffix(".csv"), result.cells.to_csv(index=False)),
        stem.with_suffix(".png"),
        write(stem.with_suffix(".md"), markdown(result)),
    ]


def paint(result: Result, path: Path) -> None:
    """Draw the figure with the protocol and the notes in small letters below it."""
    small = [line for fact in result.facts for line in textwrap.wrap(fact, FOOTER)]
    small += [line for note in result.notes for line in textwrap.wrap(f"Paper: {note}", FOOTER)]
    with style.use():
        drawn = _pixels(style.settle(result.draw(Sheet(titles=result.titles))))
        below = Figure(figsize=(drawn.shape[1] / style.DPI + 0.02, LINE_INCHES * len(small) + 0.1))
        below.text(0.01, 1, "\n".join(small), va="top", ha="left", fontsize=5, color=style.LIGHT.muted)
        image = np.concatenate([drawn, _pixels(below)[:, : drawn.shape[1]]])
    imsave(path, image, dpi=style.DPI)


def _pixels(figure: Figure) -> np.ndarray:
    """The figure as ``(height, width, 4)`` bytes."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())


def markdown(result: Result) -> str:
    """The tables, the protocol and the notes as one page."""
    lines = [f"# {heading(result)}", ""]
    for table in _tables(result):
        lines += [*tables.markdown(table), ""]
    if result.text:
        lines += [result.text, ""]
    lines += [f"![{result.title}]({result.target}.png)", "", *(f"- {fact}" for fact in result.facts), ""]
    if result.notes:
        lines += ["What the paper got wrong or leaves open:", "", *(f"- {note}" for note in result.notes), ""]
    return "\n".join(lines)


def heading(result: Result) -> str:
    """``Table 1: Overall performance``."""
    kind, place = result.target[:-1].capitalize(), result.target[-1]
    return f"{kind} {place}: {result.title}"


def row_title(method: str, titles: Mapping[str, str] | None = None) -> str:
    """What a row is called: a row of the paper, a method of the runs, or by its own name."""
    return ROWS.get(method) or (titles or {}).get(method, method)


def value(metric: str, method: str, x: float) -> str:
    """A number as the paper writes it."""
    if not math.isfinite(x):
        return "–"
    if method == paper.IMPROVEMENT:
        return f"{x:+.1f} %" if metric in ("ndcg", "hit") else f"×{x:.2f}"
    if metric == "statistics":
        return f"{x:,.0f}" if x == int(x) else f"{x:,.2f}"
    return quality(x) if metric in METRICS or metric == "size" else number(x, 4)


def change(metric: str, method: str, x: float) -> str:
    """A difference, with its sign."""
    if not math.isfinite(x):
        return "–"
    if method == paper.IMPROVEMENT:
        return f"{x:+.2f}".replace("-", "−")
    return signed(x) if metric in METRICS else ("+" if x > 0 else "−" if x < 0 else "") + value(metric, method, abs(x))


def _tables(result: Result) -> list[Table]:
    """One table for each backbone and group of metrics; where the paper has no number at all, ours stands alone."""
    found = []
    for metrics in result.groups:
        for backbone, part in result.cells.groupby("backbone", sort=False, dropna=False):
            if not part["metric"].isin(metrics).any():
                continue
            known = {metric: part.loc[part["metric"] == metric, "paper"].notna().any() for metric in metrics}
            columns = [(m, c) for m in metrics for c in (_WORDS if known[m] else ("ours",))]
            header = [(BACKBONES.get(str(backbone), ""), ""), *(_header(*column) for column in columns)]
            rows = []
            for method, cells in part.groupby("method", sort=False):
                by_metric = {cell["metric"]: cell for cell in records(cells)}
                line = [Cell(_cell(by_metric.get(metric), column)) for metric, column in columns]
                if any(cell.text for cell in line):
                    rows.append([Cell(row_title(str(method), result.titles)), *line])
            found.append(Table("", header, rows))
    return found


_WORDS = {"paper": "paper", "ours": "ours", "difference": "diff."}


def _header(metric: str, column: str) -> tuple[str, str]:
    name = (METRICS | UNITS)[metric]
    return (name, _WORDS[column]) if name else (_WORDS[column], "")


def _cell(cell: dict[str, Any] | None, column: str) -> str:
    if cell is None:
        return ""
    metric, method = cell["metric"], cell["method"]
    if column == "difference":
        return change(metric, method, cell[column])
    text = value(metric, method, cell[column])
    if column == "ours" and math.isfinite(cell["spread"]):
        text += f" ± {value(metric, method, cell['spread'])}"
    return text
