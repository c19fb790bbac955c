"""NDCG@10 along an axis (sessions, distance to a change), with bootstrap bands over devices."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from analysis import style
from analysis.stats import BASELINE, interval, quotients, ratios
from analysis.style import Sheet

COLUMNS = ["method", "at", "devices", "ndcg@10", "low", "high", "delta", "delta_low", "delta_high"]


def along(sessions: pd.DataFrame, at: pd.Series, methods: list[str]) -> pd.DataFrame:
    """Quality of each method at each value of ``at`` (integers, one per row of ``sessions``).

    The columns are :data:`COLUMNS`: the number of devices with events there, NDCG@10 with its 95 % bootstrap
    interval over devices, and the difference to DeviceRec with its paired interval (NaN without DeviceRec).
    """
    rows = sessions.assign(at=at)
    sums = rows.groupby(["device", "method", "at"], observed=True)[["ndcg", "events"]].sum()
    columns = pd.MultiIndex.from_product([methods, sorted(at.unique())], names=["method", "at"])
    ndcg, events = (
        pd.DataFrame(sums[name].unstack(["method", "at"])).reindex(columns=columns).fillna(0.0).to_numpy(float)
        for name in ("ndcg", "events")
    )
    value = quotients(ndcg.sum(axis=0), events.sum(axis=0))
    drawn = ratios(ndcg, events)
    low, high = interval(drawn, len(ndcg))
    frame = pd.DataFrame(
        {
            "method": columns.get_level_values("method"),
            "at": columns.get_level_values("at"),
            "devices": (events > 0).sum(axis=0),
            "ndcg@10": value,
            "low": low,
            "high": high,
        }
    )
    if BASELINE in methods:
        steps = len(columns) // len(methods)
        base = methods.index(BASELINE) * steps
        base_columns = np.tile(np.arange(base, base + steps), len(methods))
        frame["delta"] = value - value[base_columns]
        frame["delta_low"], frame["delta_high"] = interval(drawn - drawn[:, base_columns], len(ndcg))
    return frame.reindex(columns=COLUMNS)


def enough(sessions: pd.DataFrame, at: pd.Series, share: float = 0.1) -> pd.Series:
    """Which rows lie where at least this share of the devices (and at least three) still plays.

    At the far end of the axis a handful of devices is left, whose bands would hide all others.
    """
    devices = sessions.groupby(at)["device"].nunique()
    kept = devices.index[devices >= max(3.0, share * sessions["device"].nunique())]
    return at.isin(kept)


def draw(axis: Axes, sheet: Sheet, frame: pd.DataFrame, value: str, low: str, high: str) -> None:
    """One line with a band per method."""
    methods = frame["method"].unique().tolist()
    for method, look in sheet.looks(methods).items():
        mine = frame[(frame["method"] == method) & frame[value].notna()]
        axis.fill_between(mine["at"], mine[low], mine[high], color=look.colour, alpha=0.16, linewidth=0)
        every = max(1, len(mine) // 15)
        axis.plot(mine["at"], mine[value], markevery=every, **sheet.line(method, look))
    style.whole_numbers(axis)
    axis.margins(x=0.03)


def mark_change(axis: Axes) -> None:
    """Mark where the change happens, on an axis of sessions since then."""
    axis.axvline(-0.5, color=style.LIGHT.ink, linewidth=0.9, linestyle=(0, (2, 2)))
    axis.annotate(
        "change",
        (-0.5, 1),
        xycoords=("data", "axes fraction"),
        xytext=(3, -2),
        textcoords="offset points",
        va="top",
        fontsize=7,
        color=style.LIGHT.muted,
    )
    axis.set_xlabel("sessions since the change of interest")
