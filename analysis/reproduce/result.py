"""A reproduced table or figure: its cells, and how they are printed and written.

A cell is one number of the paper with ours; ``CELL_COLUMNS`` says what is kept of it.
"""

import math
import textwrap
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.image import imsave
from rich import box
from rich.console import Console
from rich.table import Table

from analysis import style
from analysis.names import number, quality, signed, title
from analysis.page import write
from analysis.protocol import BACKBONES
from analysis.reproduce import paper
from analysis.wording import records

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

METRICS = {
    "ndcg": "NDCG@10",
    "hit": "Hit@10",
    "flops": "M MACs",
    "param": "Mbit",
}
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
    "forward-ofa-controller": "+ controller",
    "forward-ofa-no-structure": "w.o. structural vector",
    "forward-ofa-random": "random blocks",
    "forward-ofa-first": "first k blocks",
    "forward-ofa-last": "last k blocks",
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
    draw: Callable[[], Figure]
    """Called in the style of :mod:`analysis.style`."""
    facts: list[str] = field(default_factory=list)
    """Protocol, machine, time, command: what the numbers are worth nothing without."""
    text: str = ""
    """More, as Markdown."""

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
    for metrics in result.groups:
        for backbone, part in result.cells.groupby("backbone", sort=False, dropna=False):
            if part["metric"].isin(metrics).any():
                console.print(_terminal(str(backbone), part, metrics))
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
        drawn = _pixels(style.settle(result.draw()))
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
    for metrics in result.groups:
        for backbone, part in result.cells.groupby("backbone", sort=False, dropna=False):
            if not part["metric"].isin(metrics).any():
                continue
            columns = _columns(part, metrics)
            header = _header(str(backbone), columns, " ")
            lines += ["| " + " | ".join(header) + " |", "| --- |" + " ---: |" * (len(header) - 1)]
            lines += ["| " + " | ".join(cells) + " |" for cells in _lines(part, columns)]
            lines.append("")
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


def row_title(method: str) -> str:
    """What a row is called."""
    return ROWS.get(method, title(method))


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


def _columns(part: pd.DataFrame, metrics: list[str]) -> list[tuple[str, str]]:
    """Metric and column of a table's columns; where the paper has no number at all, ours stands alone."""
    known = {metric: part.loc[part["metric"] == metric, "paper"].notna().any() for metric in metrics}
    return [(m, column) for m in metrics for column in (("paper", "ours", "difference") if known[m] else ("ours",))]


def _header(backbone: str, columns: list[tuple[str, str]], between: str) -> list[str]:
    words = {"paper": "paper", "ours": "ours", "difference": "diff."}
    titles = METRICS | UNITS
    named = [f"{titles[metric]}{between}{words[column]}" for metric, column in columns]
    return [BACKBONES.get(backbone, ""), *(name.removeprefix(between) for name in named)]


def _lines(part: pd.DataFrame, columns: list[tuple[str, str]]) -> list[list[str]]:
    out = []
    for method, rows in part.groupby("method", sort=False):
        cells = {cell["metric"]: cell for cell in records(rows)}
        line = [_cell(cells.get(metric), column) for metric, column in columns]
        if any(line):
            out.append([row_title(str(method)), *line])
    return out


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


def _terminal(backbone: str, part: pd.DataFrame, metrics: list[str]) -> Table:
    columns = _columns(part, metrics)
    shown = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for place, header in enumerate(_header(backbone, columns, "\n")):
        shown.add_column(header, justify="right" if place else "left", no_wrap=True)
    for line in _lines(part, columns):
        shown.add_row(*line)
    return shown
