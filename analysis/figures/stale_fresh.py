"""Stale against fresh: what a network made for this very session gains over the one of the last adaptation."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis import style
from analysis.figures import along_sessions
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
    return along_sessions.frames(run.sessions, gains, methods, COLUMNS)


def draw(frame: pd.DataFrame) -> Figure:
    """The gain over sessions, and around the change."""
    return along_sessions.draw(frame, "gain", _gain)


def _gain(axis: Axes) -> None:
    axis.axhline(0, color=style.LIGHT.muted, linewidth=1)
    axis.set_ylabel("gain in NDCG@10")
