"""Block usage of each kind of device and of each phase of drift."""

from functools import partial

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from analysis.figures.block_usage import adaptive, block_shares, num_blocks
from analysis.run import Run
from analysis.style import Panel, Sheet
from analysis.text import join
from core.schema import PHASES

TITLE = "Block usage by kind of device and by phase"
READING = (
    "A cell is the share of the group's device-sessions that run the block, in percent; device-sessions that could "
    "not be served are not counted."
)
_WORDS = {"tier": "kind of device", "phase": "phase"}


def data(run: Run) -> pd.DataFrame | None:
    """Columns ``method, by, group, sessions, blocks, block, share``; None without adaptive methods or without
    groups.

    One row per method, group (a tier or a phase) and block; ``blocks`` is the group's mean number of blocks.
    """
    length, rows = num_blocks(run), []
    for method in adaptive(run):
        mine = run.sessions[(run.sessions["method"] == method) & (run.sessions["path"] != 0)]
        for by, order in (("tier", run.tiers), ("phase", PHASES)):
            groups = [(name, mine[mine[by] == name]) for name in order if (mine[by] == name).any()]
            for name, group in groups if len(groups) > 1 else []:
                for k, share in enumerate(block_shares(group["path"], length)):
                    rows.append((method, by, name, len(group), group["blocks"].mean(), k + 1, share))
    columns = ["method", "by", "group", "sessions", "blocks", "block", "share"]
    return pd.DataFrame(rows, columns=columns) if rows else None


def draw(frame: pd.DataFrame, sheet: Sheet) -> Figure:
    """A heat map per method and grouping, the shares written into it."""
    several = frame["method"].nunique() > 1
    panels, most = [], 0
    for method, mine, look in sheet.each(frame):
        for by, part in mine.groupby("by", sort=False):
            title = f"By {_WORDS[str(by)]}" + (f", {sheet.title(method)}" if several else "")
            panels.append(Panel(title, partial(_heat, part, look["color"]), "block (% of device-sessions that run it)"))
            most = max(most, part["group"].nunique()) if len(panels) <= 4 else most
    return sheet.figure(panels[:4], height=0.95 + 0.27 * most, most=2, legend=0)


def _heat(frame: pd.DataFrame, colour: str, axis: Axes) -> None:
    groups = frame["group"].unique().tolist()
    shares = frame.pivot(index="group", columns="block", values="share").reindex(groups)
    means = frame.groupby("group")["blocks"].first()
    for y, group in enumerate(groups):
        for x, share in enumerate(shares.loc[group].tolist()):
            corner = (x - 0.48, y - 0.46)
            axis.add_patch(Rectangle(corner, 0.96, 0.92, facecolor=colour, alpha=0.08 + 0.72 * share, linewidth=0))
            size = 5.5 if shares.shape[1] > 8 else 6.5
            axis.text(x, y, f"{100 * share:.0f}", ha="center", va="center", fontsize=size)
    axis.set_xlim(-0.5, shares.shape[1] - 0.5)
    axis.set_ylim(len(groups) - 0.5, -0.5)
    axis.set_xticks(range(shares.shape[1]), [str(block) for block in shares.columns])
    axis.set_yticks(range(len(groups)), [f"{group}\nmean {means[group]:.2f}" for group in groups])
    axis.grid(visible=False)
    axis.tick_params(length=0)
    axis.spines[:].set_visible(False)


def finding(run: Run, frame: pd.DataFrame) -> str:
    """The mean number of blocks of each group."""
    texts = []
    for (method, by), part in frame[frame["block"] == 1].groupby(["method", "by"], sort=False):
        groups = [f"{mean:.2f} ({name})" for name, mean in zip(part["group"], part["blocks"], strict=True)]
        texts.append(f"Mean number of blocks of {run.title(str(method))} by {_WORDS[str(by)]}: {join(groups)}.")
    return " ".join(texts)
