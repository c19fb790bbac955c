"""What each kind of device gets: quality, who is served, and what the network computes there."""

from collections.abc import Callable

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis import style
from analysis.run import Run
from analysis.style import Panel, Sheet
from analysis.tables import Column, Table, build
from analysis.text import Row, best_row, between, join, number, percent, quality, records
from analysis.tiers import tier_table

TITLE = "Kinds of devices"
READING = (
    "The slowest kind of device is on the left. A device-session that cannot run the method's network is not served: "
    "it falls back to the most popular items, which is part of its quality here, and costs no computing."
)


def data(run: Run) -> pd.DataFrame | None:
    """Columns :data:`core.schema.TIERS`; None if all devices are of one kind."""
    return tier_table(run.sessions, run.tiers, run.methods) if len(run.tiers) > 1 else None


def draw(frame: pd.DataFrame, sheet: Sheet) -> Figure:
    """Three panels, one point per method and kind of device."""

    def served(axis: Axes) -> None:
        sheet.dots(axis, frame, "tier", "served")
        style.shares(axis)

    def macs(axis: Axes) -> None:
        sheet.dots(axis, frame, "tier", "macs_m")
        style.from_zero(axis)

    level = Panel("NDCG@10", lambda axis: sheet.dots(axis, frame, "tier", "ndcg@10", "low", "high"))
    return sheet.figure([level, Panel("Sessions served", served), Panel("Million MACs", macs)], height=2.8)


def finding(run: Run, frame: pd.DataFrame) -> str:
    """The best method of each kind of device, and who is not always served."""
    best, served = [], []
    for tier, mine in frame.groupby("tier", sort=False):
        top = best_row(records(mine))
        best.append(f"{run.title(top['method'])} on {tier} devices ({quality(top['ndcg@10'])})")
        lacking = [f"{run.title(row['method'])} {percent(row['served'])}" for row in records(mine[mine["served"] < 1])]
        if lacking:
            served.append(f"Served on {tier} devices: {join(lacking)} of the sessions.")
    return " ".join([f"The best NDCG@10 is that of {join(best)}.", *served])


def tables(run: Run, frame: pd.DataFrame) -> list[Table]:
    """What each kind of device gets and pays."""
    counts = frame.groupby("tier", sort=False)["devices"].max()
    many = ", ".join(f"{tier} {count:,}" for tier, count in counts.items())
    return [table(frame, run.title, f"Devices: {many}.")]


def table(frame: pd.DataFrame, title: Callable[[str], str], caption: str) -> Table:
    """What :func:`analysis.tiers.tier_table` gives; with a column ``setting`` its letters come first."""
    columns = [
        Column("Devices", write=_kind, unit="method", note=lambda row: title(row["method"])),
        Column("NDCG@10", "ndcg@10", quality, "95 % interval", best=max, note=between("low", "high")),
        Column("Served", "served", percent, "of sessions"),
        Column("Blocks", "blocks", number, unit="where served"),
        Column("Adaptation", "adapt_ms", number, unit="ms; 95 %", note=lambda row: number(row["adapt_ms_p95"])),
        Column("Inference", "inference_us", number, unit="µs; 95 %", note=lambda row: number(row["inference_us_p95"])),
        Column("Traffic", "mbit", number, "Mbit"),
        Column("Energy", "joules", number, "J"),
    ]
    caption += (
        " ● best NDCG@10 of this kind of device. Adaptation: median over the device-sessions that got or made a "
        "network; inference: over those that ran one; small: 95th percentile. Traffic and energy: mean of a "
        "device-session."
    )
    return build(frame, columns, caption, within=["setting", "tier"])


def _kind(row: Row) -> str:
    return f"{row['setting']}: {row['tier']}" if "setting" in row else str(row["tier"])
