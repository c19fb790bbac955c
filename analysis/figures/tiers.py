"""What each kind of device gets: quality, who is served, and what the network costs there."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis import style
from analysis.loading import Run
from analysis.statistics import interval, ratios
from analysis.summary import device_sums

TITLE = "Kinds of devices"


def data(run: Run) -> pd.DataFrame | None:
    """Columns ``tier, method, devices, ndcg@10, low, high, served, macs_m``; None if all devices are of one
    kind."""
    if run.sessions["tier"].nunique() < 2:
        return None
    rows = []
    for tier in run.tiers:
        sessions = run.sessions[run.sessions["tier"] == tier]
        for method in run.methods:
            mine = sessions[sessions["method"] == method]
            if mine["events"].sum() == 0:
                continue
            sums = device_sums(mine)
            ndcg, events = sums[["ndcg"]].to_numpy(float), sums[["events"]].to_numpy(float)
            low, high = interval(ratios(ndcg, events), len(sums))
            rows.append(
                {
                    "tier": tier,
                    "method": method,
                    "devices": mine["device"].nunique(),
                    "ndcg@10": float(ndcg.sum() / events.sum()),
                    "low": float(low[0]),
                    "high": float(high[0]),
                    "served": float(mine["served"].mean()),
                    "macs_m": float(np.average(mine["macs"], weights=mine["events"]) / 1e6),
                }
            )
    return pd.DataFrame(rows)


def draw(frame: pd.DataFrame) -> Figure:
    """Three panels, one point per method and kind of device."""
    figure, axes = style.panels(3, height=2.8)
    _dots(axes[0], frame, "ndcg@10", errors=True)
    _dots(axes[1], frame, "served")
    _dots(axes[2], frame, "macs_m")
    style.percent_axis(axes[1])
    axes[1].set_ylim(-0.04, 1.06)
    axes[2].set_ylim(bottom=0)
    style.letter(axes, ["NDCG@10", "Sessions served", "Million MACs"])
    style.legend(figure, axes[0])
    return figure


def _dots(axis: Axes, frame: pd.DataFrame, value: str, errors: bool = False) -> None:
    tiers, methods = frame["tier"].unique().tolist(), frame["method"].unique().tolist()
    for i, (method, look) in enumerate(style.looks(methods).items()):
        mine = frame[frame["method"] == method].set_index("tier").reindex(tiers)
        place = np.arange(len(tiers)) + (i - (len(methods) - 1) / 2) * min(0.16, 0.7 / len(methods))
        arguments = style.line(method, look) | {"linestyle": "none"}
        if errors:
            bars = np.stack([mine[value] - mine["low"], mine["high"] - mine[value]])
            axis.errorbar(place, mine[value], yerr=np.nan_to_num(bars), elinewidth=1, **arguments)
        else:
            axis.plot(place, mine[value], **arguments)
    axis.set_xticks(range(len(tiers)), tiers)
    axis.set_xlim(-0.5, len(tiers) - 0.5)
    axis.grid(axis="x", visible=False)
