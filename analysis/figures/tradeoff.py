"""Quality against what it costs: computing on the device, and traffic."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis import style
from analysis.run import Run
from analysis.style import Sheet
from analysis.text import join, number

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
    """Columns ``method, macs_m, mbit_per_session, ndcg@10, low, high, front_macs, front_mbit``; None for one
    method."""
    if len(run.summary) < 2:
        return None
    frame = pd.DataFrame(
        {
            "method": run.summary["method"],
            "macs_m": run.summary["macs_m"],
            "mbit_per_session": run.summary["uplink_kbit"] / 1e3 + run.summary["downlink_mbit"],
            "ndcg@10": run.summary["ndcg@10"],
            "low": run.summary["ndcg@10_low"],
            "high": run.summary["ndcg@10_high"],
        }
    )
    value = frame["ndcg@10"].to_numpy(float)
    frame["front_macs"] = pareto(frame["macs_m"].to_numpy(float), value)
    frame["front_mbit"] = pareto(frame["mbit_per_session"].to_numpy(float), value)
    return frame


def draw(frame: pd.DataFrame, sheet: Sheet) -> Figure:
    """Two panels of points with intervals and the Pareto front."""
    figure, axes = sheet.panels(2)
    _points(axes[0], sheet, frame, "macs_m", "front_macs")
    _points(axes[1], sheet, frame, "mbit_per_session", "front_mbit")
    axes[0].set_xlabel("million MACs of one inference")
    axes[1].set_xlabel("megabits per device-session, both directions")
    for axis in axes:
        axis.set_ylabel("NDCG@10")
    style.letter(axes, ["Computing", "Traffic"])
    sheet.legend(figure, axes[0], columns=5)
    return figure


def _points(axis: Axes, sheet: Sheet, frame: pd.DataFrame, cost: str, front: str) -> None:
    looks = sheet.looks(frame["method"].tolist())
    for method, look in looks.items():
        at = frame[frame["method"] == method]
        bars = np.stack([at["ndcg@10"] - at["low"], at["high"] - at["ndcg@10"]])
        arguments = sheet.line(method, look) | {"linestyle": "none"}
        axis.errorbar(at[cost], at["ndcg@10"], yerr=np.nan_to_num(bars), elinewidth=1, **arguments)
    axis.margins(x=0.12, y=0.12)
    low, high = float(frame[cost].min()), float(frame[cost].max())
    if high - low < LEAST_SPAN * high:  # costs that hardly differ must not look far apart
        axis.set_xlim((low + high) / 2 - LEAST_SPAN * high, (low + high) / 2 + LEAST_SPAN * high)
    right = axis.get_xlim()[1]  # the front goes on: who pays more need not get less
    best = frame[frame[front]].sort_values([cost, "ndcg@10"])
    axis.step(
        [*best[cost], right],
        [*best["ndcg@10"], best["ndcg@10"].iloc[-1]],
        where="post",
        color=style.LIGHT.muted,
        linewidth=1.1,
        zorder=1.5,
        label="Pareto front",
    )
    axis.set_xlim(right=right)


def finding(run: Run, frame: pd.DataFrame) -> str:
    """Who is on the Pareto fronts."""

    def front(column: str, cost: str) -> str:
        best = frame[frame[column]].sort_values(cost)
        return join([f"{run.title(m)} ({number(c)})" for m, c in zip(best["method"], best[cost], strict=True)])

    return (
        f"On the front of quality against million MACs: {front('front_macs', 'macs_m')}. "
        f"Against megabits per session: {front('front_mbit', 'mbit_per_session')}."
    )
