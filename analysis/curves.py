"""Quality and other values along an axis (sessions, distance to a change, budget), with bands over devices."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis import style
from analysis.drift import sessions_from_change
from analysis.stats import BASELINE, interval, quotients, ratios
from analysis.style import Panel, Sheet
from core.schema import ORACLES

COLUMNS = ["method", "at", "devices", "ndcg@10", "low", "high", "delta", "delta_low", "delta_high"]


def along(sessions: pd.DataFrame, at: pd.Series, methods: list[str]) -> pd.DataFrame:
    """Quality of each method at each value of ``at`` (integers, one per row of ``sessions``).

    The columns are :data:`COLUMNS`: the number of devices with events there, NDCG@10 with its 95 % bootstrap
    interval over devices, and the difference to DeviceRec with its paired interval (NaN without DeviceRec).
    """
    sums = sessions.assign(at=at).groupby(["device", "method", "at"], observed=True)[["ndcg", "events"]].sum()
    columns = pd.MultiIndex.from_product([methods, sorted(at.unique())], names=["method", "at"])
    ndcg, events = (
        pd.DataFrame(sums[name].unstack(["method", "at"])).reindex(columns=columns).fillna(0.0).to_numpy(float)
        for name in ("ndcg", "events")
    )
    frame = columns.to_frame(index=False)
    frame["devices"] = (events > 0).sum(axis=0)
    frame["ndcg@10"] = quotients(ndcg.sum(axis=0), events.sum(axis=0))
    drawn = ratios(ndcg, events)
    frame["low"], frame["high"] = interval(drawn, len(ndcg))
    if BASELINE in methods:
        steps = len(columns) // len(methods)
        base = np.tile(methods.index(BASELINE) * steps + np.arange(steps), len(methods))
        frame["delta"] = frame["ndcg@10"] - frame["ndcg@10"].to_numpy()[base]
        frame["delta_low"], frame["delta_high"] = interval(drawn - drawn[:, base], len(ndcg))
    return frame.reindex(columns=COLUMNS)


def enough(sessions: pd.DataFrame, at: pd.Series, share: float = 0.1) -> pd.Series:
    """Which rows lie where at least this share of the devices (and at least three) still plays.

    At the far end of the axis a handful of devices is left, whose bands would hide all others.
    """
    devices = sessions.groupby(at)["device"].nunique()
    return at.isin(devices.index[devices >= max(3.0, share * sessions["device"].nunique())])


def by_session(
    sessions: pd.DataFrame, rows: pd.DataFrame, methods: list[str], columns: list[str]
) -> pd.DataFrame | None:
    """``ndcg`` over ``events`` of ``rows`` as the column that ``columns`` names before ``low``; None: too few devices.

    ``axis`` is ``session`` (``at``: number of the session, from 1) and, if devices change, ``change`` (``at``: sessions
    since the change, which all ``sessions`` of the run decide).
    """
    value = columns[columns.index("low") - 1]
    places = {
        "session": rows["session"].astype("int64") + 1,
        "change": sessions_from_change(sessions).loc[rows.index].dropna().astype("int64"),
    }
    found = []
    for axis, at in places.items():
        kept = at[enough(rows.loc[at.index], at)]
        if kept.nunique() > 1:
            frame = along(rows.loc[kept.index], kept, methods).rename(columns={"ndcg@10": value})
            found.append(frame.assign(axis=axis)[columns])
    return pd.concat(found, ignore_index=True) if found else None


def quality_panels(
    sheet: Sheet, frame: pd.DataFrame, decorate: Callable[[Axes], object], named: bool = True
) -> list[Panel]:
    """NDCG@10 with its bands, and its difference to DeviceRec, which the devices' own ease does not blur, where that
    was played; ``decorate`` names the horizontal axis.

    Of the methods without a network the difference is that of the best: the others, far below, would hide the rest, and
    so would an oracle, far above.
    """
    means = frame.groupby("method")["ndcg@10"].mean().reindex([one for one in sheet.references if one not in ORACLES])
    left_out = {BASELINE, *ORACLES, *(set(sheet.references) - {means.idxmax()} if len(means.dropna()) else ())}
    compared = frame[~frame["method"].isin(left_out) & frame["delta"].notna()]

    def level(axis: Axes) -> None:
        sheet.bands(axis, frame, "ndcg@10")
        decorate(axis)

    def difference(axis: Axes) -> None:
        sheet.bands(axis, compared, "delta", "delta_low", "delta_high")
        style.zero_line(axis)
        decorate(axis)

    panels = [Panel("NDCG@10", level, y="NDCG@10" if named else "")]
    if not compared.empty:
        panels.append(Panel("Difference to DeviceRec", difference, y="difference in NDCG@10" if named else ""))
    return panels


def draw_by_session(frame: pd.DataFrame, sheet: Sheet, value: str, decorate: Callable[[Axes], object]) -> Figure:
    """A panel for each ``axis`` of :func:`by_session`, with its bands; ``decorate`` labels the vertical axis."""

    def panel(name: str, axis: Axes) -> None:
        sheet.bands(axis, frame[frame["axis"] == name], value)
        decorate(axis)
        (session_axis if name == "session" else mark_change)(axis)

    titles = {"session": "Session by session", "change": "Around the change"}
    return sheet.figure([Panel(titles[name], partial(panel, name)) for name in frame["axis"].unique()])


def session_axis(axis: Axes) -> None:
    """Name an axis of sessions."""
    axis.set_xlabel("session of the device")


def mark_change(axis: Axes) -> None:
    """Mark where the change happens, on an axis of sessions since then."""
    axis.axvline(-0.5, color=style.LIGHT.ink, linewidth=0.9, linestyle=(0, (2, 2)))
    top: dict[str, Any] = {"xycoords": ("data", "axes fraction"), "textcoords": "offset points", "va": "top"}
    axis.annotate("change", (-0.5, 1), xytext=(3, -2), fontsize=7, color=style.LIGHT.muted, **top)
    axis.set_xlabel("sessions since the change of interest")
