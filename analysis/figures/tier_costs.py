"""What each kind of device pays: blocks, waiting, traffic and energy."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis import style
from analysis.figures import tiers
from analysis.plots import dots
from analysis.run import Run
from analysis.style import Sheet
from analysis.text import number, records

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


def data(run: Run) -> pd.DataFrame | None:
    """Columns :data:`analysis.tiers.TIER_COLUMNS`; None if all devices are of one kind."""
    return tiers.data(run)


def draw(frame: pd.DataFrame, sheet: Sheet) -> Figure:
    """Up to five panels, one point per method and kind of device; what is nothing everywhere is left out."""
    keys = [key for key in _PANELS if (frame[key] > 0).any()] or ["joules"]
    figure, axes = sheet.panels(len(keys), height=2.5)
    for axis, key in zip(axes, keys, strict=True):
        high = f"{key}_p95" if f"{key}_p95" in frame else None
        dots.draw(axis, sheet, frame.assign(**{key: frame[key].where(frame[key] > 0)}), "tier", key, high=high)
        if key in ("blocks", "mbit"):
            dots.from_zero(axis)
        else:
            _logarithmic(axis)
    style.letter(axes, [_PANELS[key] for key in keys])
    sheet.legend(figure, axes[0])
    return figure


def _logarithmic(axis: Axes) -> None:
    """Powers of ten, where there is anything."""
    if axis.dataLim.y1 > 0:
        axis.set_yscale("log")


def finding(run: Run, frame: pd.DataFrame) -> str:
    """How long adapting takes on the fastest kind of device and on the slowest."""
    texts = []
    for method, mine in frame[frame["adapt_ms"] > 0].groupby("method", sort=False):
        rows = sorted(records(mine), key=lambda row: row["adapt_ms"])
        fast, slow = rows[0], rows[-1]
        texts.append(
            f"{run.title(str(method))} {number(fast['adapt_ms'])} ms ({fast['tier']}) to {number(slow['adapt_ms'])} ms "
            f"({slow['tier']}; 95th percentile {number(slow['adapt_ms_p95'])} ms)"
        )
    return f"Median time to adapt, from the fastest kind of device to the slowest: {'; '.join(texts)}." if texts else ""
