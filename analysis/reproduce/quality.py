"""Tables 1, 2, 3, 4 and 7: methods by their quality, and in Table 1 by what they cost."""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from analysis import captions, style
from analysis.reproduce import paper
from analysis.reproduce.options import OURS, Options
from analysis.reproduce.result import METRICS, Result, fill, row_title
from analysis.reproduce.runs import Runs, machine
from analysis.run import Run
from analysis.stats import BASELINE, ratio
from analysis.style import Sheet
from analysis.text import join, plural

COSTS = ("flops", "param")
SAME_DATA = 0.01
"""By how much the number of interactions may differ from Table 6."""
SMALL = "table4"
"""The table whose baselines have a third of the blocks; Forward-OFA keeps its own."""


def reproduce(target: str, options: Options, runs: Runs) -> Result:
    """Play the methods of a table on the backbones that were asked for, and compare."""
    rows: list[dict[str, object]] = []
    for backbone in options.backbones:
        for method in [*paper.methods(target), *options.also]:
            run = runs.play(backbone, method, small=target == SMALL and method not in options.adaptive)
            rows += [
                {
                    "backbone": backbone,
                    "method": method,
                    "metric": metric,
                    "ours": mean,
                    "spread": spread,
                    **played(run),
                }
                for metric, (mean, spread) in measured(run, method).items()
                if metric in paper.metrics(target)
            ]
    cells = compare(target, options, pd.DataFrame(rows))
    groups = [[m for m in paper.metrics(target) if m not in COSTS], [m for m in paper.metrics(target) if m in COSTS]]
    return Result(
        target,
        paper.title(target),
        cells,
        [group for group in groups if group],
        lambda sheet: draw(cells, sheet),
        facts(target, options, runs),
        titles=runs.titles,
    )


def measured(run: Run, method: str) -> dict[str, tuple[float, float]]:
    """Mean and standard deviation over seeds (NaN with one) of the paper's four metrics.

    Quality and multiply-accumulates are means over predictions, as everywhere; the size of the network is a mean over
    device-sessions. Costs are in millions, counted as the paper counts.
    """
    values = []
    for _, rows in run.sessions[run.sessions["method"] == method].groupby("seed"):
        events = rows["events"].to_numpy(float)
        values.append(
            (
                ratio(rows["ndcg"].sum(), events.sum()),
                ratio(rows["hits"].sum(), events.sum()),
                ratio(rows["macs_paper"].to_numpy(float) @ events, events.sum()) / 1e6,
                rows["param_bits"].mean() / 1e6,
            )
        )
    table = np.array(values, dtype=float)
    spread = table.std(axis=0, ddof=1) if len(table) > 1 else np.full(len(METRICS), math.nan)
    return {name: (float(table[:, i].mean()), float(spread[i])) for i, name in enumerate(METRICS)}


def compare(target: str, options: Options, ours: pd.DataFrame) -> pd.DataFrame:
    """The cells: the paper's numbers for this data set (none for data it does not use) beside ours, and improvements.

    ``ours`` has the columns ``backbone, method, metric, ours, spread`` and those of :func:`played`.
    """
    known = paper.quality(target)
    known = known[known["dataset"] == options.dataset].drop(columns="dataset")
    joined = ours.merge(known, on=["backbone", "method", "metric"], how="left")
    rows: list[dict[str, object]] = [{str(k): v for k, v in row.items()} for row in joined.to_dict("records")]
    for (backbone, metric), part in joined.groupby(["backbone", "metric"], sort=False):
        by = part.set_index("method")
        if target in ("table1", SMALL) and OURS in by.index:
            row: dict[str, object] = {"backbone": backbone, "method": paper.IMPROVEMENT, "metric": metric}
            for column in ("ours", "paper"):
                values = by[column].astype(float)
                row[column] = paper.improvement(values[OURS], values[BASELINE], str(metric))
            rows.append(row)
    return fill([{**identity(target, str(row["backbone"]), options), **row} for row in rows])


def identity(target: str, backbone: str, options: Options) -> dict[str, object]:
    """Where a cell belongs."""
    name = options.dataset if options.dataset in captions.DATASETS else Path(options.dataset).name
    return {"table": target, "backbone": backbone, "dataset": name, "protocol": options.protocol}


def played(run: Run) -> dict[str, object]:
    """The protocol columns of a cell."""
    count, training = captions.sizes(run), run.training
    return {
        "devices": count["devices"],
        "events": count["events"] // count["seeds"],
        "candidates": run.config.get("data", {}).get("items"),
        "seeds": count["seeds"],
        "epochs": int(training["epoch"].max()) if len(training) else math.nan,
        "context": run.options.get("context"),
        "memory": run.options.get("memory"),
        "blocks": run.options.get("blocks"),
    }


