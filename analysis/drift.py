"""What a request policy achieved: how often devices adapted, what that gained, and how soon a change was noticed.

All quality is NDCG@10 over the live events among the candidates. A device's first session, in which it gets its first
network under every policy, is left out of request rates. Intervals are 95 % bootstrap intervals over devices.
"""

import numpy as np
import pandas as pd

from analysis.stats import BASELINE, interval, level, quotients, ratio, ratios
from analysis.summary import compare_devices, device_sums, of_method
from core import schema

RECOVERED = 0.9
"""Share of the level before the change that counts as back."""
WITHIN = 2
"""Sessions after that of the change, at which the share of the level before is told by itself."""


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
    """One row for each method, with the columns :data:`core.schema.AROUND`; none if no device plays after a change.

    What is after the change, and how methods stand to each other then, is of all devices that play after it. What lies
    before and in it, and what is kept of it, is of those that play before it, too: others would compare two groups.
    """
    rows = sessions.assign(distance=sessions_from_change(sessions)).dropna(subset=["distance"])
    after = device_sums(rows[rows["phase"] == "after"])
    both = of_both(rows, rows["phase"] == "before", rows["phase"] == "after")
    phases = both.groupby(["method", "phase"], observed=True)[["ndcg", "events"]].sum()
    levels = pd.Series(quotients(phases["ndcg"], phases["events"]), phases.index)
    found = []
    for method in methods if len(after) else []:
        sums, base = of_method(after, method), of_method(after, BASELINE)
        before, during, there = (levels.get((method, phase), np.nan) for phase in ("before", "during", "after"))
        row = {"method": method, "devices": int((sums["events"] > 0).sum()), "both": both["device"].nunique()}
        row |= {"before": before, "during": during, "kept": ratio(there, before)}
        row["after"], row["after_low"], row["after_high"] = level(sums)
        if method != BASELINE and len(base):
            against = compare_devices(base, sums)
            row |= {key.replace("ndcg@10", "after"): value for key, value in against.items()}
            common = base.loc[base.index.intersection(sums.index)]
            reached = ratio(common["ndcg"].sum(), common["events"].sum())
            ends = ("", "_low", "_high")
            row |= {f"after_relative{end}": ratio(against[f"ndcg@10_delta{end}"], reached) for end in ends}
        found.append(row | recovery(rows[rows["method"] == method]))
    return pd.DataFrame(found, columns=schema.names(schema.AROUND))


def two_ends(rows: pd.DataFrame, at: pd.Series, first: int, second: int) -> tuple[pd.DataFrame, int]:
    """NDCG@10 by method at two places ``at``, and its change as a share: columns ``old``, ``new``, ``change``.

    Over the devices that have events at both, whose number comes with it: those that last longest are others than all.
    """
    kept = of_both(rows, at == first, at == second)
    sums = kept.assign(at=at).groupby(["method", "at"], observed=True)[["ndcg", "events"]].sum()
    levels = pd.Series(quotients(sums["ndcg"], sums["events"]), sums.index).unstack("at")
    found = levels.reindex(columns=[first, second]).set_axis(["old", "new"], axis=1)
    return found.assign(change=quotients(found["new"], found["old"]) - 1), kept["device"].nunique()


def of_both(rows: pd.DataFrame, first: pd.Series, second: pd.Series) -> pd.DataFrame:
    """The rows of the devices that have events under both conditions, with the same seed."""
    played = rows["events"] > 0
    keys = [pd.MultiIndex.from_frame(rows.loc[where & played, ["seed", "device"]]) for where in (first, second)]
    both = pd.MultiIndex.from_frame(rows[["seed", "device"]])
    return rows[both.isin(keys[0]) & both.isin(keys[1])]


def asking(sessions: pd.DataFrame, methods: list[str]) -> pd.DataFrame:
    """One row for each method that adapts, with the columns :data:`core.schema.ASKING`."""
    rows = []
    for method in methods:
        mine = sessions[sessions["method"] == method]
        if mine["adapted"].any():
            mine = mine.assign(distance=sessions_from_change(mine))
            row = {
                "method": method,
                "rate": float(mine.loc[mine["session"] > 0, "adapted"].mean()),
                "mbit": float((mine["bits_up"] + mine["bits_down"]).mean()) / 1e6,
                "seconds": float(mine["seconds_adapt"].mean()),
            }
            row["ndcg@10"], row["low"], row["high"] = level(mine.groupby("device")[["ndcg", "events"]].sum())
            rows.append(row | detection(mine) | revenue(mine))
    return pd.DataFrame(rows, columns=schema.names(schema.ASKING))


