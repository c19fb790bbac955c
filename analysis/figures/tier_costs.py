"""What each kind of device pays: blocks, waiting, traffic and energy."""

from functools import partial

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis import style
from analysis.figures.tiers import data
from analysis.run import Run
from analysis.style import Panel, Sheet
from analysis.text import number, records

__all__ = ["READING", "TITLE", "data", "draw", "finding"]

TITLE = "What kinds of devices pay"
READING = (
    "Points are medians for adaptation and inference, with a line up to the 95th percentile, and means otherwise; the "
    "axes of times and energy are logarithmic. A method without a point has no such cost."
)
_PANELS = {
    "blocks": "Blocks, where served",
    "adapt_ms": "Adaptation, ms",
    "inference_us": "Inference, µs",
    "mbit": "Megabits a session",
    "joules": "Joules a session",
}


def draw(frame: pd.DataFrame, sheet: Sheet) -> Figure:
    """Up to five panels, one point per method and kind of device; what is nothing everywhere is left out."""

    def dots(key: str, axis: Axes) -> None:
        high = f"{key}_p95" if f"{key}_p95" in frame else ""
        sheet.dots(axis, frame.assign(**{key: frame[key].where(frame[key] > 0)}), "tier", key, high=high)
        if key in ("blocks", "mbit"):
            style.from_zero(axis)
        elif axis.dataLim.y1 > 0:
            axis.set_yscale("log")

    keys = [key for key in _PANELS if (frame[key] > 0).any()] or ["joules"]
    return sheet.figure([Panel(_PANELS[key], partial(dots, key)) for key in keys], height=2.5)


def finding(run: Run, frame: pd.DataFrame) -> str:
    """How long adapting takes on the fastest kind of device and on the slowest."""
    texts = []
    for method, mine in frame[frame["adapt_ms"] > 0].groupby("method", sort=False):
        rows = records(mine)  # the slowest kind of device first
        fast, slow = rows[-1], rows[0]
        texts.append(
            f"{run.title(str(method))} {number(fast['adapt_ms'])} ms ({fast['tier']}) to {number(slow['adapt_ms'])} ms "
            f"({slow['tier']}; 95th percentile {number(slow['adapt_ms_p95'])} ms)"
        )
    return f"Median time to adapt, from the fastest kind of device to the slowest: {'; '.join(texts)}." if texts else ""
