"""Tables 1, 2, 3, 4 and 7: methods by their quality, and in Table 1 by what they cost."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis import captions, style
from analysis.reproduce import paper
from analysis.reproduce.options import OURS
from analysis.reproduce.result import METRICS, Job, Result, row_title
from analysis.reproduce.runs import machine
from analysis.run import Run
from analysis.stats import BASELINE, ratio
from analysis.style import Panel, Sheet
from analysis.text import join, plural

COSTS = ("flops", "param")
SAME_DATA = 0.01
"""By how much the number of interactions may differ from Table 6."""
SMALL = "table4"
"""The table whose baselines have a third of the blocks; Forward-OFA keeps its own."""


def reproduce(job: Job) -> Result:
    """Play the methods of a table on the backbones that were asked for, and compare."""
    table, options = paper.read(job.target), job.options
    printed = paper.quality(job.target)
    known = printed[printed["dataset"] == options.dataset].set_index(["backbone", "method", "metric"])["paper"]
    for backbone in options.backbones:
        for method in options.shown(table[backbone]):
            small = job.target == SMALL and method not in options.adaptive
            run = job.runs.play(backbone, method, small=small)
            for metric, (mean, spread) in measured(run, method).items():
                if metric in table["metrics"]:
                    theirs = known.get((backbone, method, metric), math.nan)
                    job.add(backbone, method, metric, mean, run, spread=spread, paper=theirs)
    add_improvements(job)
    groups = [[m for m in table["metrics"] if m not in COSTS], [m for m in table["metrics"] if m in COSTS]]
    return job.result([group for group in groups if group], draw, facts(job))


def measured(run: Run, method: str) -> dict[str, tuple[float, float]]:
    """Mean and standard deviation over seeds (NaN with one) of the paper's four metrics.

    Quality and multiply-accumulates are means over predictions, as everywhere; the size of the network is a mean over
    device-sessions. Costs are in millions, counted as the paper counts.
    """
    rows = run.sessions[run.sessions["method"] == method]
    sums = (
        rows.assign(macs=rows["macs_paper"] * rows["events"]).groupby("seed")[["ndcg", "hits", "macs", "events"]].sum()
    )
    frame = sums[["ndcg", "hits", "macs"]].div(sums["events"], axis=0)
    frame["param"] = rows.groupby("seed")["param_bits"].mean()
    frame[["macs", "param"]] /= 1e6
    values = zip(frame.mean().tolist(), frame.std(ddof=1).tolist(), strict=True)
    return dict(zip(METRICS, values, strict=True))


def add_improvements(job: Job) -> None:
    """Where the paper says how much better Forward-OFA is than DeviceRec: the same of our numbers."""
    cells = pd.DataFrame(job.rows)
    for (backbone, metric), part in cells.groupby(["backbone", "metric"], sort=False):
        by = part.set_index("method")[["ours", "paper"]].astype(float)
        if job.target in ("table1", SMALL) and {OURS, BASELINE} <= set(by.index):
            ours, theirs = (paper.improvement(by[c][OURS], by[c][BASELINE], str(metric)) for c in ("ours", "paper"))
            job.add(str(backbone), paper.IMPROVEMENT, str(metric), ours, paper=theirs)


def lengths(some: Sequence[Run]) -> list[int]:
    """Epochs of each training behind these runs, the shortest first."""
    return sorted(
        int(epochs)
        for run in some
        if len(run.training)
        for epochs in run.training.groupby(["method", "seed"]).epoch.max()
    )


def facts(job: Job) -> list[str]:
    """Protocol, machine and time of what was just played."""
    some = list(job.runs.used.values())
    first = some[0]
    chosen, count, epochs = first.options, captions.sizes(first), lengths(some)
    training = pd.concat([run.training for run in some]).drop_duplicates(["method", "seed", "epoch", "seconds"])
    played_with = [
        f"Protocol '{job.options.protocol}': {captions.dataset_title(first)}",
        captions.split(chosen, short=True),
        f"candidates: {captions.candidates(first)}, cut-off 10",
        f"{plural(count['devices'], 'device')}, {plural(count['events'] // count['seeds'], 'event')}",
        f"seed{'s' if count['seeds'] > 1 else ''} {join([str(seed) for seed in first.seeds])}",
        f"epochs: {' to '.join(str(e) for e in dict.fromkeys((epochs[0], epochs[-1]))) if epochs else 'none'}",
        f"networks: {join(list(dict.fromkeys(captions.backbone_title(run.options) for run in some)))}",
        f"context {chosen.get('context')}, {chosen.get('memory')} items to adapt from",
        f"the cloud trains on {'every user' if chosen.get('cloud_users') == 'all' else 'the simulated devices'}",
    ]
    said = ["; ".join(played_with) + "."]
    known, here = paper.statistics(job.options.dataset), first.config.get("data", {})
    if known and "interactions" in here and abs(ratio(here["interactions"], known[2]) - 1) >= SAME_DATA:
        said.append(
            f"The data are another release than the paper's, or filtered otherwise: {captions.data_line(first)} here; "
            f"{known[0]:,} users, {known[1]:,} items, {known[2]:,} interactions there."
        )
    if chosen.get("context") != paper.CONTEXT:
        said.append(
            f"Multiply-accumulates grow with the context: ours are of {chosen.get('context')} items, the paper's of "
            f"{paper.CONTEXT}."
        )
    spent = f"{job.runs.seconds:.0f} s for the runs behind it"
    logged = f"their training, as logged when it was done: {training['seconds'].sum():.0f} s"
    return [*said, f"Machine: {machine()}; {spent}; {logged}."]


def draw(cells: pd.DataFrame, sheet: Sheet) -> Figure:
    """The paper's numbers and ours, one panel for each backbone and metric."""
    shown = cells[cells["method"] != paper.IMPROVEMENT]
    wide = min(shown["metric"].nunique(), 2)
    panels = []
    for place, ((backbone, metric), part) in enumerate(shown.groupby(["backbone", "metric"], sort=False)):

        def points(axis: Axes, part: pd.DataFrame = part, named: bool = place % wide == 0) -> None:
            at = np.arange(len(part))
            hollow: dict[str, Any] = {"marker": "o", "facecolors": "none", "edgecolors": style.LIGHT.ink, "zorder": 3}
            known = part["paper"].notna().to_numpy()
            axis.scatter(part["paper"][known], at[known], label="paper", **hollow)
            for y, (_, mine, look) in enumerate(sheet.each(part)):
                line: dict[str, Any] = {
                    "marker": look["marker"],
                    "color": look["color"],
                    "linestyle": "none",
                    "zorder": 2,
                }
                label = "ours" if y == at[-1] else None
                axis.errorbar(mine["ours"], [y], xerr=mine["spread"].fillna(0.0), label=label, **line)
            names = [row_title(method, sheet.titles) for method in part["method"]]
            axis.set_yticks(at, names if named else [])
            axis.set_ylim(len(part) - 0.5, -0.5)
            axis.margins(x=0.1)

        panels.append(Panel(captions.BACKBONES[str(backbone)], points, x=METRICS[str(metric)]))
    return sheet.figure(panels, height=0.9 + 0.2 * shown["method"].nunique(), most=wide, lettered=False)