def recovery(rows: pd.DataFrame) -> dict[str, float]:
    """Sessions from a change until the mean over devices is back at 90 % of its level before.

    ``rows`` of one method, with the column ``distance``: sessions since the one in which the change happens (0). The
    result is the first distance of at least 0 at which the level is reached: 0 where it was never lost. With it comes
    the share of the level before that the session at distance :data:`WITHIN` has. Each distance is compared with the
    level before of the devices that play there. Empty if there is nothing before, or only misses.
    """
    known = rows.dropna(subset=["distance"])
    at = known["distance"].clip(lower=-1).astype(int)  # -1: all that was before
    sums = known.assign(at=at).groupby(["seed", "device", "at"])[["ndcg", "events"]].sum()
    tops, bottoms = (sums[name].unstack("at").fillna(0.0).sort_index(axis=1) for name in ("ndcg", "events"))
    if -1 not in tops or not tops[-1].sum() > 0 or len(tops.columns) < 2:
        return {}
    both = (bottoms.drop(columns=-1) > 0).mul(bottoms[-1] > 0, axis=0)
    there = [(frame.drop(columns=-1) * both).groupby("device").sum() for frame in (tops, bottoms)]
    before = [both.mul(frame[-1], axis=0).groupby("device").sum() for frame in (tops, bottoms)]
    distances, devices = both.columns.to_numpy(), len(there[0])
    ends = [np.hstack([one.to_numpy(float), other.to_numpy(float)]) for one, other in zip(there, before, strict=True)]
    levels, replicates = quotients(ends[0].sum(axis=0), ends[1].sum(axis=0))[None], ratios(ends[0], ends[1])
    kept, drawn_kept = (quotients(*np.split(one, 2, axis=1)) for one in (levels, replicates))
    point, drawn = _first_back(kept, distances)[0], _first_back(drawn_kept, distances)
    low, high = interval(drawn[:, None], devices)
    lost = float(np.isnan(drawn).mean())
    found = {"recovery": point, "recovery_low": low[0], "recovery_high": high[0], "unrecovered": lost}
    if WITHIN in distances:
        second = int(np.flatnonzero(distances == WITHIN)[0])
        low, high = interval(drawn_kept[:, [second]], devices)
        found |= {"second": float(kept[0, second]), "second_low": low[0], "second_high": high[0]}
    return found


def _first_back(kept: np.ndarray, distances: np.ndarray) -> np.ndarray:
    """``kept`` ``(R, K)``, shares of the level before, at ``distances`` ``(K,)`` ascending from 0: the first that is
    back, ``(R,)``; NaN where none is."""
    back = kept >= RECOVERED
    return np.asarray(np.where(back.any(axis=1), distances[back.argmax(axis=1)].astype(float), np.nan))


def detection(rows: pd.DataFrame) -> dict[str, float]:
    """Delay, share of noticed changes, and false alarms; ``rows`` as for :func:`recovery`.

    A device decides before it plays: at the start of the session in which its change happens (distance 0) it cannot
    know of it. An adaptation is a detection from distance 1 on, and a false alarm before.
    """
    later = rows[rows["distance"] >= 1]
    changed = later.groupby(["seed", "device"]).ngroups
    first = later[later["adapted"]].groupby(["seed", "device"])["distance"].min()
    calm = rows[(rows["session"] > 0) & ~(rows["distance"] >= 1)]
    alarms = float(calm["adapted"].mean())
    return {"delay": float(first.mean()), "noticed": ratio(len(first), changed), "false_alarms": alarms}


def revenue(rows: pd.DataFrame) -> dict[str, float]:
    """Gain of fresh over stale networks: of all events, and the share of it in the sessions with an adaptation.

    Needs ``ndcg_stale`` and ``ndcg_fresh`` (``--compare-stale``). First sessions, which have no stale network, are left
    out. Empty without these; what is captured of a gain that may be none has no interval.
    """
    if "ndcg_stale" not in rows or rows["ndcg_stale"].isna().all():
        return {}
    later = rows[rows["session"] > 0]
    gain = later["ndcg_fresh"] - later["ndcg_stale"]
    parts = later.assign(all=gain, won=gain.where(later["adapted"], 0.0))
    sums = parts.groupby("device")[["won", "all", "events"]].sum()
    found: dict[str, float] = {}
    found["gain_all"], found["gain_low"], found["gain_high"] = level(sums, "all")
    if found["gain_all"] > 0:
        found["captured"], low, high = level(sums, "won", "all")
        found |= {"captured_low": low, "captured_high": high} if found["gain_low"] > 0 else {}
    return found
