"""One value per device-session, by session and around the change: what two figures on requests have in common."""

from collections.abc import Callable

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis import style
from analysis.drift import sessions_from_change
from analysis.plots import bands
from analysis.style import Sheet


def frames(sessions: pd.DataFrame, rows: pd.DataFrame, methods: list[str], columns: list[str]) -> pd.DataFrame | None:
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
        kept = at[bands.enough(rows.loc[at.index], at)]
        if kept.nunique() > 1:
            frame = bands.along(rows.loc[kept.index], kept, methods).rename(columns={"ndcg@10": value})
            found.append(frame.assign(axis=axis)[columns])
    return pd.concat(found, ignore_index=True) if found else None


def draw(frame: pd.DataFrame, sheet: Sheet, value: str, decorate: Callable[[Axes], None]) -> Figure:
    """A panel for each ``axis`` in ``frame``, with its bands; ``decorate`` labels the vertical axis."""
    shown = frame["axis"].unique().tolist()
    figure, axes = sheet.panels(len(shown))
    for axis, name in zip(axes, shown, strict=True):
        bands.draw(axis, sheet, frame[frame["axis"] == name], value, "low", "high")
        decorate(axis)
        axis.set_xlabel("session of the device")
        if name == "change":
            bands.mark_change(axis)
    style.letter(axes, ["Session by session" if name == "session" else "Around the change" for name in shown])
    sheet.legend(figure, axes[0])
    return figure
