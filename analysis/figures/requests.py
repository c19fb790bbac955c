"""When devices asked: the share of them that adapts before a session, by session and around the change."""

import pandas as pd
from matplotlib.figure import Figure

from analysis import style
from analysis.figures import bands
from analysis.figures.change_point import mark_change, sessions_from_change
from analysis.loading import Run

TITLE = "When devices asked"
COLUMNS = ["axis", "method", "at", "devices", "share", "low", "high"]


def data(run: Run) -> pd.DataFrame | None:
    """Columns :data:`COLUMNS`, ``axis`` and ``at`` as in :mod:`analysis.figures.stale_fresh`; the first session, before
    which every device adapts, is left out. None if no policy decided anything."""
    rows = run.sessions[run.sessions["session"] > 0]
    methods = [m for m in run.methods if run.sessions.loc[run.sessions["method"] == m, "adapted"].any()]
    rows = rows[rows["method"].isin(methods)]
    if rows.empty or rows["adapted"].all():
        return None
    asked = rows.assign(ndcg=rows["adapted"].astype(float), events=1)
    places = {
        "session": asked["session"].astype("int64") + 1,
        "change": sessions_from_change(run.sessions).loc[asked.index].dropna().astype("int64"),
    }
    frames = []
    for axis, at in places.items():
        kept = at[bands.enough(asked.loc[at.index], at)]
        if kept.nunique() > 1:
            frame = bands.along(asked.loc[kept.index], kept, methods).rename(columns={"ndcg@10": "share"})
            frames.append(frame.assign(axis=axis)[COLUMNS])
    return pd.concat(frames, ignore_index=True) if frames else None


def draw(frame: pd.DataFrame) -> Figure:
    """The share of devices that adapt over sessions, and around the change."""
    shown = frame["axis"].unique().tolist()
    figure, axes = style.panels(len(shown))
    for axis, name in zip(axes, shown, strict=True):
        bands.draw(axis, frame[frame["axis"] == name], "share", "low", "high")
        axis.set_ylabel("devices that adapt")
        axis.set_ylim(-0.03, 1.03)
        style.percent_axis(axis)
        axis.set_xlabel("session of the device")
        if name == "change":
            mark_change(axis)
    style.letter(axes, ["Session by session" if name == "session" else "Around the change" for name in shown])
    style.legend(figure, axes[0])
    return figure
