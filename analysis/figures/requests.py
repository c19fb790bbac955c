"""When devices asked: the share of them that adapts before a session, by session and around the change."""

import math

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis import curves, style
from analysis.drift import asking
from analysis.run import Run
from analysis.style import Sheet
from analysis.tables import Column, Table, build, method_column
from analysis.text import between, number, percent, quality, records, scaled

TITLE = "When devices asked"
READING = (
    "The share of the devices that adapt before a session, whether they ask the cloud or train on their own. The "
    "session of the change is 0: a device decides before it plays, so it can know of the change from 1 on."
)
COLUMNS = ["axis", "method", "at", "devices", "share", "low", "high"]


def data(run: Run) -> pd.DataFrame | None:
    """Columns :data:`COLUMNS`, ``axis`` and ``at`` as :func:`curves.by_session` gives them; the first session, before
    which every device adapts, is left out. None if no policy decided anything."""
    methods = [m for m in run.methods if run.sessions.loc[run.sessions["method"] == m, "adapted"].any()]
    rows = run.sessions[(run.sessions["session"] > 0) & run.sessions["method"].isin(methods)]
    if rows["adapted"].all():
        return None
    asked = rows.assign(ndcg=rows["adapted"].astype(float), events=1)
    return curves.by_session(run.sessions, asked, methods, COLUMNS)


def draw(frame: pd.DataFrame, sheet: Sheet) -> Figure:
    """The share of devices that adapt over sessions, and around the change."""

    def share(axis: Axes) -> None:
        axis.set_ylabel("devices that adapt")
        style.shares(axis)

    return curves.draw_by_session(frame, sheet, "share", share)


def finding(run: Run, frame: pd.DataFrame) -> str:
    """How often devices adapt, how soon after a change, and how often without one."""
    parts = []
    for row in records(asking(run.sessions, run.methods)):
        text = f"{run.title(row['method'])} adapts in {percent(row['rate'])} of the sessions"
        if math.isfinite(row["delay"]):
            text += (
                f", {number(row['delay'])} sessions after a change if it notices it ({percent(row['noticed'])} do), "
                f"and in {percent(row['false_alarms'])} of the calm ones"
            )
        parts.append(text)
    return f"{'; '.join(parts)}."


def tables(run: Run, frame: pd.DataFrame) -> list[Table]:
    """What the policy achieved: :func:`analysis.drift.asking`."""
    found = asking(run.sessions, run.methods)
    changes = [
        Column(
            "Noticed",
            "noticed",
            percent,
            "changes",
            explanation="Noticed: changes with sessions after them in one of which the device adapts; delay: sessions "
            "until then. Calm sessions begin before the change, or have none.",
        ),
        Column("Delay", "delay", number, "sessions"),
        Column("False alarms", "false_alarms", percent, "of calm sessions"),
    ]
    columns = [
        method_column(run.title),
        Column(
            "Adaptations",
            "rate",
            percent,
            "of sessions",
            explanation="Adaptations: of the sessions after a device's first.",
        ),
        *(changes if found["noticed"].notna().any() else []),  # if nothing changes, every session is calm
        Column("Traffic", "mbit", number, "Mbit a session"),
        Column(
            "Adapting",
            "seconds",
            scaled(1e3),
            "device, ms a session",
            explanation="Adapting: until the device has its network, for training on the device the training itself; "
            "mean over all sessions.",
        ),
        Column("NDCG@10", "ndcg@10", quality, "95 % interval", note=between("low", "high")),
    ]
    return [build(found, columns)]
