"""One point per method in each of a few groups (kinds of devices, device mixes), side by side."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from analysis.style import Sheet


def draw(
    axis: Axes, sheet: Sheet, frame: pd.DataFrame, by: str, value: str, low: str | None = None, high: str | None = None
) -> None:
    """Points of the column ``value`` for each ``method``, in the groups ``by`` in their order.

    Bars go from the column ``low`` and to the column ``high``, where they are given.
    """
    groups, methods = frame[by].unique().tolist(), frame["method"].unique().tolist()
    for i, (method, look) in enumerate(sheet.looks(methods).items()):
        mine = frame[frame["method"] == method].set_index(by).reindex(groups)
        place = np.arange(len(groups)) + (i - (len(methods) - 1) / 2) * min(0.16, 0.7 / len(methods))
        arguments = sheet.line(method, look) | {"linestyle": "none"}
        nothing = np.zeros(len(groups))
        below = nothing if low is None else (mine[value] - mine[low]).to_numpy(float)
        above = nothing if high is None else (mine[high] - mine[value]).to_numpy(float)
        bars = np.nan_to_num(np.stack([below, above])).clip(min=0)
        axis.errorbar(place, mine[value], yerr=None if low is high is None else bars, elinewidth=1, **arguments)
    crowded = len(groups) > 4 or max(len(str(group)) for group in groups) > 9
    axis.set_xticks(range(len(groups)), groups, rotation=35 if crowded else 0, ha="right" if crowded else "center")
    axis.set_xlim(-0.5, len(groups) - 0.5)
    axis.grid(axis="x", visible=False)


def from_zero(axis: Axes) -> None:
    """Let the vertical axis begin at 0, with room above the highest point."""
    top = max(axis.dataLim.y1, 0.0)
    axis.set_ylim(0, 1.06 * top if top > 0 else 1)
