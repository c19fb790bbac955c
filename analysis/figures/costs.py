"""What a method costs the device: computing in both views, the model, traffic, time, energy."""

from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis import style
from analysis.run import Run
from analysis.style import Panel, Sheet
from analysis.summary_table import COSTS
from analysis.tables import Table, build, method_column
from analysis.text import best_row, join, number, records

TITLE = "Costs"
READING = (
    "MACs are counted from the layers that ran; the stroke is the paper's count, which leaves out the products inside "
    "attention and counts the normalisations of skipped blocks too. Times and energy are simulated from these counts "
    "by the devices' profiles."
)
_PANELS = {
    "macs_m": ("Computing", "million MACs (|: paper's count)"),
    "param_mbit": ("Model", "megabits of weights"),
    "downlink_mbit": ("Downlink", "megabits per session"),
    "uplink_kbit": ("Uplink", "kilobits per session"),
    "adapt_ms": ("Adaptation", "milliseconds per session"),
    "energy_mj": ("Energy", "millijoules per session"),
}


def data(run: Run) -> pd.DataFrame:
    """Columns ``method, macs_m, macs_paper_m, param_mbit, downlink_mbit, uplink_kbit, adapt_ms,
    energy_mj``."""
    kept = ["method", "macs_m", "macs_paper_m", "param_mbit", "downlink_mbit", "uplink_kbit"]
    times = {"adapt_ms": 1e3 * run.summary["seconds_adapt"], "energy_mj": 1e3 * run.summary["joules"]}
    return run.summary[kept].assign(**times)


def draw(frame: pd.DataFrame, sheet: Sheet) -> Figure:
    """Six panels of bars with their values; what is zero everywhere is left out."""
    names, place = [sheet.title(method) for method in frame["method"]], np.arange(len(frame))
    colours = [look["color"] for _, _, look in sheet.each(frame)]

    def bars(key: str, named: bool, axis: Axes) -> None:
        axis.barh(place, frame[key], 0.66, color=colours)
        ends = frame[key].to_numpy(float)
        if key == "macs_m":
            paper = frame["macs_paper_m"].to_numpy(float)
            stroke: dict[str, Any] = {
                "color": style.LIGHT.ink,
                "markersize": 9,
                "markeredgewidth": 1.2,
                "linestyle": "none",
            }
            axis.plot(paper, place, "|", **stroke)
            ends = np.maximum(ends, paper)
        for y, end, value in zip(place, ends, frame[key], strict=True):
            style.note(axis, number(value), (end, y))
        axis.set_yticks(place, names if named else [])
        axis.invert_yaxis()
        axis.margins(x=0.22)
        axis.set_xlim(left=0)
        axis.grid(axis="y", visible=False)
        axis.tick_params(axis="y", length=0)
        axis.locator_params(axis="x", nbins=4)

    keys = [key for key in _PANELS if (frame[key] > 0).any()] or ["macs_m"]
    panels = [
        Panel(_PANELS[key][0], partial(bars, key, sheet.narrow or i % 3 == 0), _PANELS[key][1])
        for i, key in enumerate(keys)
    ]
    return sheet.figure(panels, height=0.75 + 0.19 * len(frame), legend=0)


def finding(run: Run, frame: pd.DataFrame) -> str:
    """Who takes longest to adapt, and who uses most energy."""
    texts = []
    slow = records(frame[frame["adapt_ms"] > 0].sort_values("adapt_ms", ascending=False, kind="stable"))
    if slow:
        text = f"{run.title(slow[0]['method'])} takes longest to adapt ({number(slow[0]['adapt_ms'])} ms per session"
        others = [f"{run.title(row['method'])} {number(row['adapt_ms'])} ms" for row in slow[1:]]
        texts.append(text + (f"; {join(others)})." if others else ")."))
    hungry = best_row(records(frame), "energy_mj")
    if hungry["energy_mj"] > 0:
        texts.append(f"{run.title(hungry['method'])} uses most energy ({number(hungry['energy_mj'])} mJ per session).")
    return " ".join(texts)


def tables(run: Run, frame: pd.DataFrame) -> list[Table]:
    """All costs of the summary."""
    return [build(run.summary, [method_column(run.title), *COSTS], "● least of its column.")]
