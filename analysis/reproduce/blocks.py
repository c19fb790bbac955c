"""Figure 4, which blocks devices run, and Figure 5, what the compact constraint does to them."""

import itertools
import math
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis import style
from analysis.captions import BACKBONES
from analysis.figures import block_usage
from analysis.reproduce import paper
from analysis.reproduce.options import OURS
from analysis.reproduce.quality import facts, measured
from analysis.reproduce.result import METRICS, Job, Result
from analysis.style import Panel, Sheet
from analysis.text import records

WEIGHTS = {"sasrec": (20_800, 0), "nextitnet": (24_704, 3_072)}
"""Of one block, and what is always there: what the paper's Param is made of."""


def usage(job: Job) -> Result:
    """Figure 4; beside the mean number of blocks, the one that Table 1's Param implies."""
    frames = []
    for backbone, method in itertools.product(job.options.backbones, job.options.adaptive):
        run = job.runs.play(backbone, method)
        ours = method == OURS
        frame = block_usage.data(run)
        whose = BACKBONES[backbone] if ours else f"{BACKBONES[backbone]}, {run.title(method)}"
        frames.append(frame.assign(method=whose))
        before = "" if ours else f"{run.title(method)}, "
        for row in records(frame):
            metric = {"selected": "selected", "blocks": "running"}[row["panel"]]
            job.add(backbone, f"{before}k = {row['block']}", metric, 100 * row["share"], run)
        mean = float(run.sessions.loc[run.sessions["method"] == method, "blocks"].mean())
        known = implied(backbone, job.options.dataset) if ours else math.nan
        job.add(backbone, f"{before}mean number of blocks", "blocks", mean, run, paper=known)
    whole = pd.concat(frames, ignore_index=True)
    groups = [["selected", "running"], ["blocks"]]
    return job.result(groups, lambda _, sheet: block_usage.draw(whole, sheet), facts(job), block_usage.TITLE)


def implied(backbone: str, dataset: str) -> float:
    """The mean number of blocks behind Table 1's Param; NaN for data the paper does not use."""
    known = paper.quality("table1").set_index(["backbone", "dataset", "method", "metric"])["paper"]
    bits = known.get((backbone, dataset, OURS, "param"), math.nan)
    block, always = WEIGHTS[backbone]
    return float((bits * 1e6 / 32 - always) / block)


def penalty(job: Job) -> Result:
    """Figure 5: Forward-OFA trained with several lambdas."""
    weights = [float(weight) for weight in job.options.penalties.split(",")]
    for backbone, weight in itertools.product(job.options.backbones, weights):
        run = job.runs.play(backbone, OURS, penalty=weight)
        for metric, (mean, spread) in measured(run, OURS).items():
            job.add(backbone, f"lambda {weight:g}", metric, mean, run, spread=spread)
    return job.result([["ndcg", "hit"], ["flops", "param"]], _curves, facts(job), "Influence of the compact constraint")


def _curves(cells: pd.DataFrame, sheet: Sheet) -> Figure:
    """Four panels over lambda, one line a backbone; costs as a share of the whole network's."""
    names = [name.removeprefix("lambda ") for name in cells["method"].unique()]
    looks = {"sasrec": style.LOOKS[OURS], "nextitnet": style.LOOKS["duet"]}

    def lines(metric: str, axis: Axes) -> None:
        for backbone, part in cells[cells["metric"] == metric].groupby("backbone", sort=False):
            look: dict[str, Any] = {"color": looks[str(backbone)].colour, "marker": looks[str(backbone)].marker}
            bars, label = part["spread"].fillna(0.0), BACKBONES[str(backbone)]
            axis.errorbar(np.arange(len(part)), part["ours"], yerr=bars, label=label, **look)
        axis.set_xticks(range(len(names)), names)

    panels = [Panel(title, partial(lines, metric), "λ", title) for metric, title in METRICS.items()]
    return sheet.figure(panels, height=1.9, most=2)
