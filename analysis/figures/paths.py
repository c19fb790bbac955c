"""The paths that devices run most often."""

from functools import partial

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from analysis import style
from analysis.figures.block_usage import adaptive, num_blocks
from analysis.run import Run
from analysis.style import Panel, Sheet
from analysis.text import join, percent, plural, records

TITLE = "The most frequent paths"
READING = (
    "A row is a path: filled squares are blocks that run. The bar is its share of the served device-sessions, with "
    "their number in brackets."
)
MOST = 12
"""Paths shown per method."""


def data(run: Run) -> pd.DataFrame | None:
    """Columns ``method, rank, path, blocks, sessions, share, paths``; None if no method adapts its path.

    ``path`` is written as one digit per block, the first block first; ``paths`` is how many different ones
    there were.
    """
    frames = []
    for method in adaptive(run):
        mine = run.sessions.loc[(run.sessions["method"] == method) & (run.sessions["path"] != 0), "path"]
        frame = mine.value_counts().rename("sessions").rename_axis("mask").reset_index()
        frame = frame.sort_values(["sessions", "mask"], ascending=[False, True]).head(MOST).reset_index(drop=True)
        frame = frame.assign(
            method=method, rank=frame.index + 1, share=frame["sessions"] / len(mine), paths=mine.nunique()
        )
        frame["path"] = [format(int(mask), f"0{num_blocks(run)}b")[::-1] for mask in frame["mask"]]
        frame["blocks"] = [path.count("1") for path in frame["path"]]
        frames.append(frame[["method", "rank", "path", "blocks", "sessions", "share", "paths"]])
    return pd.concat(frames, ignore_index=True) if frames else None


def draw(frame: pd.DataFrame, sheet: Sheet) -> Figure:
    """A small matrix per method: a row is a path, a filled square a block that runs; its share on the
    right."""
    methods = frame["method"].unique().tolist()[:3]
    shown = frame[frame["method"].isin(methods)]
    panels = []
    for method, mine, look in sheet.each(shown):
        paths = int(mine["paths"].iloc[0])
        title = f"{sheet.title(method)}, {f'{len(mine)} of ' if len(mine) < paths else ''}{plural(paths, 'path')}"
        matrix = partial(_matrix, sheet, mine, look["color"], float(shown["share"].max()))
        panels.append(Panel(title, matrix, y="path, by frequency"))
    height = max(1.5, 0.75 + 0.19 * int(shown.groupby("method").size().max()))  # less cuts the label of the axis
    return sheet.figure(panels, height, most=max(2, len(methods)), legend=0)


def _matrix(sheet: Sheet, frame: pd.DataFrame, colour: str, longest: float, axis: Axes) -> None:
    """``longest`` is the share whose bar is as long as there is room for, the same in all panels."""
    length, bar = len(str(frame["path"].iloc[0])), 4.0
    for y, (path, share, count) in enumerate(zip(frame["path"], frame["share"], frame["sessions"], strict=True)):
        for k, used in enumerate(str(path)):
            face, edge = (colour, colour) if used == "1" else ("none", style.LIGHT.grid)
            axis.add_patch(Rectangle((k + 0.62, y - 0.38), 0.76, 0.76, facecolor=face, edgecolor=edge, linewidth=0.8))
        width = bar * share / longest
        axis.barh(y, width, 0.6, left=length + 1, color=colour, alpha=0.55)
        axis.text(length + 1.15 + width, y, f"{100 * share:.1f} %  ({count:,})", va="center", fontsize=6.5)
    axis.set_xlim(0.4, length + 1 + bar + (2.6 if sheet.narrow else 1.6))
    axis.set_ylim(len(frame) - 0.4, -0.6)
    axis.set_xticks(range(1, length + 1))
    axis.set_yticks(range(len(frame)), [str(rank) for rank in frame["rank"]])
    axis.set_xlabel("block", loc="left")
    axis.grid(visible=False)
    axis.tick_params(length=0)
    axis.spines[:].set_visible(False)


def finding(run: Run, frame: pd.DataFrame) -> str:
    """How many paths there are, and how frequent the first ones are."""
    texts = []
    for method, mine in frame.groupby("method", sort=False):
        first = records(mine)[0]
        blocks = join([str(k + 1) for k, used in enumerate(first["path"]) if used == "1"])
        texts.append(
            f"{run.title(str(method))}: devices ran {first['paths']:,} different paths of "
            f"{2 ** len(first['path']) - 1:,} possible ones. The most frequent one (blocks {blocks}) makes up "
            f"{percent(first['share'])}, the {len(mine)} shown {percent(mine['share'].sum())}."
        )
    return " ".join(texts)
