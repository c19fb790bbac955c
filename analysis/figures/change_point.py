"""Quality around the change of interest: every device's sessions, aligned at its own change point."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis import style
from analysis.figures import bands, quality_sessions
from analysis.loading import Run

TITLE = "Quality around the change of interest"


def sessions_from_change(sessions: pd.DataFrame) -> pd.Series:
    """Distance of each row's session to the first session of its device that is not `before`.

    -1 is the last session before the change, 0 the session in which it happens (or the first after it). NaN
    for devices that are stationary, or whose change the run did not reach.
    """
    changed = sessions[sessions["phase"].isin(["during", "after"])]
    first = changed.groupby(["seed", "device"])["session"].min().rename("first")
    joined = sessions[["seed", "device"]].join(first, on=["seed", "device"])["first"]
    return sessions["session"] - joined


def data(run: Run) -> pd.DataFrame | None:
    """Columns :data:`bands.COLUMNS`, ``at`` being the distance in sessions; None if no device changes in the
    run."""
    distance = sessions_from_change(run.sessions).dropna().astype("int64")
    if distance.empty:
        return None
    rows = run.sessions.loc[distance.index]
    kept = bands.enough(rows, distance)
    at = distance[kept]
    if not ((at < 0).any() and (at >= 0).any()):
        return None
    return bands.along(rows[kept], at, run.methods)


def draw(frame: pd.DataFrame) -> Figure:
    """The panels of quality over sessions, with the change marked."""
    figure = quality_sessions.draw(frame)
    for axis in figure.axes:
        mark_change(axis)
    return figure


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
