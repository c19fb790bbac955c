"""Quality over sessions: what each method achieves in a device's first, second, ... session."""

import pandas as pd
from matplotlib.figure import Figure

from analysis import curves
from analysis.run import Run
from analysis.stats import change
from analysis.style import Sheet
from analysis.text import quality, signed_percent

TITLE = "Quality over sessions"
READING = (
    "A point is NDCG@10 over the devices' first, second, ... session; the bands are 95 % bootstrap intervals over "
    "devices. Sessions that fewer than 10 % of the devices reach are left out. In the differences the devices are "
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
    """Every method in the first session and in the last."""
    first, last = int(frame["at"].min()), int(frame["at"].max())
    table = frame.pivot(index="method", columns="at", values="ndcg@10").loc[run.methods]
    parts = [
        f"{run.title(str(method))} {quality(old)} to {quality(new)} ({signed_percent(change(new, old))})"
        for method, old, new in zip(table.index, table[first], table[last], strict=True)
    ]
    return f"From session {first} to session {last}: {'; '.join(parts)}."
