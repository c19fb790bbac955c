"""Quality against budget: device-sessions by how many multiply-accumulates of one inference they could afford."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis import style
from analysis.plots import bands
from analysis.run import Run
from analysis.stats import BASELINE
from analysis.style import Sheet
from analysis.text import number, percent, quality, records

TITLE = "Quality against budget"
READING = (
    "Device-sessions by the multiply-accumulates of one inference that their latency target allowed on that day, busy "
    "or idle; the tightest budgets are on the left. Bands are 95 % bootstrap intervals over devices; in the "
    "differences devices are paired."
)
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


def draw(frame: pd.DataFrame, sheet: Sheet) -> Figure:
    """Quality (with bands over devices), its difference to DeviceRec where that was played, and who is served."""
    compared = frame[frame["delta"].notna() & (frame["method"] != BASELINE)]
    figure, axes = sheet.panels(2 if compared.empty else 3, height=2.7)
    bands.draw(axes[0], sheet, frame, "ndcg@10", "low", "high")
    titles = ["NDCG@10"]
    if not compared.empty:
        bands.draw(axes[1], sheet, compared, "delta", "delta_low", "delta_high")
        axes[1].axhline(0, color=style.LIGHT.muted, linewidth=1)
        titles.append("Difference to DeviceRec")
    for method, look in sheet.looks(frame["method"].unique().tolist()).items():
        mine = frame[frame["method"] == method]
        axes[-1].plot(mine["at"], mine["served"], **sheet.line(method, look))
    style.percent_axis(axes[-1])
    axes[-1].set_ylim(-0.04, 1.06)
    for axis in axes:
        _budgets(axis, frame)
    style.letter(axes, [*titles, "Sessions served"])
    sheet.legend(figure, axes[0])
    return figure


def _budgets(axis: Axes, frame: pd.DataFrame) -> None:
    budgets = frame.groupby("at")["budget_macs_m"].first()
    every = -(-len(budgets) // 6)
    shown = budgets.iloc[::every]
    axis.set_xticks(shown.index.tolist(), [number(value, 2) for value in shown])
    axis.set_xlabel("affordable million MACs")


def finding(run: Run, frame: pd.DataFrame) -> str:
    """Every method under the tightest budget and under the widest."""
    texts = []
    for at, where in ((frame["at"].min(), "tightest"), (frame["at"].max(), "widest")):
        rows = records(frame[(frame["at"] == at) & frame["ndcg@10"].notna()])
        parts = [
            f"{run.title(row['method'])} {quality(row['ndcg@10'])} ({percent(row['served'], 0)} served)" for row in rows
        ]
        if parts:
            texts.append(
                f"With the {where} budget ({number(rows[0]['budget_macs_m'])} million MACs): {'; '.join(parts)}."
            )
    return " ".join(texts)
