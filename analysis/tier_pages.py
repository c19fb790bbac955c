"""The kinds of devices as tables of a page: what each gets and pays, how fairly, and what became of its sessions."""

from collections.abc import Sequence

import pandas as pd

from analysis import tiers_table
from analysis.names import interval, number, percent, quality, title
from analysis.page import Cell, Section, Table
from analysis.wording import records


def tables(figure: str, frame: pd.DataFrame) -> list[Table]:
    """The tables below a figure of a report, from the frame behind it."""
    return [tiers(frame)] if figure == "tiers" else [fairness(frame)] if figure == "fairness" else []


def failures(sessions: pd.DataFrame, kinds: Sequence[str], methods: Sequence[str]) -> list[Section]:
    """The section on device-sessions that failed; none if all went well."""
    frame = tiers_table.fates(sessions, kinds, methods)
    if frame is None:
        return []
    failed = 1 - frame["ok"].sum() / frame["sessions"].sum()
    reading = (
        "What the device mix lets fail happens to all methods alike, except that a device that asks nothing is never "
        "late. The round goes on without the device; its session counts, with what it did and what it cost."
    )
    return [
        Section(
            "failures",
            "What became of the sessions",
            reading,
            f"{percent(failed)} of all device-sessions failed.",
            tables=[fates(frame)],
        )
    ]


def tiers(frame: pd.DataFrame, caption: str = "") -> Table:
    """What :func:`analysis.tiers_table.tier_table` gives; with a column ``setting`` its letters come first."""
    header = [
        ("Devices", "method"),
        ("NDCG@10", "95 % interval"),
        ("Served", "of sessions"),
        ("Blocks", "where served"),
        ("Adaptation", "ms; 95 %"),
        ("Inference", "µs; 95 %"),
        ("Traffic", "Mbit"),
        ("Energy", "J"),
    ]
    best = frame.groupby([name for name in ("setting", "tier") if name in frame])["ndcg@10"].transform("max")
    rows = [
        [
            Cell(f"{row['setting']}: {row['tier']}" if "setting" in row else row["tier"], note=title(row["method"])),
            Cell(quality(row["ndcg@10"]), row["ndcg@10"] == top, interval(row["low"], row["high"])),
            Cell(percent(row["served"])),
            Cell(number(row["blocks"])),
            Cell(number(row["adapt_ms"]), note=number(row["adapt_ms_p95"])),
            Cell(number(row["inference_us"]), note=number(row["inference_us_p95"])),
            Cell(number(row["mbit"])),
            Cell(number(row["joules"])),
        ]
        for row, top in zip(records(frame), best, strict=True)
    ]
    counts = frame.groupby("tier", sort=False)["devices"].max()
    many = ", ".join(f"{tier} {count:,}" for tier, count in counts.items())
    words = caption or f"Devices: {many}."
    words += (
        " ● best NDCG@10 of this kind of device. Adaptation: median over the device-sessions that got or made a "
        "network; inference: over those that ran one; small: 95th percentile. Traffic and energy: mean of a "
        "device-session."
    )
    return Table(words, header, rows)


def fairness(frame: pd.DataFrame) -> Table:
    """What :func:`analysis.tiers_table.fairness` gives; with a column ``setting`` its letters come first."""
    header = [("Method", ""), ("Worst", "NDCG@10"), ("Best", "NDCG@10"), ("Worst to best", "95 % interval")]
    rows = [
        [
            Cell((f"{row['setting']}: " if "setting" in row else "") + title(row["method"])),
            Cell(quality(row["worst"]), note=row["worst_tier"]),
            Cell(quality(row["best"]), note=row["best_tier"]),
            Cell(percent(row["ratio"]), note=interval(row["low"], row["high"], percent)),
        ]
        for row in records(frame)
    ]
    caption = (
        "The kind of device with the lowest quality against the one with the highest; 100 % would be the same quality "
        "for all. Different kinds of devices are different users, so a part of the difference is theirs."
    )
    return Table(caption, header, rows)


def fates(frame: pd.DataFrame) -> Table:
    """What :func:`analysis.tiers_table.fates` gives; with a column ``setting`` its letters come first."""
    names = tiers_table.STATUSES
    header = [("Method", "devices"), ("Sessions", ""), *((name.capitalize(), "") for name in names)]
    rows = [
        [
            Cell((f"{row['setting']}: " if "setting" in row else "") + title(row["method"]), note=row["tier"]),
            Cell(f"{row['sessions']:,}"),
            *(Cell(f"{row[name]:,}") for name in names),
        ]
        for row in records(frame)
    ]
    caption = (
        "Late: the request came after the deadline, so the device ranked by popularity. Dropped: no answer at all. "
        "Vanished: gone in mid-session with its measurements; what had been sent is counted. Rejected: broke the "
        "protocol. Dropped and vanished sessions have no hits."
    )
    return Table(caption, header, rows)
