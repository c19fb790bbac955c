"""One row per method: what it achieved and what it cost.

Protocol of every quality number: the live sessions of all devices, each event ranked among the candidates, at the
cut-off that the column names; a device that could not run a method's network counts with the popularity ranking it
fell back to.
"""

import itertools
from collections.abc import Sequence

import numpy as np
import pandas as pd

from analysis.stats import BASELINE, difference, interval, paired, quotients, ratio, ratios
from core import schema
from core.schema import BY_TYPE, ONE_TABLE

SUMS = {
    **{f"hit@{k}": name for k, name in ((1, "hits_1"), (5, "hits_5"), (10, "hits"), (20, "hits_20"))},
    **{f"ndcg@{k}": name for k, name in ((1, "hits_1"), (5, "ndcg_5"), (10, "ndcg"), (20, "ndcg_20"))},
    "mrr": "mrr",
    "hit@10_sampled": "hits_sampled",
    "ndcg@10_sampled": "ndcg_sampled",
}
"""Measures of quality, and the columns of rows that hold their sums over events."""
BY_EVENT = {
    "macs_m": ("macs", 1e6),
    "macs_paper_m": ("macs_paper", 1e6),
    "seconds_inference": ("seconds_inference", 1),
}
"""Means over the events of device-sessions that ran the method's network or table: the column of rows, and what it is
divided by."""
OF_NETWORKS = {"param_mbit": ("param_bits", 1e6), "blocks": ("blocks", 1)}
"""Means over the device-sessions that ran it, likewise. One that could not would make a method look smaller."""
BY_SESSION = {
    "requests_per_session": ("requested", 1),
    "uplink_kbit": ("bits_up", 1e3),
    "downlink_mbit": ("bits_down", 1e6),
    "served": ("served", 1),
    "seconds_adapt": ("seconds_adapt", 1),
    "joules": ("joules", 1),
    "macs_session_m": ("macs_session", 1e6),
}
"""Means over all device-sessions, likewise."""


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
    per_device = device_sums(sessions)
    ndcg, events = (
        per_device[name].unstack("method").reindex(columns=order).fillna(0.0).to_numpy(float)
        for name in ("ndcg", "events")
    )
    frame = pd.DataFrame([_means(method, sessions[sessions["method"] == method]) for method in order])
    drawn = ratios(ndcg, events)
    frame["ndcg@10_low"], frame["ndcg@10_high"] = interval(drawn, len(ndcg))
    frame = frame.join(pd.DataFrame(captured(frame, drawn, len(ndcg)), index=frame.index))
    compared = [method for method in order if baseline in order and method != baseline]
    base = of_method(per_device, baseline)
    differences = {method: compare_devices(base, of_method(per_device, method)) for method in compared}
    frame = frame.join(pd.DataFrame.from_dict(differences, orient="index"), on="method")
    if coverage is not None:
        frame["coverage"] = frame["method"].map(covered_shares(coverage))
        frame["installed_mbit"] = frame["method"].map(coverage.groupby("method")["bits_installed"].mean() / 1e6)
        for name, column, unit in (("month_mbit", "month_bits", 1e6), ("month_joules", "month_joules", 1)):
            if column in coverage:
                frame[name] = frame["method"].map(coverage.groupby("method")[column].mean() / unit)
    if "bits_installed" in sessions and sessions["bits_installed"].notna().any():  # each version of the cloud model
        sums = sessions.groupby(["method", "seed", "device"])["bits_installed"].sum()
        frame["installed_mbit"] = frame["method"].map(sums.groupby("method").mean() / 1e6)
    return frame.reindex(columns=schema.names(schema.SUMMARY))


def by_seed(sessions: pd.DataFrame, methods: Sequence[str]) -> pd.DataFrame:
    """Each seed alone, with the columns :data:`core.schema.SEEDS`: one row per method and seed, seeds ascending.

    A difference is to DeviceRec with the same seed.
    """
    parts = [summarise(rows, methods).assign(seed=seed) for seed, rows in sessions.groupby("seed")]
    frame = pd.concat(parts, ignore_index=True)
    place = frame["method"].map({method: i for i, method in enumerate(methods)})
    return frame.iloc[np.lexsort((frame["seed"], place))].reset_index(drop=True)[schema.names(schema.SEEDS)]


def each_against_each(sessions: pd.DataFrame, methods: Sequence[str]) -> pd.DataFrame:
    """Every method compared with every other, with the columns :data:`core.schema.PAIRS`.

    Paired over the devices that all methods have. All pairs share the draws: the two rows of a pair differ in sign.
    """
    sums = device_sums(sessions)
    ndcg, events = (
        sums[name].unstack("method").reindex(columns=list(methods)).dropna().to_numpy(float)
        for name in ("ndcg", "events")
    )
    levels, drawn = quotients(ndcg.sum(axis=0), events.sum(axis=0)), ratios(ndcg, events)
    rows = []
    for (i, method), (j, against) in itertools.permutations(enumerate(methods), 2):
        found = difference(levels[i] - levels[j], drawn[:, i] - drawn[:, j], len(ndcg))
        rows.append((method, against, len(ndcg), levels[j], found.delta, found.low, found.high, found.p))
    return pd.DataFrame(rows, columns=schema.names(schema.PAIRS))


