"""Figure 4 of the paper: how often each block is selected, and how many devices run how many blocks."""

from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis import style
from analysis.run import Run
from analysis.style import Panel, Sheet
from analysis.text import percent

TITLE = "Block usage"
READING = (
    "(a) In how many device-sessions each block ran. (b) How many devices ran how many blocks; a device whose number "
    "changes from session to session counts in parts. Both are means over seeds."
)
_HATCHES = ("", "////", "....", "\\\\\\\\", "xxxx")


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
        for k, share in enumerate(block_shares(mine["path"], blocks)):
            rows.append(("selected", method, k + 1, share * len(mine) / seeds, share))
        weight = 1 / mine.groupby(["seed", "device"])["session"].transform("size")
        devices = weight.groupby(mine["blocks"]).sum() / seeds
        for k in range(0 if devices.get(0, 0.0) > 0 else 1, blocks + 1):
            count = float(devices.get(k, 0.0))
            rows.append(("blocks", method, k, count, count / float(devices.sum())))
    return pd.DataFrame(rows, columns=["panel", "method", "block", "count", "share"])


def draw(frame: pd.DataFrame, sheet: Sheet) -> Figure:
    """Two panels of bars, one colour and hatch per method."""

    def bars(panel: str, axis: Axes) -> None:
        shown = frame[frame["panel"] == panel]
        methods = shown["method"].nunique()
        width = 0.78 / methods
        for i, (_, mine, arguments) in enumerate(sheet.each(shown)):
            place = mine["block"].to_numpy(float) + (i - (methods - 1) / 2) * width
            look: dict[str, Any] = {
                "color": arguments["color"],
                "label": arguments["label"],
                "hatch": _HATCHES[i % len(_HATCHES)],
            }
            drawn = axis.bar(place, mine["count"], width * 0.94, edgecolor=style.LIGHT.paper, linewidth=0, **look)
            if methods * len(mine) <= (14 if methods == 1 else 8):
                labels = [f"{100 * share:.0f}%" for share in mine["share"]]
                axis.bar_label(drawn, labels, padding=1.5, fontsize=6.5, color=style.LIGHT.muted)
        axis.set_xticks(sorted(shown["block"].unique()))
        axis.grid(axis="x", visible=False)
        axis.margins(y=0.1)

    return sheet.figure(
        [
            Panel(
                "How often each block is selected", partial(bars, "selected"), "block", "device-sessions that run it"
            ),
            Panel("How many blocks devices run", partial(bars, "blocks"), "number of blocks", "devices"),
        ]
    )


def finding(run: Run, frame: pd.DataFrame) -> str:
    """The most and the least frequent block of each method, and how many blocks run."""
    whole = num_blocks(run)
    if not adaptive(run):
        return f"No method of this run adapts its path: whoever is served runs all {whole} blocks."
    texts = []
    for method, mine in frame.groupby("method", sort=False):
        shares, counts = (mine[mine["panel"] == panel].set_index("block")["share"] for panel in ("selected", "blocks"))
        texts.append(
            f"{run.title(str(method))}: block {shares.idxmax()} is selected most often ({percent(shares.max())} of the "
            f"device-sessions), block {shares.idxmin()} least often ({percent(shares.min())}). Devices run "
            f"{(counts.index * counts).sum():.2f} of {whole} blocks on average; "
            f"{percent(float(counts.get(whole, 0.0)))} of them run all."
        )
    return " ".join(texts)
