"""When devices asked: the share of them that adapts before a session, by session and around the change."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis import style
from analysis.figures import along_sessions
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
    return along_sessions.frames(run.sessions, asked, methods, COLUMNS)


def draw(frame: pd.DataFrame) -> Figure:
    """The share of devices that adapt over sessions, and around the change."""
    return along_sessions.draw(frame, "share", _share)


def _share(axis: Axes) -> None:
    axis.set_ylabel("devices that adapt")
    axis.set_ylim(-0.03, 1.03)
    style.percent_axis(axis)
