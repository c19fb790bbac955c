"""Quality against budget: device-sessions by how many multiply-accumulates of one inference they could afford."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis import curves, style
from analysis.run import Run
from analysis.style import Panel, Sheet
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
    """Columns :data:`curves.COLUMNS`, ``budget_macs_m`` and ``served``; None if fewer than two budgets bind.

    ``at`` numbers the budgets from the tightest. Device-sessions without a ceiling are left out.
    """
    rows = run.sessions[np.isfinite(run.sessions["budget_macs"].to_numpy(float)) & (run.sessions["budget_macs"] > 0)]
    octave = (STEP * np.log2(rows["budget_macs"])).round().astype("int64")
    kept = curves.enough(rows, octave, share=0.02)
    rows, at = rows[kept], octave[kept].rank(method="dense").astype("int64") - 1
    if at.nunique() < 2:
        return None
    served = rows["served"].groupby([rows["method"], at.rename("at")], observed=True).mean().reset_index()
    frame = curves.along(rows, at, run.methods)
    frame["budget_macs_m"] = frame["at"].map(rows["budget_macs"].groupby(at).median() / 1e6)
    return frame.merge(served, on=["method", "at"], how="left")


def draw(frame: pd.DataFrame, sheet: Sheet) -> Figure:
    """Quality (with bands over devices), its difference to DeviceRec where that was played, and who is served."""
    budgets = frame.groupby("at")["budget_macs_m"].first()
    shown = budgets.iloc[:: -(-len(budgets) // 6)]

    def name(axis: Axes) -> None:
        axis.set_xticks(shown.index.tolist(), [number(value, 2) for value in shown])
        axis.set_xlabel("affordable million MACs")

    def served(axis: Axes) -> None:
        for _, mine, arguments in sheet.each(frame):
            axis.plot(mine["at"], mine["served"], **arguments)
        style.shares(axis)
        name(axis)

    return sheet.figure([*curves.quality_panels(sheet, frame, name, named=False), Panel("Sessions served", served)])


def finding(run: Run, frame: pd.DataFrame) -> str:
    """Every method under the tightest budget and under the widest."""
    texts = []
    for at, where in ((frame["at"].min(), "tightest"), (frame["at"].max(), "widest")):
        rows = records(frame[(frame["at"] == at) & frame["ndcg@10"].notna()])
        parts = [f"{run.title(r['method'])} {quality(r['ndcg@10'])} ({percent(r['served'], 0)} served)" for r in rows]
        if parts:
            macs = number(rows[0]["budget_macs_m"])
            texts.append(f"With the {where} budget ({macs} million MACs): {'; '.join(parts)}.")
    return " ".join(texts)
