"""Quality against budget: device-sessions by how many multiply-accumulates of one inference they could afford."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis import style
from analysis.figures import bands
from analysis.loading import Run
from analysis.names import number

TITLE = "Quality against budget"
STEP = 2
"""Steps of the horizontal axis in an octave: budgets that differ by less than a fifth are taken together."""


def data(run: Run) -> pd.DataFrame | None:
    """Columns :data:`bands.COLUMNS`, ``budget_macs_m`` and ``served``; None if fewer than two budgets bind.

    ``at`` numbers the budgets from the tightest. Device-sessions without a ceiling are left out.
    """
    rows = run.sessions[np.isfinite(run.sessions["budget_macs"].to_numpy(float)) & (run.sessions["budget_macs"] > 0)]
    if rows.empty:
        return None
    octave = (STEP * np.log2(rows["budget_macs"])).round().astype("int64")
    kept = bands.enough(rows, octave, share=0.02)
    rows, octave = rows[kept], octave[kept]
    steps = sorted(octave.unique())
    if len(steps) < 2:
        return None
    at = octave.map({step: i for i, step in enumerate(steps)})
    frame = bands.along(rows, at, run.methods)
    budgets = rows["budget_macs"].groupby(at).median() / 1e6
    served = rows["served"].groupby([rows["method"], at], observed=True).mean()
    served.index = served.index.set_names(["method", "at"])
    frame["budget_macs_m"] = frame["at"].map(budgets)
    return frame.merge(served.rename("served").reset_index(), on=["method", "at"], how="left")


def draw(frame: pd.DataFrame) -> Figure:
    """Quality (with bands over devices), its difference to DeviceRec where that was played, and who is served."""
    compared = frame[frame["delta"].notna() & (frame["method"] != "devicerec")]
    figure, axes = style.panels(2 if compared.empty else 3, height=2.7)
    bands.draw(axes[0], frame, "ndcg@10", "low", "high")
    titles = ["NDCG@10"]
    if not compared.empty:
        bands.draw(axes[1], compared, "delta", "delta_low", "delta_high")
        axes[1].axhline(0, color=style.LIGHT.muted, linewidth=1)
        titles.append("Difference to DeviceRec")
    for method, look in style.looks(frame["method"].unique().tolist()).items():
        mine = frame[frame["method"] == method]
        axes[-1].plot(mine["at"], mine["served"], **style.line(method, look))
    style.percent_axis(axes[-1])
    axes[-1].set_ylim(-0.04, 1.06)
    for axis in axes:
        _budgets(axis, frame)
    style.letter(axes, [*titles, "Sessions served"])
    style.legend(figure, axes[0])
    return figure


def _budgets(axis: Axes, frame: pd.DataFrame) -> None:
    budgets = frame.groupby("at")["budget_macs_m"].first()
    every = -(-len(budgets) // 6)
    shown = budgets.iloc[::every]
    axis.set_xticks(shown.index.tolist(), [number(value, 2) for value in shown])
    axis.set_xlabel("affordable million MACs")
