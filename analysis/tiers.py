"""What each kind of device gets and pays, how fairly, and what became of its sessions.

Quality is over all live events of a tier's devices, each ranked among the candidates, cut-off 10; a device-session
without a network counts with the popularity ranking it fell back to. Blocks and inference are those of the
device-sessions that ran a network, adaptation is that of those in which the device got or made one, and megabits and
joules are means over all device-sessions.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from analysis.stats import interval, quotients, ratio, ratios
from analysis.summary import device_sums, mdac
from core.schema import STATUSES

TIER_COLUMNS = {
    "tier": "kind of device, the slowest first",
    "method": "name of the method",
    "devices": "devices of this kind",
    "sessions": "their device-sessions, over all seeds",
    "ndcg@10": "summed NDCG divided by events",
    "low": "lower end of its 95 % bootstrap interval over devices",
    "high": "upper end",
    "hit@10": "hits divided by events",
    "served": "share of device-sessions in which the device could run the network",
    "blocks": "blocks, mean over the device-sessions that ran a network",
    "macs_m": "10^6 multiply-accumulates of one inference, mean over events",
    "adapt_ms": "milliseconds until the device had a new network, median over the device-sessions that got or made one",
    "adapt_ms_p95": "the same, 95th percentile",
    "inference_us": "microseconds of one inference, median over the device-sessions that ran a network",
    "inference_us_p95": "the same, 95th percentile",
    "mbit": "10^6 bits in both directions, mean over device-sessions",
    "joules": "energy of the device, mean over device-sessions",
}
"""Of ``tiers.csv``, in this order: one row per tier and method."""

FAIRNESS_COLUMNS = {
    "method": "name of the method",
    "worst_tier": "kind of device with the lowest NDCG@10",
    "worst": "its NDCG@10",
    "best_tier": "kind of device with the highest NDCG@10",
    "best": "its NDCG@10",
    "ratio": "worst divided by best",
    "low": "lower end of the ratio's 95 % bootstrap interval over devices",
    "high": "upper end",
    "mdac": "largest gap of a kind of device to all, as a share of the NDCG@10 of all (analysis.summary.mdac)",
}
"""Of the fairness view, in this order: one row per method."""


def tier_table(sessions: pd.DataFrame, tiers: Sequence[str], methods: Sequence[str]) -> pd.DataFrame:
    """One row per tier and method, with the columns :data:`TIER_COLUMNS`."""
    rows = []
    for tier in tiers:
        for method in methods:
            mine = sessions[(sessions["tier"] == tier) & (sessions["method"] == method)]
            if mine["events"].sum() > 0:
                rows.append({"tier": tier, "method": method, **_facts(mine)})
    return pd.DataFrame(rows, columns=list(TIER_COLUMNS))


def _facts(rows: pd.DataFrame) -> dict[str, float]:
    sums = device_sums(rows)
    ndcg, events = sums[["ndcg"]].to_numpy(float), sums[["events"]].to_numpy(float)
    low, high = interval(ratios(ndcg, events), len(sums))
    ran = rows[rows["served"]]
    made = rows[rows["adapted"]]
    adapt, inference = _spread(1e3 * made["seconds_adapt"]), _spread(1e6 * ran["seconds_inference"])
    return {
        "devices": rows["device"].nunique(),
        "sessions": len(rows),
        "ndcg@10": ratio(ndcg.sum(), events.sum()),
        "low": float(low[0]),
        "high": float(high[0]),
        "hit@10": ratio(sums["hits"].sum(), events.sum()),
        "served": float(rows["served"].mean()),
        "blocks": float(ran["blocks"].mean()) if len(ran) else np.nan,
        "macs_m": ratio((rows["macs"].to_numpy(float) * rows["events"].to_numpy(float)).sum(), events.sum()) / 1e6,
        "adapt_ms": adapt[0],
        "adapt_ms_p95": adapt[1],
        "inference_us": inference[0],
        "inference_us_p95": inference[1],
        "mbit": float((rows["bits_up"] + rows["bits_down"]).mean() / 1e6),
        "joules": float(rows["joules"].mean()),
    }


def _spread(values: pd.Series) -> tuple[float, float]:
    """Median and 95th percentile; NaN where there is nothing."""
    if values.empty:
        return np.nan, np.nan
    return float(values.median()), float(values.quantile(0.95))


def fairness(sessions: pd.DataFrame, tiers: Sequence[str], methods: Sequence[str]) -> pd.DataFrame:
    """The worst tier against the best, with the columns :data:`FAIRNESS_COLUMNS`; empty if there is one tier only.

    The bootstrap draws devices of all tiers together; which tier is worst and which is best is not drawn again.
    """
    rows = []
    for method in methods:
        mine = sessions[sessions["method"] == method]
        sums = mine.groupby(["device", "tier"], observed=True)[["ndcg", "events"]].sum()
        ndcg, events = (
            sums[name].unstack("tier").reindex(columns=list(tiers)).fillna(0.0).to_numpy(float)
            for name in ("ndcg", "events")
        )
        played = np.flatnonzero(events.sum(axis=0) > 0)
        if len(played) < 2:
            continue
        level = ndcg.sum(axis=0)[played] / events.sum(axis=0)[played]
        worst, best = int(level.argmin()), int(level.argmax())
        drawn = ratios(ndcg[:, played], events[:, played])
        low, high = interval(quotients(drawn[:, worst], drawn[:, best])[:, None], len(ndcg))
        rows.append(
            {
                "method": method,
                "worst_tier": tiers[played[worst]],
                "worst": float(level[worst]),
                "best_tier": tiers[played[best]],
                "best": float(level[best]),
                "ratio": ratio(level[worst], level[best]),
                "low": float(low[0]),
                "high": float(high[0]),
                "mdac": mdac(mine),
            }
        )
    return pd.DataFrame(rows, columns=list(FAIRNESS_COLUMNS))


def statuses(sessions: pd.DataFrame, tiers: Sequence[str], methods: Sequence[str]) -> pd.DataFrame | None:
    """What became of the device-sessions of each method and tier: ``method, tier, sessions`` and their number by each
    of :data:`core.schema.STATUSES`; None if nothing failed."""
    if (sessions["status"] == "ok").all():
        return None
    counts = sessions.groupby(["method", "tier", "status"], observed=True).size().unstack("status", fill_value=0)
    counts = counts.reindex(columns=list(STATUSES), fill_value=0)
    order = [(method, tier) for method in methods for tier in tiers if (method, tier) in counts.index]
    frame = counts.loc[order].reset_index()
    frame.insert(2, "sessions", frame[list(STATUSES)].sum(axis=1))
    frame.columns.name = None
    return frame
