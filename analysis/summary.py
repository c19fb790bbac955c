"""One row per method: what it achieved and what it cost, as a frame and as a table for the terminal.

Protocol of every quality number: the live sessions of all devices, each event ranked against all items,
cut-off 10; a device that could not run a method's network counts with the popularity ranking it fell back to.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from rich.table import Table
from rich.text import Text

from analysis import protocol
from analysis.names import BASELINE, number, quality, signed_percent, title
from analysis.statistics import interval, paired, ratios

if TYPE_CHECKING:
    from analysis.loading import Run

SUMMARY_COLUMNS = {
    "method": "name of the method",
    "devices": "devices that played",
    "sessions": "device-sessions, over all seeds",
    "events": "predicted interactions, over all seeds",
    "hit@10": "hits divided by events",
    "ndcg@10": "summed NDCG divided by events",
    "macs_m": "10^6 multiply-accumulates of one inference, mean over events",
    "param_mbit": "10^6 bits of the network that ran, mean over device-sessions",
    "requests_per_session": "requests to the cloud, mean over device-sessions",
    "uplink_kbit": "10^3 bits sent, mean over device-sessions",
    "downlink_mbit": "10^6 bits received, mean over device-sessions",
    "served": "share of device-sessions in which the device could run the network",
    "seconds_adapt": "seconds until the device had its network, mean over device-sessions",
    "joules": "energy of the device, mean over device-sessions",
    "macs_paper_m": "as macs_m, counted as the paper does",
    "macs_session_m": "10^6 multiply-accumulates of the device (extractors, training too), mean over device-sessions",
    "blocks": "blocks that ran, mean over device-sessions",
    "seconds_inference": "seconds of one inference, mean over events",
    "seeds": "seeds that were played",
    "hit@10_sd": "standard deviation of hit@10 over seeds; NaN with one seed",
    "ndcg@10_sd": "standard deviation of ndcg@10 over seeds; NaN with one seed",
    "ndcg@10_low": "lower end of the 95 % bootstrap interval over devices",
    "ndcg@10_high": "upper end of the 95 % bootstrap interval over devices",
    "ndcg@10_delta": "ndcg@10 minus DeviceRec's, over the devices that both have",
    "ndcg@10_delta_low": "lower end of the 95 % paired bootstrap interval of the difference",
    "ndcg@10_delta_high": "upper end of the 95 % paired bootstrap interval of the difference",
    "ndcg@10_p": "two-sided p-value of the difference, paired bootstrap over devices",
}
"""Of ``summary.csv``, in this order; the first fourteen are the contract that other tools read."""


def summarise(sessions: pd.DataFrame, methods: Sequence[str] | None = None, baseline: str = BASELINE) -> pd.DataFrame:
    """Summarise the rows of ``sessions.parquet``, one row per method, with the columns
    :data:`SUMMARY_COLUMNS`.

    ``methods`` gives the order (default: of appearance). Differences are NaN for the baseline itself, and for
    all if it was not played. The same rows always give the same numbers.
    """
    order = list(methods) if methods is not None else sessions["method"].unique().tolist()
    rows = [_means(method, sessions[sessions["method"] == method]) for method in order]
    frame = pd.DataFrame(rows)
    per_device = device_sums(sessions)
    frame = frame.merge(_intervals(per_device, order), on="method")
    frame = frame.merge(_differences(per_device, order, baseline), on="method")
    return frame[list(SUMMARY_COLUMNS)]


def device_sums(sessions: pd.DataFrame) -> pd.DataFrame:
    """Sums of ``ndcg``, ``hits`` and ``events`` over sessions and seeds, indexed by (method, device)."""
    return sessions.groupby(["method", "device"], observed=True)[["ndcg", "hits", "events"]].sum()


def compare_devices(first: pd.DataFrame, second: pd.DataFrame) -> dict[str, float]:
    """NDCG@10 of ``second`` minus that of ``first``, paired over the devices that both have.

    Both are indexed by device and have the columns ``ndcg`` and ``events`` (sums).
    """
    common = first.index.intersection(second.index)
    a, b = first.loc[common], second.loc[common]
    found = paired(
        (a["ndcg"].to_numpy(float), b["ndcg"].to_numpy(float)),
        (a["events"].to_numpy(float), b["events"].to_numpy(float)),
    )
    return {
        "ndcg@10_delta": found.delta,
        "ndcg@10_delta_low": found.low,
        "ndcg@10_delta_high": found.high,
        "ndcg@10_p": found.p,
    }


def _means(method: str, rows: pd.DataFrame) -> dict[str, object]:
    events = rows["events"].to_numpy(float)
    total = events.sum()

    def by_event(column: str) -> float:
        return float((rows[column].to_numpy(float) * events).sum() / total) if total else float("nan")

    def by_session(column: str) -> float:
        return float(rows[column].to_numpy(float).mean())

    sums = rows.groupby("seed")[["hits", "ndcg", "events"]].sum()
    several = len(sums) > 1
    return {
        "method": method,
        "devices": rows["device"].nunique(),
        "sessions": len(rows),
        "events": int(total),
        "hit@10": float(rows["hits"].sum() / total) if total else float("nan"),
        "ndcg@10": float(rows["ndcg"].sum() / total) if total else float("nan"),
        "macs_m": by_event("macs") / 1e6,
        "param_mbit": by_session("param_bits") / 1e6,
        "requests_per_session": by_session("requested"),
        "uplink_kbit": by_session("bits_up") / 1e3,
        "downlink_mbit": by_session("bits_down") / 1e6,
        "served": by_session("served"),
        "seconds_adapt": by_session("seconds_adapt"),
        "joules": by_session("joules"),
        "macs_paper_m": by_event("macs_paper") / 1e6,
        "macs_session_m": by_session("macs_session") / 1e6,
        "blocks": by_session("blocks"),
        "seconds_inference": by_event("seconds_inference"),
        "seeds": len(sums),
        "hit@10_sd": float((sums["hits"] / sums["events"]).std(ddof=1)) if several else float("nan"),
        "ndcg@10_sd": float((sums["ndcg"] / sums["events"]).std(ddof=1)) if several else float("nan"),
    }


def _intervals(per_device: pd.DataFrame, order: list[str]) -> pd.DataFrame:
    ndcg = per_device["ndcg"].unstack("method").reindex(columns=order).fillna(0.0)
    events = per_device["events"].unstack("method").reindex(columns=order).fillna(0.0)
    low, high = interval(ratios(ndcg.to_numpy(float), events.to_numpy(float)), len(ndcg))
    return pd.DataFrame({"method": order, "ndcg@10_low": low, "ndcg@10_high": high})


def of_method(per_device: pd.DataFrame, method: str) -> pd.DataFrame:
    """The rows of one method of :func:`device_sums`, indexed by device."""
    return per_device[per_device.index.get_level_values("method") == method].droplevel("method")


def _differences(per_device: pd.DataFrame, order: list[str], baseline: str) -> pd.DataFrame:
    nothing = dict.fromkeys(("ndcg@10_delta", "ndcg@10_delta_low", "ndcg@10_delta_high", "ndcg@10_p"), np.nan)
    rows: list[dict[str, object]] = []
    for method in order:
        values = nothing
        if baseline in order and method != baseline:
            values = compare_devices(of_method(per_device, baseline), of_method(per_device, method))
        rows.append({"method": method, **values})
    return pd.DataFrame(rows)


@dataclass(frozen=True)
class _Column:
    """A column of the terminal table: what it shows, and which end of it is the better one."""

    header: str
    key: str
    write: Callable[[float], str]
    best: Callable[[pd.Series], float] | None
    """None: no value is marked."""


_COLUMNS = (
    _Column("Hit\n@10", "hit@10", quality, pd.Series.max),
    _Column("NDCG\n@10", "ndcg@10", quality, pd.Series.max),
    _Column("NDCG\ngain %", "gain", lambda share: signed_percent(share).removesuffix("\u00a0%"), None),
    _Column("MACs\nM", "macs_m", number, pd.Series.min),
    _Column("model\nMbit", "param_mbit", number, pd.Series.min),
    _Column("up\nkbit", "uplink_kbit", number, pd.Series.min),
    _Column("down\nMbit", "downlink_mbit", number, pd.Series.min),
    _Column("adapt\nms", "seconds_adapt", lambda seconds: number(1e3 * seconds), pd.Series.min),
    _Column("energy\nmJ", "joules", lambda joules: number(1e3 * joules), pd.Series.min),
    _Column("served\n%", "served", lambda share: "100" if share == 1 else f"{100 * share:.1f}", pd.Series.max),
)


def relative_difference(summary: pd.DataFrame) -> pd.Series:
    """NDCG@10 against DeviceRec's as a share of DeviceRec's; NaN where there is no difference to give."""
    return summary["ndcg@10_delta"] / (summary["ndcg@10"] - summary["ndcg@10_delta"])


def uncertain(summary: pd.DataFrame) -> pd.Series:
    """Whether the interval of the difference to DeviceRec includes zero."""
    return (summary["ndcg@10_delta_low"] <= 0) & (summary["ndcg@10_delta_high"] >= 0)


def terminal_table(run: Run) -> Table:
    """The comparison for the terminal, 80 characters wide where the numbers allow it.

    The best value of each column is bold and starred, the protocol is the caption; a column that says the
    same of all methods by its nature (no difference to give, everybody served) is left out.
    """
    summary = run.summary.assign(gain=relative_difference(run.summary))
    all_served = bool((summary["served"] == 1).all())
    columns = [
        column
        for column in _COLUMNS
        if summary[column.key].notna().any() and not (column.key == "served" and all_served)
    ]
    compared = any(column.key == "gain" for column in columns)
    table = Table(
        title=f"{protocol.dataset_title(run)}: {protocol.plural(len(summary), 'method')}",
        caption=_caption(run, compared, all_served),
        caption_justify="left",
        box=None,  # a rule between columns would cost nine characters
        padding=0,
    )
    table.add_column("\nmethod", overflow="fold", min_width=11)
    for column in columns:
        written = max(len(column.write(float(value))) for value in summary[column.key])
        table.add_column(
            column.header.replace("\n", " \n") + " ",
            justify="right",
            overflow="fold",
            min_width=written + 2,
        )
    doubtful = uncertain(summary)
    for i in range(len(summary)):
        cells = [Text(title(str(summary["method"].iloc[i])))]
        for column in columns:
            values = summary[column.key]
            text = column.write(float(values.iloc[i]))
            if column.key == "gain" and doubtful.iloc[i]:
                text = f"({text})"
            best = column.best is not None and values.nunique() > 1 and values.iloc[i] == column.best(values)
            cells.append(Text(f"{text}*", style="bold green") if best else Text(f"{text} "))
        table.add_row(*cells)
    return table


def _caption(run: Run, compared: bool, all_served: bool) -> str:
    lines = [protocol.caption(run), "* best of its column."]
    lines[-1] += " MACs: of one inference, in millions. Up, down, adapt, energy: a session's mean."
    if compared:
        lines[-1] += " Gain: NDCG@10 against DeviceRec's; in brackets if its 95 % interval over devices includes zero."
    if all_served:
        lines[-1] += " Every device-session was served."
    return "\n".join(["", *lines])
