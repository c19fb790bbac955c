"""Figure 4, which blocks devices run, and Figure 5, what the compact constraint does to them."""

import itertools
import math

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from analysis import style
from analysis.captions import BACKBONES
from analysis.figures import block_usage
from analysis.reproduce import paper
from analysis.reproduce.options import OURS, Options
from analysis.reproduce.quality import facts, identity, measured, played
from analysis.reproduce.result import METRICS, Result, fill
from analysis.reproduce.runs import Runs
from analysis.style import Sheet

WEIGHTS = {"sasrec": (20_800, 0), "nextitnet": (24_704, 3_072)}
"""Of one block, and what is always there: what the paper's Param is made of."""


def usage(target: str, options: Options, runs: Runs) -> Result:
    """Figure 4; beside the mean number of blocks, the one that Table 1's Param implies."""
    frames, rows = [], []
    for backbone, method in itertools.product(options.backbones, options.adaptive):
        run = runs.play(backbone, method)
        whose = BACKBONES[backbone] if method == OURS else f"{BACKBONES[backbone]}, {run.title(method)}"
        frame = block_usage.data(run).assign(method=whose)
        frames.append(frame)
        about = identity(target, backbone, options) | played(run)
        before = "" if method == OURS else f"{run.title(method)}, "
        for row in frame.to_dict("records"):
            name, metric = f"{before}k = {row['block']}", {"selected": "selected", "blocks": "running"}[row["panel"]]
            rows.append({**about, "method": name, "metric": metric, "ours": 100 * row["share"]})
        mean = float(run.sessions.loc[run.sessions["method"] == method, "blocks"].mean())
        known = implied(backbone, options) if method == OURS else math.nan
        name = f"{before}mean number of blocks"
        rows.append({**about, "method": name, "metric": "blocks", "paper": known, "ours": mean})
    usage_frame = pd.concat(frames, ignore_index=True)
    return Result(
        target,
        block_usage.TITLE,
        fill(rows),
        [["selected", "running"], ["blocks"]],
        lambda sheet: block_usage.draw(usage_frame, sheet),
        facts(target, options, runs),
        titles=runs.titles,
    )


def implied(backbone: str, options: Options) -> float:
    """The mean number of blocks behind Table 1's Param; NaN for data the paper does not use."""
    known = paper.quality("table1").set_index(["backbone", "dataset", "method", "metric"])["paper"]
    bits = known.get((backbone, options.dataset, OURS, "param"), math.nan)
    block, always = WEIGHTS[backbone]
    return float((bits * 1e6 / 32 - always) / block)


def penalty(target: str, options: Options, runs: Runs) -> Result:
    """Figure 5: Forward-OFA trained with several lambdas."""
    rows: list[dict[str, object]] = []
    for backbone in options.backbones:
        for weight in options.penalties:
            run = runs.play(backbone, OURS, penalty=weight)
            about = identity(target, backbone, options) | played(run)
            rows += [
                {
                    **about,
                    **played(run),
                    "method": f"lambda {weight:g}",
                    "metric": metric,
                    "ours": mean,
                    "spread": spread,
                }
                for metric, (mean, spread) in measured(run, OURS).items()
            ]
    cells = fill(rows)
    return Result(
        target,
        "Influence of the compact constraint",
        cells,
        [["ndcg", "hit"], ["flops", "param"]],
        lambda sheet: _curves(cells, sheet),
        facts(target, options, runs),
        titles=runs.titles,
    )


def _curves(cells: pd.DataFrame, sheet: Sheet) -> Figure:
    """Four panels over lambda, one line a backbone; costs as a share of the whole network's."""
    figure, axes = sheet.panels(4, height=1.9, most=2)
    names = cells["method"].unique().tolist()
    colours = {"sasrec": style.LOOKS[OURS], "nextitnet": style.LOOKS["duet"]}
    for axis, metric in zip(axes, METRICS, strict=True):
        for backbone, part in cells[cells["metric"] == metric].groupby("backbone", sort=False):
            look = colours[str(backbone)]
            axis.errorbar(
                np.arange(len(part)),
                part["ours"],
                yerr=part["spread"].fillna(0.0),
                color=look.colour,
                marker=look.marker,
                label=BACKBONES[str(backbone)],
            )
        axis.set_xticks(range(len(names)), [name.removeprefix("lambda ") for name in names])
        axis.set_ylabel(METRICS[metric])
        axis.set_xlabel("λ")
    style.letter(axes, [METRICS[metric] for metric in METRICS])
    sheet.legend(figure, axes[0])
    return figure
