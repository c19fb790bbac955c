"""Quality over sessions: what each method achieves in a device's first, second, ... session."""

import pandas as pd
from matplotlib.figure import Figure

from analysis import style
from analysis.figures import bands
from analysis.loading import Run
from analysis.names import BASELINE

TITLE = "Quality over sessions"


def data(run: Run) -> pd.DataFrame | None:
    """Columns :data:`bands.COLUMNS`, ``at`` being the number of the session from 1; None with one session
    only."""
    at = run.sessions["session"].astype("int64") + 1
    kept = bands.enough(run.sessions, at)
    if at[kept].nunique() < 2:
        return None
    return bands.along(run.sessions[kept], at[kept], run.methods)


def draw(frame: pd.DataFrame) -> Figure:
    """NDCG@10, and beside it the difference to DeviceRec, which the devices' own ease does not blur."""
    others = frame[(frame["method"] != BASELINE) & frame["delta"].notna()]
    figure, axes = style.panels(1 if others.empty else 2)
    bands.draw(axes[0], frame, "ndcg@10", "low", "high")
    axes[0].set_ylabel("NDCG@10")
    titles = ["NDCG@10"]
    if not others.empty:
        bands.draw(axes[1], others, "delta", "delta_low", "delta_high")
        axes[1].axhline(0, color=style.LIGHT.muted, linewidth=1)
        axes[1].set_ylabel("difference in NDCG@10")
        titles.append("Difference to DeviceRec")
    for axis in axes:
        axis.set_xlabel("session of the device")
    style.letter(axes, titles)
    style.legend(figure, axes[0])
    return figure