def captured(frame: pd.DataFrame, drawn: np.ndarray, devices: int) -> dict[str, np.ndarray]:
    """How much of what there is each method with a network has, as a share, with its 95 % interval over devices.

    What there is lies between one table of counts for all and tables by type of user:
    ``(method - one table) / (by type - one table)`` of NDCG@10. Empty without both, or where by type is not ahead in
    every draw that the interval holds. ``drawn`` ``(R, K)`` are replicates of the NDCG@10 of the rows of ``frame``.
    """
    order = frame["method"].tolist()
    if ONE_TABLE not in order or BY_TYPE not in order:
        return {}
    one, best = order.index(ONE_TABLE), order.index(BY_TYPE)
    room, levels = drawn[:, best] - drawn[:, one], frame["ndcg@10"].to_numpy(float)
    low, _ = interval(room[:, None], devices)
    if not low[0] > 0:
        return {}
    room = np.where(room == 0, np.finfo(float).tiny, room)  # a draw without any has next to none
    point = (levels - levels[one]) / (levels[best] - levels[one])
    low, high = interval((drawn - drawn[:, [one]]) / room[:, None], devices)
    network = frame["blocks"].to_numpy(float) > 0
    return {
        name: np.where(network, values, np.nan)
        for name, values in (("captured", point), ("captured_low", low), ("captured_high", high))
    }


def device_sums(sessions: pd.DataFrame) -> pd.DataFrame:
    """Sums of ``ndcg``, ``hits`` and ``events`` over sessions and seeds, indexed by (method, device)."""
    return sessions.groupby(["method", "device"], observed=True)[["ndcg", "hits", "events"]].sum()


def of_method(per_device: pd.DataFrame, method: str) -> pd.DataFrame:
    """The rows of one method of :func:`device_sums`, indexed by device."""
    return per_device[per_device.index.get_level_values("method") == method].droplevel("method")


def compare_devices(first: pd.DataFrame, second: pd.DataFrame) -> dict[str, float]:
    """NDCG@10 of ``second`` minus that of ``first``, paired over the devices that both have.

    Both are indexed by device and have the columns ``ndcg`` and ``events`` (sums).
    """
    common = first.index.intersection(second.index)
    ndcg, events = (
        (first.loc[common, name].to_numpy(float), second.loc[common, name].to_numpy(float))
        for name in ("ndcg", "events")
    )
    found = paired(ndcg, events)
    names = ("ndcg@10_delta", "ndcg@10_delta_low", "ndcg@10_delta_high", "ndcg@10_p")
    return dict(zip(names, (found.delta, found.low, found.high, found.p), strict=True))


def _means(method: str, rows: pd.DataFrame) -> dict[str, object]:
    events, ran = rows["events"].to_numpy(float), rows[rows["served"]]
    by_seed = rows.groupby("seed")[["hits", "ndcg", "events"]].sum()

    def spread(column: str) -> float:
        """Over seeds; NaN of one seed."""
        return float(pd.Series(quotients(by_seed[column], by_seed["events"])).std(ddof=1))

    return {
        "method": method,
        "devices": rows["device"].nunique(),
        "sessions": len(rows),
        "events": int(events.sum()),
        "seeds": len(by_seed),
        **{
            name: ratio(rows[column].to_numpy(float).sum(), events.sum())
            for name, column in SUMS.items()
            if column in rows
        },
        **{name: event_mean(ran, column) / unit for name, (column, unit) in BY_EVENT.items()},
        **{name: float(ran[column].mean()) / unit for name, (column, unit) in OF_NETWORKS.items()},
        **{name: float(rows[column].to_numpy(float).mean()) / unit for name, (column, unit) in BY_SESSION.items()},
        "hit@10_sd": spread("hits"),
        "ndcg@10_sd": spread("ndcg"),
        "mdac": mdac(rows),
    }


def event_mean(rows: pd.DataFrame, column: str) -> float:
    """The mean of a column over the events of rows."""
    return ratio((rows[column] * rows["events"]).sum(), rows["events"].sum())


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


def relative_difference(summary: pd.DataFrame) -> pd.Series:
    """NDCG@10 against DeviceRec's as a share of DeviceRec's; NaN where there is no difference to give."""
    base = summary["ndcg@10"] - summary["ndcg@10_delta"]
    return pd.Series(quotients(summary["ndcg@10_delta"], base), index=summary.index)
