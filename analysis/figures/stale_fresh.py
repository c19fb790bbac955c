"""Stale against fresh: what a network made for this very session gains over the one of the last adaptation."""

import pandas as pd
from matplotlib.figure import Figure

from analysis import style
from analysis.figures import bands
from analysis.figures.change_point import mark_change, sessions_from_change
from analysis.loading import Run

TITLE = "Stale against fresh networks"
COLUMNS = ["axis", "method", "at", "devices", "gain", "low", "high"]


def data(run: Run) -> pd.DataFrame | None:
    """Columns :data:`COLUMNS`: NDCG@10 with the fresh network minus that with the stale one, on the same sessions.

    ``axis`` is ``session`` (``at``: number of the session, from 2: the first has no stale network) and, if devices
    change, ``change`` (``at``: sessions since the change). None if the run did not compare.
    """
    if "ndcg_stale" not in run.sessions:
        return None
    rows = run.sessions[run.sessions["ndcg_stale"].notna() & (run.sessions["session"] > 0)]
    methods = [method for method in run.methods if (rows["method"] == method).any()]
    if not methods:
        return None
    gains = rows.assign(ndcg=rows["ndcg_fresh"] - rows["ndcg_stale"])
    places = {
        "session": gains["session"].astype("int64") + 1,
        "change": sessions_from_change(run.sessions).loc[gains.index].dropna().astype("int64"),
    }
    frames = []
    for axis, at in places.items():
        kept = at[bands.enough(gains.loc[at.index], at)]
        if kept.nunique() > 1:
            frame = bands.along(gains.loc[kept.index], kept, methods).rename(columns={"ndcg@10": "gain"})
            frames.append(frame.assign(axis=axis)[COLUMNS])
    return pd.concat(frames, ignore_index=True) if frames else None


def draw(frame: pd.DataFrame) -> Figure:
    """The gain over sessions, and around the change."""
    shown = frame["axis"].unique().tolist()
    figure, axes = style.panels(len(shown))
    for axis, name in zip(axes, shown, strict=True):
        bands.draw(axis, frame[frame["axis"] == name], "gain", "low", "high")
        axis.axhline(0, color=style.LIGHT.muted, linewidth=1)
        axis.set_ylabel("gain in NDCG@10")
        axis.set_xlabel("session of the device")
        if name == "change":
            mark_change(axis)
    style.letter(axes, ["Session by session" if name == "session" else "Around the change" for name in shown])
    style.legend(figure, axes[0])
    return figure
