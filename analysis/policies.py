"""Runs that differ in their request policies: what asking more often buys, and which policy asks at the right time.

Settings that differ only in when devices ask play the same *world*: the same streams with the same trained models. Each
world gets its request-rate curves and its table of policies; all worlds together one table around the change.
"""

import json
import math
from collections.abc import Sequence

import pandas as pd

from analysis.drift import around, asking
from analysis.run_groups import RunGroup, identity, labels, pair
from analysis.stats import BASELINE
from analysis.text import percent, records
from core import schema

WHEN = ("policy", "request_rate", "request_scope", "compare_stale")
"""Options that say when devices ask and what is measured of it."""


def asks_differently(groups: Sequence[RunGroup]) -> bool:
    """Whether the groups differ in when devices ask."""
    return len({_chosen(group, WHEN[:3]) for group in groups}) > 1


def swept(groups: Sequence[RunGroup]) -> bool:
    """Whether the groups differ in when devices ask, or in how interests drift."""
    return len({_chosen(group, (*WHEN[:3], "drift")) for group in groups}) > 1


def worlds(groups: Sequence[RunGroup]) -> dict[str, list[RunGroup]]:
    """Groups that differ only in when devices ask, by what sets the worlds apart."""
    together: dict[str, list[RunGroup]] = {}
    for group in groups:
        kept = {key: value for key, value in identity(group.runs[0]).items() if key not in WHEN}
        together.setdefault(json.dumps(kept, sort_keys=True, default=str), []).append(group)
    words = labels([json.loads(options) for options in together])
    if len(words) == 1:
        words = [f"drift {groups[0].options.get('drift', 'natural')}"]
    return dict(zip(words, together.values(), strict=True))


def measure(groups: Sequence[RunGroup]) -> pd.DataFrame:
    """One row per setting and method that adapts, with the columns :data:`core.schema.POLICIES`."""
    rows = []
    for world, members in worlds(groups).items():
        for group in members:
            base = group.summary.set_index("method")["ndcg@10"].get(BASELINE, math.nan)
            where = {"world": world, "setting": group.name, "devicerec": base}
            where |= {"policy": policy(group), "budget": budget(group)}
            rows += [
                where | row | _against_random(group, members, row["method"])
                for row in records(asking(group.sessions, group.methods))
            ]
    return pd.DataFrame(rows, columns=schema.names(schema.POLICIES))


def by_world(groups: Sequence[RunGroup]) -> pd.DataFrame:
    """Around the change: of each world one setting (policy always if it is there, else its first), all methods."""
    frames = []
    for world, members in worlds(groups).items():
        group = next((one for one in members if policy(one) == "always"), members[0])
        frame = group.summary[["method", "ndcg@10"]].assign(world=world, policy=called(policy(group), budget(group)))
        frames.append(frame.merge(around(group.sessions, group.methods).astype(_NUMBERS), on="method", how="left"))
    columns = ["world", "policy", "method", "ndcg@10", *_NUMBERS]
    return pd.concat(frames, ignore_index=True)[columns]


def called(policy: str, budget: float) -> str:
    """A policy with its budget, for readers."""
    return policy if math.isnan(budget) else f"{policy} at {percent(budget, 0)}"


def policy(group: RunGroup) -> str:
    """When the devices of a group ask, as on the command line."""
    each = " per device" if group.options.get("request_scope") == "device" and "request_rate" in group.options else ""
    return f"{group.options.get('policy', 'always')}{each}"


def budget(group: RunGroup) -> float:
    """The budget of requests that set the policy's parameter; NaN: none."""
    return float(group.options.get("request_rate", math.nan))


def _against_random(group: RunGroup, members: Sequence[RunGroup], method: str) -> dict[str, float]:
    """The same method under the policy random with the same budget; empty if that was not played."""
    for other in members:
        alike = other is not group and budget(other) == budget(group) and method in other.methods
        if alike and policy(other) == "random":
            found = pair(other, group, method)
            names = {"delta": "delta", "delta_low": "low", "delta_high": "high", "p": "p"}
            return {f"random_{ours}": found[f"ndcg@10_{theirs}"] for theirs, ours in names.items()}
    return {}


def _chosen(group: RunGroup, keys: Sequence[str]) -> str:
    """These options of a group, as one text."""
    return json.dumps({key: group.options.get(key) for key in keys}, default=str)


_NUMBERS = dict.fromkeys(schema.names(schema.AROUND)[1:], float)