def lengths(some: Sequence[Run]) -> list[int]:
    """Epochs of each training behind these runs, the shortest first."""
    return sorted(
        int(epochs)
        for run in some
        if len(run.training)
        for epochs in run.training.groupby(["method", "seed"]).epoch.max()
    )


def facts(target: str, options: Options, runs: Runs) -> list[str]:
    """Protocol, machine, time and command of what was just played."""
    some = list(runs.used.values())
    first = some[0]
    chosen, count = first.options, captions.sizes(first)
    training = pd.concat([run.training for run in some]).drop_duplicates(["method", "seed", "epoch", "seconds"])
    epochs = lengths(some)
    cloud = "every user" if chosen.get("cloud_users") == "all" else "the simulated devices"
    played_with = [
        f"Protocol '{options.protocol}': {captions.dataset_title(first)}",
        captions.split(chosen, short=True),
        f"candidates: {captions.candidates(first)}, cut-off 10",
        f"{plural(count['devices'], 'device')}, {plural(count['events'] // count['seeds'], 'event')}",
        f"seed{'s' if count['seeds'] > 1 else ''} {join([str(seed) for seed in first.seeds])}",
        f"epochs: {' to '.join(str(e) for e in dict.fromkeys((epochs[0], epochs[-1]))) if epochs else 'none'}",
        f"networks: {join(list(dict.fromkeys(captions.backbone_title(run.options) for run in some)))}",
        f"context {chosen.get('context')}, {chosen.get('memory')} items to adapt from",
        f"the cloud trains on {cloud}",
    ]
    return [
        "; ".join(played_with) + ".",
        *other_data(options.dataset, first),
        *other_context(first),
        f"Machine: {machine()}; {runs.seconds:.0f} s for the runs behind it; their training, as "
        f"logged when it was done: {training['seconds'].sum():.0f} s.",
        f"Command: {options.command(target)}",
    ]


def other_data(dataset: str, run: Run) -> list[str]:
    """A line that says so if these are not the paper's data, although they go by the same name."""
    known, here = paper.statistics(dataset), run.config.get("data", {})
    if known is None or "interactions" not in here or abs(ratio(here["interactions"], known[2]) - 1) < SAME_DATA:
        return []
    return [
        f"The data are another release than the paper's, or filtered otherwise: {captions.data_line(run)} here; "
        f"{known[0]:,} users, {known[1]:,} items, {known[2]:,} interactions there."
    ]


def other_context(run: Run) -> list[str]:
    """A line that says so if computing is not counted at the paper's context."""
    context = run.options.get("context")
    if context == paper.CONTEXT:
        return []
    return [f"Multiply-accumulates grow with the context: ours are of {context} items, the paper's of {paper.CONTEXT}."]


def draw(cells: pd.DataFrame, sheet: Sheet) -> Figure:
    """The paper's numbers and ours, one panel for each backbone and metric."""
    shown = cells[cells["method"] != paper.IMPROVEMENT]
    places = list(shown.groupby(["backbone", "metric"], sort=False))
    metrics = shown["metric"].nunique()
    count = shown["method"].nunique()
    figure, axes = sheet.panels(len(places), height=0.9 + 0.2 * count, most=min(metrics, 2))
    for place, (axis, ((backbone, metric), part)) in enumerate(zip(axes, places, strict=True)):
        methods = part["method"].tolist()
        at = np.arange(len(methods))
        known = part["paper"].notna().to_numpy()
        axis.scatter(
            part["paper"][known],
            at[known],
            marker="o",
            facecolors="none",
            edgecolors=style.LIGHT.ink,
            label="paper",
            zorder=3,
        )
        for y, method, ours, spread in zip(at, methods, part["ours"], part["spread"].fillna(0.0), strict=True):
            look = sheet.looks(methods)[method]
            axis.errorbar(
                ours, y, xerr=spread, marker=look.marker, color=look.colour, linestyle="none", zorder=2,
                label="ours" if y == len(methods) - 1 else None,
            )  # fmt: skip
        axis.set_yticks(
            at, [row_title(method, sheet.titles) for method in methods] if place % min(metrics, 2) == 0 else []
        )
        axis.set_ylim(len(methods) - 0.5, -0.5)
        axis.set_xlabel(METRICS[str(metric)])
        axis.margins(x=0.1)
        axis.set_title(captions.BACKBONES[str(backbone)], loc="left")
    sheet.legend(figure, axes[0])
    return figure
