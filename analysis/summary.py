"""One row per method: what it achieved and what it cost.

Protocol of every quality number: the live sessions of all devices, each event ranked among the candidates, at the
cut-off that the column names; a device that could not run a method's network counts with the popularity ranking it
fell back to.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from analysis.stats import BASELINE, interval, paired, quotients, ratio, ratios
from core import schema

SUMS = {
    **{f"hit@{k}": name for k, name in ((1, "hits_1"), (5, "hits_5"), (10, "hits"), (20, "hits_20"))},
    **{f"ndcg@{k}": name for k, name in ((1, "hits_1"), (5, "ndcg_5"), (10, "ndcg"), (20, "ndcg_20"))},
    "mrr": "mrr",
    "hit@10_sampled": "hits_sampled",
    "ndcg@10_sampled": "ndcg_sampled",
}
"""Measures of quality, and the columns of rows that hold their sums over events."""


def summarise(
    sessions: pd.DataFrame,
    methods: Sequence[str] | None = None,
    baseline: str = BASELINE,
    coverage: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """Summarise the rows of ``sessions.parquet``, one row per method, with the columns
    :data:`core.schema.SUMMARY`.

    ``methods`` gives the order (default: of appearance). Differences are NaN for the baseline itself, and for
    all if it was not played. ``coverage`` has the columns :data:`core.schema.COVERAGE`; what is not known of it is NaN.
    The same rows always give the same numbers.
    """
    order = list(methods) if methods is not None else sessions["method"].unique().tolist()
    rows = [_means(method, sessions[sessions["method"] == method]) for method in order]
    frame = pd.DataFrame(rows)
    per_device = device_sums(sessions)
    frame = frame.merge(_intervals(per_device, order), on="method")
    frame = frame.merge(_differences(per_device, order, baseline), on="method")
    frame["coverage"] = frame["method"].map(covered_shares(coverage)) if coverage is not None else np.nan
    return frame[schema.names(schema.SUMMARY)]


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
        return ratio((rows[column].to_numpy(float) * events).sum(), total)

    def by_session(column: str) -> float:
        return float(rows[column].to_numpy(float).mean())

    sums = rows.groupby("seed")[["hits", "ndcg", "events"]].sum()

    def spread(column: str) -> float:
        """Over seeds; NaN of one seed."""
        return float(pd.Series(quotients(sums[column], sums["events"])).std(ddof=1))

    return {
        "method": method,
        "devices": rows["device"].nunique(),
        "sessions": len(rows),
        "events": int(total),
        **{
            name: ratio(rows[column].to_numpy(float).sum(), total) if column in rows else np.nan
            for name, column in SUMS.items()
        },
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
        "hit@10_sd": spread("hits"),
        "ndcg@10_sd": spread("ndcg"),
        "mdac": mdac(rows),
    }


def mdac(rows: pd.DataFrame) -> float:
    """The largest gap of a tier to all devices, in relative quality, of the rows of one method.

    ``max over tiers t of |q_t - q| / q``, where ``q_t`` is the NDCG@10 over all events of the tier's devices and ``q``
    that over all events (the mean over tiers by their numbers of events). 0 would be the same quality for all tiers.
    Named as in RF2. NaN if all events are of one tier, or if ``q`` is 0.
    """
    sums = rows.groupby("tier", observed=True)[["ndcg", "events"]].sum()
    sums = sums[sums["events"] > 0]
    whole = ratio(sums["ndcg"].sum(), sums["events"].sum())
    if len(sums) < 2 or not whole > 0:
        return float("nan")
    return float((sums["ndcg"] / sums["events"] - whole).abs().max() / whole)


def covered_shares(coverage: pd.DataFrame) -> pd.Series:
    """By method the share of the items that it recommended, mean over seeds; NaN if it is not known of one of them."""
    shares = coverage["recommended"] / coverage["items"]
    return shares.groupby(coverage["method"]).agg(lambda share: share.mean(skipna=False))


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


def relative_difference(summary: pd.DataFrame) -> pd.Series:
    """NDCG@10 against DeviceRec's as a share of DeviceRec's; NaN where there is no difference to give."""
    base = summary["ndcg@10"] - summary["ndcg@10_delta"]
    return pd.Series(quotients(summary["ndcg@10_delta"], base), index=summary.index)


def uncertain(summary: pd.DataFrame) -> pd.Series:
    """Whether the interval of the difference to DeviceRec includes zero."""
    return (summary["ndcg@10_delta_low"] <= 0) & (summary["ndcg@10_delta_high"] >= 0)
