"""A reproduced table or figure: its cells, and how they are printed and written.

A cell is one number of the paper with ours; ``CELL_COLUMNS`` says what is kept of it.
"""

import math
import textwrap
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.image import imsave
from rich.console import Console

from analysis import captions, style, tables
from analysis.reproduce import paper
from analysis.reproduce.options import OURS, Options
from analysis.reproduce.runs import Runs
from analysis.run import Run
from analysis.style import Sheet
from analysis.tables import Cell, Table
from analysis.text import number, quality, records, signed
from core import atomic

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

EPOCH = "epoch"
"""Metric of cells that are drawn and stand in no table: validation NDCG@10 after one epoch."""

UNITS = {
    "final": "last epoch",
    "best": "best epoch",
    "best-epoch": "its number",
    "reached": "first at the paper's",
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
_WORDS = {"paper": "paper", "ours": "ours", "difference": "diff."}


@dataclass(frozen=True)
class Result:
    """What a target gives."""

    target: str
    cells: pd.DataFrame
    """Columns of :data:`CELL_COLUMNS`."""
    groups: list[list[str]]
    """Metrics that stand side by side in one table."""
    draw: Callable[[Sheet], Figure]
    """Called in the style of :mod:`analysis.style`."""
    title: str = ""
    facts: list[str] = field(default_factory=list)
    """Protocol, machine, time, command: what the numbers are worth nothing without."""
    text: str = ""
    """More, as Markdown."""
    titles: Mapping[str, str] = field(default_factory=dict)
    """What the methods of its runs are called."""

    @property
    def notes(self) -> list[str]:
        """What the paper got wrong in this table or figure, and how it is read."""
        return list(paper.read("errata").get(self.target, []))

    @property
    def heading(self) -> str:
        """``Table 1: Overall performance``."""
        name, *_ = self.target.split("-")
        return f"{name[:-1].capitalize()} {name[-1]}: {self.title}"


@dataclass
class Job:
    """A target that is being reproduced: it collects rows, which become the cells of its result."""

    target: str
    options: Options
    rows: list[dict[str, object]] = field(default_factory=list)

    @cached_property
    def runs(self) -> Runs:
        """The run folders of its options."""
        return Runs(self.options)

    @property
    def dataset(self) -> str:
        """What the data set is called in a cell."""
        name = self.options.dataset
        return name if name in captions.DATASETS else Path(name).name

    def add(
        self, backbone: str, method: str, metric: str, ours: float, run: Run | None = None, **other: object
    ) -> None:
        """Add a cell: our number, and what is known of it: the run behind it, other columns of :data:`CELL_COLUMNS`."""
        where = {"table": self.target, "dataset": self.dataset, "protocol": self.options.protocol}
        what = {"backbone": backbone, "method": method, "metric": metric, "ours": ours}
        self.rows.append({**where, **what, **_played(run), **other})

    def result(
        self,
        groups: list[list[str]],
        draw: Callable[[pd.DataFrame, Sheet], Figure],
        facts: list[str],
        title: str = "",
        text: str = "",
    ) -> Result:
        """The cells with what is said of them; ``draw`` gets them; the title is the paper's if there is none."""
        cells = fill(self.rows)
        name = title or str(paper.read(self.target)["title"])
        facts = [*facts, f"Command: {self.options.command(self.target)}"]
        return Result(self.target, cells, groups, lambda sheet: draw(cells, sheet), name, facts, text, self.runs.titles)


def _played(run: Run | None) -> dict[str, object]:
    """The protocol columns of a cell."""
    if run is None:
        return {}
    count, training = captions.sizes(run), run.training
    return {
        "devices": count["devices"],
        "events": count["events"] // count["seeds"],
        "candidates": run.config.get("data", {}).get("items"),
        "seeds": count["seeds"],
        "epochs": int(training["epoch"].max()) if len(training) else math.nan,
        **{name: run.options.get(name) for name in ("context", "memory", "blocks")},
    }


def fill(rows: list[dict[str, object]]) -> pd.DataFrame:
    """Cells from rows; what a row does not say is empty, and the difference is worked out."""
    frame = pd.DataFrame(rows).reindex(columns=list(CELL_COLUMNS))
    frame = frame.astype(dict.fromkeys(("paper", "ours", "spread"), float))
    return frame.assign(difference=frame["ours"] - frame["paper"])


def show(result: Result, console: Console) -> None:
    """Print the tables, then the protocol, then what the paper got wrong."""
    console.print(result.heading, style="bold", highlight=False)
    for table in _tables(result):
        console.print(tables.terminal(table))
    lines = [*([result.text] if result.text else []), *result.facts]
    if result.notes:
        lines += ["What the paper got wrong or leaves open:", *(f"  - {note}" for note in result.notes)]
    for line in lines:
        console.print(line, markup=False, highlight=False)


def publish(result: Result, folder: Path) -> list[Path]:
    """Write ``<target>.csv``, ``.png`` and ``.md``; returns their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    csv, png, page = (folder / f"{result.target}.{kind}" for kind in ("csv", "png", "md"))
    paint(result, png)
    atomic.write(csv, result.cells.to_csv(index=False))
    atomic.write(page, markdown(result))
    return [csv, png, page]


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
    lines = [f"# {result.heading}", ""]
    for table in _tables(result):
        lines += [*tables.markdown(table), ""]
    if result.text:
        lines += [result.text, ""]
    lines += [f"![{result.title}]({result.target}.png)", "", *(f"- {fact}" for fact in result.facts), ""]
    if result.notes:
        lines += ["What the paper got wrong or leaves open:", "", *(f"- {note}" for note in result.notes), ""]
    return "\n".join(lines)


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
    if metric in ("best-epoch", "reached"):
        return f"{x:.0f}"
    return quality(x) if metric in METRICS or metric in ("size", "final", "best") else number(x, 4)


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
        for backbone, part in result.cells[result.cells["metric"].isin(metrics)].groupby("backbone", sort=False):
            known = set(part.loc[part["paper"].notna(), "metric"])
            columns = [(m, c) for m in metrics for c in (_WORDS if m in known else ("ours",))]
            names = {metric: (METRICS | UNITS)[metric] for metric in metrics}
            header = [(names[m], _WORDS[c]) if names[m] else (_WORDS[c], "") for m, c in columns]
            rows = []
            for method, cells in part.groupby("method", sort=False):
                by_metric = {cell["metric"]: cell for cell in records(cells)}
                line = [Cell(_cell(by_metric[m], c) if m in by_metric else "") for m, c in columns]
                rows.append([Cell(row_title(str(method), result.titles)), *line])
            found.append(Table("", [(captions.BACKBONES.get(str(backbone), ""), ""), *header], rows))
    return found


def _cell(cell: dict[str, Any], column: str) -> str:
    metric, method = cell["metric"], cell["method"]
    if column == "difference":
        return change(metric, method, cell[column])
    text = value(metric, method, cell[column])
    if column == "ours" and math.isfinite(cell["spread"]):
        text += f" ± {value(metric, method, cell['spread'])}"
    return text
