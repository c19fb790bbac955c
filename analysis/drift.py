"""What a request policy achieved: how often devices adapted, what that gained, and how soon a change was noticed.

All quality is NDCG@10 over the live events among the candidates. A device's first session, in which it gets its first
network under every policy, is left out of request rates. Intervals are 95 % bootstrap intervals over devices.
"""

import numpy as np
import pandas as pd

from analysis.stats import BASELINE, interval, quotients, ratio, ratios
from analysis.summary import compare_devices, device_sums, of_method

RECOVERED = 0.9
"""Share of the level before the change that counts as back."""

CHANGE_COLUMNS = {
    "method": "name of the method",
    "devices": "devices whose change the run reaches",
    "before": "NDCG@10 of the sessions before the change, on these devices",
    "during": "of the sessions in which it happens",
    "after": "of the sessions after it",
    "after_low": "lower end of its interval",
    "after_high": "upper end",
    "after_delta": "after minus DeviceRec's, over the same devices; NaN without DeviceRec",
    "after_delta_low": "lower end of its paired interval",
    "after_delta_high": "upper end",
    "after_p": "two-sided p-value of the difference, paired bootstrap over devices",
    "recovery": "sessions until 90 % of the level before is back, on average over devices; NaN: not in the run",
    "recovery_low": "lower end of its interval, over the draws in which it came back",
    "recovery_high": "upper end",
    "unrecovered": "share of the draws in which it did not come back",
}
"""Of :func:`around`, in this order."""

ASKING_COLUMNS = {
    "method": "name of the method",
    "rate": "sessions after a device's first in which it adapted, as a share",
    "mbit": "10^6 bits per device-session, both directions",
    "seconds": "of adapting, mean over device-sessions (simulated): training on the device, or computing and waiting",
    "ndcg@10": "over all events",
    "low": "lower end of its interval",
    "high": "upper end of its interval",
    "delay": "sessions from the change to the next adaptation, mean over the devices that adapt after it",
    "noticed": "share of the devices with sessions after the change that adapt in one of them",
    "false_alarms": "share of the sessions that start before the change, or without one, in which it adapted",
    "gain_all": "NDCG@10 that a fresh network gains over the stale one, mean over all events; NaN: not measured",
    "gain_low": "lower end of its interval",
    "gain_high": "upper end of its interval",
    "captured": "revenue captured: that gain in the sessions with an adaptation over the gain of all",
    "captured_low": "lower end of its interval; NaN where the gain of all may be none",
    "captured_high": "upper end",
}
"""Of :func:`asking`, in this order."""


def sessions_from_change(sessions: pd.DataFrame) -> pd.Series:
    """Distance of each row's session to the first session of its device that is not `before`.

    -1 is the last session before the change, 0 the session in which it happens (or the first after it). NaN
    for devices that are stationary, or whose change the run did not reach.
    """
    changed = sessions[sessions["phase"].isin(["during", "after"])]
    first = changed.groupby(["seed", "device"])["session"].min().rename("first")
    joined = sessions[["seed", "device"]].join(first, on=["seed", "device"])["first"]
    return sessions["session"] - joined


def around(sessions: pd.DataFrame, methods: list[str]) -> pd.DataFrame:
    """One row for each method, with the columns :data:`CHANGE_COLUMNS`; none if no device changes in the run."""
    rows = sessions.assign(distance=sessions_from_change(sessions)).dropna(subset=["distance"])
    if rows.empty:
        return pd.DataFrame(columns=list(CHANGE_COLUMNS))
    found = []
    for method in methods:
        mine = rows[rows["method"] == method]
        level = {"method": method, "devices": mine["device"].nunique(), **_phases(mine)}
        found.append({**level, **_after(rows, method), **recovery(mine)})
    return pd.DataFrame(found, columns=list(CHANGE_COLUMNS))


def asking(sessions: pd.DataFrame, methods: list[str]) -> pd.DataFrame:
    """One row for each method that adapts, with the columns :data:`ASKING_COLUMNS`."""
    rows = []
    for method in methods:
        mine = sessions[sessions["method"] == method]
        if mine["adapted"].any():
            mine = mine.assign(distance=sessions_from_change(mine))
            rows.append({"method": method, **_level(mine), **detection(mine), **revenue(mine)})
    return pd.DataFrame(rows, columns=list(ASKING_COLUMNS))


def recovery(rows: pd.DataFrame) -> dict[str, float]:
    """Sessions from a change until the mean over devices is back at 90 % of its level before.

    ``rows`` of one method, with the column ``distance``: sessions since the one in which the change happens (0). The
    result is the first distance of at least 0 at which the level is reached: 0 where it was never lost.
    """
    known = rows.dropna(subset=["distance"])
    nothing = {"recovery": np.nan, "recovery_low": np.nan, "recovery_high": np.nan, "unrecovered": np.nan}
    if known.empty or not (known["distance"] < 0).any():
        return nothing
    at = known["distance"].clip(lower=-1).astype(int)  # -1: all that was before
    sums = known.assign(at=at).groupby(["device", "at"])[["ndcg", "events"]].sum()
    tops, bottoms = (sums[name].unstack("at").fillna(0.0).sort_index(axis=1) for name in ("ndcg", "events"))
    distances = tops.columns.to_numpy()
    point = _first_back(quotients(tops.sum(), bottoms.sum())[None], distances)[0]
    drawn = _first_back(ratios(tops.to_numpy(float), bottoms.to_numpy(float)), distances)
    low, high = interval(drawn[:, None], len(tops))
    lost = float(np.isnan(drawn).mean())
    return {"recovery": point, "recovery_low": low[0], "recovery_high": high[0], "unrecovered": lost}


