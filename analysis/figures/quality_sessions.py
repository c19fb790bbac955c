"""Quality over sessions: what each method achieves in a device's first, second, ... session."""

import pandas as pd
from matplotlib.figure import Figure

from analysis import curves
from analysis.drift import two_ends
from analysis.run import Run
from analysis.style import Sheet
from analysis.text import plural, quality, records, signed_percent

TITLE = "Quality over sessions"
READING = (
    "A point is NDCG@10 over the devices' first, second, ... session, of all devices that play it: later ones are of "
    "fewer devices. The bands are 95 % bootstrap intervals over devices. Sessions that fewer than 10 % of the devices "
    "reach are left out. In the differences the devices are "
    "paired, so what makes a session easy or hard for everybody cancels out; of the methods without a network the "
    "best is shown."
)


def data(run: Run) -> pd.DataFrame | None:
    """Columns :data:`curves.COLUMNS`, ``at`` being the number of the session from 1; None with one session only."""
    at = run.sessions["session"].astype("int64") + 1
    at = at[curves.enough(run.sessions, at)]
    return curves.along(run.sessions.loc[at.index], at, run.methods) if at.nunique() > 1 else None


def draw(frame: pd.DataFrame, sheet: Sheet) -> Figure:
    """NDCG@10, and beside it the difference to DeviceRec."""
    return sheet.figure(curves.quality_panels(sheet, frame, curves.session_axis))


def finding(run: Run, frame: pd.DataFrame) -> str:
    """Every method in the first session and in the last, on the devices that have both."""
    first, last = int(frame["at"].min()), int(frame["at"].max())
    table, devices = two_ends(run.sessions, run.sessions["session"] + 1, first, last)
    if not devices:
        return ""
    parts = [
        f"{run.title(row['method'])} {quality(row['old'])} to {quality(row['new'])} ({signed_percent(row['change'])})"
        for row in records(table.reindex(run.methods).rename_axis("method").reset_index())
    ]
    both = f"of the {plural(devices, 'device')} that have both"
    return f"From session {first} to session {last}, {both}: {'; '.join(parts)}."
