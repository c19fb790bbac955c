"""Figure 4 of the paper: how often each block is selected, and how many devices run how many blocks."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis import style
from analysis.run import Run
from analysis.style import Sheet
from analysis.text import percent

TITLE = "Block usage"
READING = (
    "(a) In how many device-sessions each block ran. (b) How many devices ran how many blocks; a device whose number "
    "changes from session to session counts in parts. Both are means over seeds."
)


def adaptive(run: Run) -> list[str]:
    """The methods whose devices do not all run the same blocks (where they run a network at all)."""
    ran = run.sessions[run.sessions["path"] != 0]
    kinds = ran.groupby("method")["path"].nunique()
    return [method for method in run.methods if kinds.get(method, 0) > 1]


def num_blocks(run: Run) -> int:
    """Blocks of the backbone."""
    seen = int(run.sessions["path"].max()).bit_length()
    return max(int(run.options.get("blocks", seen) or seen), seen, 1)


def block_shares(path: pd.Series, blocks: int) -> np.ndarray:
    """The share of ``path`` (bit masks) that holds each block, ``(blocks,)``."""
    masks = path.to_numpy(np.int64)[:, None] >> np.arange(blocks)
    return np.asarray((masks & 1).mean(axis=0))


def data(run: Run) -> pd.DataFrame:
    """Columns ``panel, method, block, count, share``; the adaptive methods, or all if none adapts.

    Panel `selected`: block 1 .. L, the device-sessions that ran it, and their share. Panel `blocks`: number
    of blocks 0 .. L and how many devices ran that many; a device whose number changes counts in parts, by its
    sessions. Both are means over the seeds.
    """
    blocks, seeds = num_blocks(run), len(run.seeds)
    rows = []
    for method in adaptive(run) or run.methods:
        mine = run.sessions[run.sessions["method"] == method]
        shares = block_shares(mine["path"], blocks)
        for k in range(blocks):
            rows.append(("selected", method, k + 1, shares[k] * len(mine) / seeds, shares[k]))
        weight = 1 / mine.groupby(["seed", "device"])["session"].transform("size")
        devices = weight.groupby(mine["blocks"]).sum() / seeds
        total = float(devices.sum())
        for k in range(0 if devices.get(0, 0.0) > 0 else 1, blocks + 1):
            count = float(devices.get(k, 0.0))
            rows.append(("blocks", method, k, count, count / total))
    return pd.DataFrame(rows, columns=["panel", "method", "block", "count", "share"])


def draw(frame: pd.DataFrame, sheet: Sheet) -> Figure:
    """Two panels of bars, one colour and hatch per method."""
    figure, axes = sheet.panels(2)
    _bars(axes[0], sheet, frame[frame["panel"] == "selected"])
    _bars(axes[1], sheet, frame[frame["panel"] == "blocks"])
    style.letter(axes, ["How often each block is selected", "How many blocks devices run"])
    axes[0].set_xlabel("block")
    axes[0].set_ylabel("device-sessions that run it")
    axes[1].set_xlabel("number of blocks")
    axes[1].set_ylabel("devices")
    sheet.legend(figure, axes[0])
    return figure


_HATCHES = ("", "////", "....", "\\\\\\\\", "xxxx")


def _bars(axis: Axes, sheet: Sheet, frame: pd.DataFrame) -> None:
    methods = frame["method"].unique().tolist()
    looks = sheet.looks(methods)
    width = 0.78 / len(methods)
    for i, method in enumerate(methods):
        mine = frame[frame["method"] == method]
        place = mine["block"].to_numpy(float) + (i - (len(methods) - 1) / 2) * width
        bars = axis.bar(
            place,
            mine["count"],
            width * 0.94,
            color=looks[method].colour,
            edgecolor=style.LIGHT.paper,
            hatch=_HATCHES[i % len(_HATCHES)],
            linewidth=0,
            label=sheet.title(method),
        )
        if len(methods) * len(mine) <= (14 if len(methods) == 1 else 8):
            labels = [f"{100 * share:.0f}%" for share in mine["share"]]
            axis.bar_label(bars, labels, padding=1.5, fontsize=6.5, color=style.LIGHT.muted)
    axis.set_xticks(sorted(frame["block"].unique()))
    axis.grid(axis="x", visible=False)
    axis.margins(y=0.1)


def finding(run: Run, frame: pd.DataFrame) -> str:
    """The most and the least frequent block of each method, and how many blocks run."""
    methods = adaptive(run)
    if not methods:
        return f"No method of this run adapts its path: whoever is served runs all {num_blocks(run)} blocks."
    texts = []
    for method in methods:
        mine = frame[(frame["method"] == method) & (frame["panel"] == "selected")].set_index("block")["share"]
        shares, all_of_them = dict(zip(mine.index.tolist(), mine.tolist(), strict=True)), num_blocks(run)
        most, least = max(shares, key=shares.__getitem__), min(shares, key=shares.__getitem__)
        counts = frame[(frame["method"] == method) & (frame["panel"] == "blocks")]
        mean = (counts["block"] * counts["share"]).sum()
        whole = float(counts.loc[counts["block"] == all_of_them, "share"].sum())
        texts.append(
            f"{run.title(method)}: block {most} is selected most often ({percent(shares[most])} of the "
            f"device-sessions), block {least} least often ({percent(shares[least])}). Devices run {mean:.2f} of "
            f"{all_of_them} blocks on average; {percent(whole)} of them run all."
        )
    return " ".join(texts)
