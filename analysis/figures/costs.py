"""What a method costs the device: computing in both views, the model, traffic, time, energy."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis import style
from analysis.loading import Run
from analysis.names import number, title

TITLE = "Costs"
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


def draw(frame: pd.DataFrame) -> Figure:
    """Six panels of bars with their values; what is zero everywhere is left out."""
    keys = [key for key in _PANELS if (frame[key] > 0).any()]
    figure, axes = style.panels(max(1, len(keys)), height=0.75 + 0.19 * len(frame))
    for i, (axis, key) in enumerate(zip(axes, keys, strict=False)):
        first = style.narrow() or i % 3 == 0
        _bars(axis, frame, key, first)
        axis.set_xlabel(_PANELS[key][1])
    style.letter(axes[: len(keys)], [_PANELS[key][0] for key in keys])
    return figure


def _bars(axis: Axes, frame: pd.DataFrame, key: str, named: bool) -> None:
    looks = style.looks(frame["method"].tolist())
    place = np.arange(len(frame))
    axis.barh(place, frame[key], 0.66, color=[look.colour for look in looks.values()])
    ends = frame[key].to_numpy(float)
    if key == "macs_m":
        paper = frame["macs_paper_m"].to_numpy(float)
        axis.plot(paper, place, "|", color=style.LIGHT.ink, markersize=9, markeredgewidth=1.2, linestyle="none")
        ends = np.maximum(ends, paper)
    for y, end, value in zip(place, ends, frame[key], strict=True):
        axis.annotate(number(value), (end, y), xytext=(4, 0), textcoords="offset points", va="center", fontsize=6.5)
    axis.set_yticks(place, [title(method) for method in frame["method"]] if named else [])
    axis.invert_yaxis()
    axis.margins(x=0.22)
    axis.set_xlim(left=0)
    axis.grid(axis="y", visible=False)
    axis.tick_params(axis="y", length=0)
    axis.locator_params(axis="x", nbins=4)
