"""Quality over sessions: what each method achieves in a device's first, second, ... session."""

import pandas as pd
from matplotlib.figure import Figure

from analysis import style
from analysis.plots import bands
from analysis.run import Run
from analysis.stats import BASELINE, change
from analysis.style import Sheet
from analysis.text import quality, signed_percent

TITLE = "Quality over sessions"
READING = (
    "A point is NDCG@10 over the devices' first, second, ... session; the bands are 95 % bootstrap intervals over "
    "devices. Sessions that fewer than 10 % of the devices reach are left out. In the differences the devices are "
    "paired, so what makes a session easy or hard for everybody cancels out."
)


def data(run: Run) -> pd.DataFrame | None:
    """Columns :data:`bands.COLUMNS`, ``at`` being the number of the session from 1; None with one session
    only."""
    at = run.sessions["session"].astype("int64") + 1
    kept = bands.enough(run.sessions, at)
    if at[kept].nunique() < 2:
        return None
    return bands.along(run.sessions[kept], at[kept], run.methods)


def draw(frame: pd.DataFrame, sheet: Sheet) -> Figure:
    """NDCG@10, and beside it the difference to DeviceRec, which the devices' own ease does not blur."""
    others = frame[(frame["method"] != BASELINE) & frame["delta"].notna()]
    figure, axes = sheet.panels(1 if others.empty else 2)
    bands.draw(axes[0], sheet, frame, "ndcg@10", "low", "high")
    axes[0].set_ylabel("NDCG@10")
    titles = ["NDCG@10"]
    if not others.empty:
        bands.draw(axes[1], sheet, others, "delta", "delta_low", "delta_high")
        axes[1].axhline(0, color=style.LIGHT.muted, linewidth=1)
        axes[1].set_ylabel("difference in NDCG@10")
        titles.append("Difference to DeviceRec")
    for axis in axes:
        axis.set_xlabel("session of the device")
    style.letter(axes, titles)
    sheet.legend(figure, axes[0])
    return figure


def finding(run: Run, frame: pd.DataFrame) -> str:
    """Every method in the first session and in the last."""
    first, last = int(frame["at"].min()), int(frame["at"].max())
    parts = []
    for method in run.methods:
        mine = frame[frame["method"] == method].set_index("at")["ndcg@10"]
        text = signed_percent(change(mine[last], mine[first]))
        parts.append(f"{run.title(method)} {quality(mine[first])} to {quality(mine[last])} ({text})")
    return f"From session {first} to session {last}: {'; '.join(parts)}."
