"""What each kind of device pays: blocks, waiting, traffic and energy."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis import style
from analysis.figures import dots, tiers
from analysis.loading import Run

TITLE = "What kinds of devices pay"
_PANELS = {
    "blocks": "Blocks, where served",
    "adapt_ms": "Adaptation, ms",
    "inference_us": "Inference, µs",
    "mbit": "Megabits a session",
    "joules": "Joules a session",
}


def data(run: Run) -> pd.DataFrame | None:
    """Columns :data:`analysis.tiers_table.TIER_COLUMNS`; None if all devices are of one kind."""
    return tiers.data(run)


def draw(frame: pd.DataFrame) -> Figure:
    """Up to five panels, one point per method and kind of device; what is nothing everywhere is left out."""
    keys = [key for key in _PANELS if (frame[key] > 0).any()] or ["joules"]
    figure, axes = style.panels(len(keys), height=2.5)
    for axis, key in zip(axes, keys, strict=True):
        high = f"{key}_p95" if f"{key}_p95" in frame else None
        dots.draw(axis, frame.assign(**{key: frame[key].where(frame[key] > 0)}), "tier", key, high=high)
        if key in ("blocks", "mbit"):
            dots.from_zero(axis)
        else:
            _logarithmic(axis)
    style.letter(axes, [_PANELS[key] for key in keys])
    style.legend(figure, axes[0])
    return figure


def _logarithmic(axis: Axes) -> None:
    """Powers of ten, where there is anything."""
    if axis.dataLim.y1 > 0:
        axis.set_yscale("log")