def detection(rows: pd.DataFrame) -> dict[str, float]:
    """Delay, share of noticed changes, and false alarms; ``rows`` as for :func:`recovery`.

    A device decides before it plays: at the start of the session in which its change happens (distance 0) it cannot
    know of it. An adaptation is a detection from distance 1 on, and a false alarm before.
    """
    later = rows[rows["distance"] >= 1]
    changed = later.groupby(["seed", "device"]).size()
    first = later[later["adapted"]].groupby(["seed", "device"])["distance"].min()
    calm = rows[(rows["session"] > 0) & ~(rows["distance"] >= 1)]
    return {
        "delay": float(first.mean()) if len(first) else np.nan,
        "noticed": ratio(len(first), len(changed)),
        "false_alarms": float(calm["adapted"].mean()) if len(calm) else np.nan,
    }


def revenue(rows: pd.DataFrame) -> dict[str, float]:
    """Gain of fresh over stale networks: of all events, and the share of it in the sessions with an adaptation.

    Needs ``ndcg_stale`` and ``ndcg_fresh`` (``--compare-stale``). First sessions, which have no stale network, are left
    out.
    """
    names = ("gain_all", "gain_low", "gain_high", "captured", "captured_low", "captured_high")
    nothing = dict.fromkeys(names, np.nan)
    if "ndcg_stale" not in rows or rows["ndcg_stale"].isna().all():
        return nothing
    later = rows[rows["session"] > 0]
    gain = later["ndcg_fresh"] - later["ndcg_stale"]
    parts = later.assign(all=gain, won=gain.where(later["adapted"], 0.0)).groupby("device")[["won", "all", "events"]]
    sums = parts.sum()
    if sums.empty or sums["events"].sum() == 0:
        return nothing
    whole = float(sums["all"].sum())
    low, high = interval(ratios(sums[["all"]].to_numpy(float), sums[["events"]].to_numpy(float)), len(sums))
    found = {"gain_all": ratio(whole, sums["events"].sum()), "gain_low": low[0], "gain_high": high[0]}
    if whole <= 0:
        return nothing | found
    found["captured"] = ratio(sums["won"].sum(), whole)
    if low[0] > 0:  # else the share of a gain that may be none is anything
        drawn = ratios(sums[["won"]].to_numpy(float), sums[["all"]].to_numpy(float))
        low, high = interval(drawn, len(sums))
        found |= {"captured_low": low[0], "captured_high": high[0]}
    return nothing | found


def _first_back(levels: np.ndarray, distances: np.ndarray) -> np.ndarray:
    """``levels`` ``(R, K)`` at ``distances`` ``(K,)`` ascending from -1: the first from 0 on that is back, ``(R,)``."""
    with np.errstate(invalid="ignore"):
        back = (levels >= RECOVERED * levels[:, :1]) & (distances >= 0)
    found: np.ndarray = np.where(back.any(axis=1), distances[back.argmax(axis=1)].astype(float), np.nan)
    return found


def _level(rows: pd.DataFrame) -> dict[str, float]:
    sums = rows.groupby("device")[["ndcg", "events"]].sum()
    low, high = interval(ratios(sums[["ndcg"]].to_numpy(float), sums[["events"]].to_numpy(float)), len(sums))
    later = rows[rows["session"] > 0]
    return {
        "rate": float(later["adapted"].mean()) if len(later) else np.nan,
        "mbit": float((rows["bits_up"] + rows["bits_down"]).mean()) / 1e6,
        "seconds": float(rows["seconds_adapt"].mean()),
        "ndcg@10": ratio(sums["ndcg"].sum(), sums["events"].sum()),
        "low": low[0],
        "high": high[0],
    }


def _phases(rows: pd.DataFrame) -> dict[str, float]:
    changed = rows.groupby("phase")[["ndcg", "events"]].sum()
    level = dict(zip(changed.index, quotients(changed["ndcg"], changed["events"]).tolist(), strict=True))
    return {phase: level.get(phase, np.nan) for phase in ("before", "during", "after")}


def _after(rows: pd.DataFrame, method: str) -> dict[str, float]:
    """How sure the level after the change is, and its difference to DeviceRec's."""
    sums = device_sums(rows[rows["phase"] == "after"])
    mine, base = (of_method(sums, name) for name in (method, BASELINE))
    low, high = interval(ratios(mine[["ndcg"]].to_numpy(float), mine[["events"]].to_numpy(float)), len(mine))
    found = {"after_low": low[0], "after_high": high[0]}
    if method == BASELINE or base.empty:
        return found
    difference = compare_devices(base, mine)
    return found | {key.replace("ndcg@10", "after"): value for key, value in difference.items()}
