"""What each kind of device gets and pays, how fairly, and what became of its sessions.

Quality is over all live events of a tier's devices, each ranked among the candidates, cut-off 10; a device-session
without a network counts with the popularity ranking it fell back to. Blocks, multiply-accumulates and inference are
those of the device-sessions that ran a network, adaptation is that of those in which the device got or made one, and
megabits and joules are means over all device-sessions.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from analysis.stats import interval, level, quotients, ratio, ratios
from analysis.summary import device_sums, event_mean, mdac
from core import schema
from core.schema import STATUSES


def tier_table(sessions: pd.DataFrame, tiers: Sequence[str], methods: Sequence[str]) -> pd.DataFrame:
    """One row per tier and method, with the columns :data:`core.schema.TIERS`."""
    parts = dict(iter(sessions.groupby(["tier", "method"], observed=True)))
    keys = [(tier, method) for tier in tiers for method in methods if (tier, method) in parts]
    rows = [
        {"tier": tier, "method": method, **_facts(parts[tier, method])}
        for tier, method in keys
        if parts[tier, method]["events"].sum() > 0
    ]
    return pd.DataFrame(rows, columns=schema.names(schema.TIERS))


def _facts(rows: pd.DataFrame) -> dict[str, float]:
    sums, events = device_sums(rows), rows["events"].to_numpy(float)
    ran, made = rows[rows["served"]], rows[rows["adapted"]]
    ndcg, low, high = level(sums)
    found = {
        "devices": rows["device"].nunique(),
        "sessions": len(rows),
        "ndcg@10": ndcg,
        "low": low,
        "high": high,
        "hit@10": ratio(sums["hits"].sum(), events.sum()),
        "served": float(rows["served"].mean()),
        "blocks": float(ran["blocks"].mean()),
        "macs_m": event_mean(ran, "macs") / 1e6,
        "mbit": float((rows["bits_up"] + rows["bits_down"]).mean() / 1e6),
        "joules": float(rows["joules"].mean()),
    }
    for name, values in (("adapt_ms", 1e3 * made["seconds_adapt"]), ("inference_us", 1e6 * ran["seconds_inference"])):
        found |= {name: float(values.median()), f"{name}_p95": float(values.quantile(0.95))}
    return found


def fairness(sessions: pd.DataFrame, tiers: Sequence[str], methods: Sequence[str]) -> pd.DataFrame:
    """The worst tier against the best, with the columns :data:`core.schema.FAIRNESS`; empty if there is one tier only.

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
        quality = ndcg.sum(axis=0)[played] / events.sum(axis=0)[played]
        worst, best = int(quality.argmin()), int(quality.argmax())
        drawn = ratios(ndcg[:, played], events[:, played])
        low, high = interval(quotients(drawn[:, worst], drawn[:, best])[:, None], len(ndcg))
        ends = (tiers[played[worst]], float(quality[worst]), tiers[played[best]], float(quality[best]))
        rows.append((method, *ends, ratio(quality[worst], quality[best]), float(low[0]), float(high[0]), mdac(mine)))
    return pd.DataFrame(rows, columns=schema.names(schema.FAIRNESS))


def statuses(sessions: pd.DataFrame, tiers: Sequence[str], methods: Sequence[str]) -> pd.DataFrame | None:
    """What became of the device-sessions of each method and tier: ``method, tier, sessions`` and their number by each
    of :data:`core.schema.STATUSES`; None if nothing failed."""
    if (sessions["status"] == "ok").all():
        return None
    counts = sessions.groupby(["method", "tier", "status"], observed=True).size().unstack("status", fill_value=0)
    counts = counts.reindex(columns=list(STATUSES), fill_value=0)
    counts.insert(0, "sessions", counts.sum(axis=1))
    order = [(method, tier) for method in methods for tier in tiers if (method, tier) in counts.index]
    return counts.loc[order].rename_axis(columns=None).reset_index()
