"""Quality against what it costs: computing on the device, and traffic."""

from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis import style
from analysis.run import Run
from analysis.style import Panel, Sheet
from analysis.text import join, number
from core.schema import ORACLES

TITLE = "Quality against cost"
READING = (
    "Up is better, left is cheaper. A method on the Pareto front is beaten by none that costs as little; the bars are "
    "95 % bootstrap intervals over devices."
)
LEAST_SPAN = 0.2
"""What a panel spans at least, as a share of the highest cost."""


def pareto(cost: np.ndarray, value: np.ndarray) -> np.ndarray:
    """Which points no other point beats: none has more ``value`` at no more ``cost``, or as much at less."""
    cheaper = cost[None, :] <= cost[:, None]
    better = value[None, :] >= value[:, None]
    strictly = (cost[None, :] < cost[:, None]) | (value[None, :] > value[:, None])
    return np.asarray(~(cheaper & better & strictly).any(axis=1))


def data(run: Run) -> pd.DataFrame | None:
    """Columns ``method, macs_m, mbit_per_session, ndcg@10, low, high, front_macs, front_mbit``; None for one method."""
    if len(run.summary) < 2:
        return None
    frame = run.summary.rename(columns={"ndcg@10_low": "low", "ndcg@10_high": "high"})
    frame["mbit_per_session"] = frame["uplink_kbit"] / 1e3 + frame["downlink_mbit"]
    frame = frame[["method", "macs_m", "mbit_per_session", "ndcg@10", "low", "high"]].copy()
    for front, cost in (("front_macs", "macs_m"), ("front_mbit", "mbit_per_session")):
        quality = frame["ndcg@10"].where(~frame["method"].isin(ORACLES), -1.0)  # what nobody can run is on no front
        frame[front] = pareto(frame[cost].to_numpy(float), quality.to_numpy(float)) & (quality >= 0)
    return frame


def draw(frame: pd.DataFrame, sheet: Sheet) -> Figure:
    """Two panels of points with intervals and the Pareto front."""

    def points(cost: str, front: str, axis: Axes) -> None:
        for _, mine, arguments in sheet.each(frame, lines=False):
            bars = style.lengths(mine, "ndcg@10", "low", "high")
            axis.errorbar(mine[cost], mine["ndcg@10"], yerr=bars, elinewidth=1, **arguments)
        axis.margins(x=0.12, y=0.12)
        low, high = float(frame[cost].min()), float(frame[cost].max())
        if high - low < LEAST_SPAN * high:  # costs that hardly differ must not look far apart
            axis.set_xlim((low + high) / 2 - LEAST_SPAN * high, (low + high) / 2 + LEAST_SPAN * high)
        right = axis.get_xlim()[1]  # the front goes on: who pays more need not get less
        best = frame[frame[front]].sort_values([cost, "ndcg@10"])
        across, up = [*best[cost], right], [*best["ndcg@10"], best["ndcg@10"].iloc[-1]]
        line: dict[str, Any] = {"color": style.LIGHT.muted, "linewidth": 1.1, "zorder": 1.5, "label": "Pareto front"}
        axis.step(across, up, where="post", **line)
        axis.set_xlim(right=right)

    computing = Panel("Computing", partial(points, "macs_m", "front_macs"), "million MACs of one inference", "NDCG@10")
    where = "megabits per device-session, both directions"
    traffic = Panel("Traffic", partial(points, "mbit_per_session", "front_mbit"), where, "NDCG@10")
    return sheet.figure([computing, traffic], legend=5)


def finding(run: Run, frame: pd.DataFrame) -> str:
    """Who is on the Pareto fronts."""

    def front(column: str, cost: str) -> str:
        best = frame[frame[column]].sort_values(cost)
        return join([f"{run.title(m)} ({number(c)})" for m, c in zip(best["method"], best[cost], strict=True)])

    return (
        f"On the front of quality against million MACs: {front('front_macs', 'macs_m')}. "
        f"Against megabits per session, both directions: {front('front_mbit', 'mbit_per_session')}."
    )
