"""Table 1 epoch by epoch: after how many epochs a method of ours has the paper's NDCG@10.

The paper trains all methods for equally many epochs and does not say how many. Validation items stand for the test
items here: the second last item of each user, ranked after every epoch.
"""

import math
from functools import partial
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis import style
from analysis.captions import BACKBONES
from analysis.reproduce import paper
from analysis.reproduce.quality import facts
from analysis.reproduce.result import EPOCH, Job, Result
from analysis.style import Panel, Sheet
from core.errors import UserError

TABLE = "table1"
QUALITY = "valid_ndcg@10"
TITLE = "Validation NDCG@10 after each epoch, beside the paper's test NDCG@10"


def reproduce(job: Job) -> Result:
    """Read the trainings of Table 1's methods; play those that are not there yet.

    Raises :class:`UserError` if none of the methods that are wanted is trained.
    """
    printed = paper.quality(TABLE)
    printed = printed[(printed["dataset"] == job.options.dataset) & (printed["metric"] == "ndcg")]
    known = printed.set_index(["backbone", "method"])["paper"]
    for backbone in job.options.backbones:
        for method in job.options.shown(paper.read(TABLE)[backbone]):
            run = job.runs.play(backbone, method)
            mine = run.training[run.training["method"] == method]
            if mine.empty:
                continue  # it deploys another method's model
            curve = mine.groupby("epoch")[QUALITY].mean()
            theirs = float(known.get((backbone, method), math.nan))
            for epoch, found in curve.items():
                job.add(backbone, method, EPOCH, float(found), run, epochs=epoch)
            job.add(backbone, method, "final", float(curve.iloc[-1]), run, paper=theirs)
            job.add(backbone, method, "best", float(curve.max()), run)
            job.add(backbone, method, "best-epoch", first_epoch(curve, float(curve.max())), run)
            job.add(backbone, method, "reached", first_epoch(curve, theirs), run)
    if not job.rows:
        raise UserError(f"--methods {job.options.methods}: none of them trains a model of its own")
    return job.result([["final", "best", "best-epoch", "reached"]], draw, facts(job), TITLE)


def first_epoch(curve: pd.Series, least: float) -> float:
    """The first epoch, the index of ``curve``, whose value is at least ``least``; NaN if there is none."""
    enough = curve.index[curve >= least]
    return float(enough[0]) if len(enough) else math.nan


def draw(cells: pd.DataFrame, sheet: Sheet) -> Figure:
    """One panel a backbone: a curve a method, and a line of its colour where the paper's number is."""

    def curves(part: pd.DataFrame, axis: Axes) -> None:
        finals = part[part["metric"] == "final"].set_index("method")["paper"]
        for method, mine, look in sheet.each(part[part["metric"] == EPOCH]):
            axis.plot(mine["epochs"], mine["ours"], **look)
            line: dict[str, Any] = {"color": look["color"], "linestyle": look["linestyle"], "linewidth": 0.8}
            if math.isfinite(finals[method]):
                axis.axhline(finals[method], alpha=0.6, **line)
        style.whole_numbers(axis)

    panels = [
        Panel(
            f"{BACKBONES[str(backbone)]} (thin lines: the paper)", partial(curves, part), "epoch", "validation NDCG@10"
        )
        for backbone, part in cells.groupby("backbone", sort=False)
    ]
    return sheet.figure(panels, height=3.2, most=2)
