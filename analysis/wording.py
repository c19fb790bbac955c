"""What a report's sections say: how to read a figure, and its key numbers in words, computed from its
frame."""

import math
from collections.abc import Callable
from typing import Any

import pandas as pd

from analysis import drift_tables
from analysis.figures.block_usage import adaptive, num_blocks
from analysis.loading import Run
from analysis.names import BASELINE, join, number, p_text, percent, quality, signed_percent, title
from analysis.summary import relative_difference

READINGS = {
    "quality_sessions": (
        "A point is NDCG@10 over the devices' first, second, ... session; the bands are 95 % bootstrap intervals over "
        "devices. Sessions that fewer than 10 % of the devices reach are left out. In the differences the devices are "
        "paired, so what makes a session easy or hard for everybody cancels out."
    ),
    "change_point": (
        "Every device's sessions are counted from its own change of interest, so 0 is the session in which it happens. "
        "The further a curve falls at 0, the more the method relied on the old interest; how soon it rises again is "
        "its recovery. The bands are 95 % bootstrap intervals over devices."
    ),
    "tradeoff": (
        "Up is better, left is cheaper. A method on the Pareto front is beaten by none that costs as little; the bars "
        "are 95 % bootstrap intervals over devices."
    ),
    "block_usage": (
        "(a) In how many device-sessions each block ran. (b) How many devices ran how many blocks; a device whose "
        "number changes from session to session counts in parts. Both are means over seeds."
    ),
    "block_groups": (
        "A cell is the share of the group's device-sessions that run the block, in percent; device-sessions that could "
        "not be served are not counted."
    ),
    "paths": (
        "A row is a path: filled squares are blocks that run. The bar is its share of the served device-sessions, with "
        "their number in brackets."
    ),
    "tiers": (
        "The slowest kind of device is on the left. A device-session that cannot run the method's network is not "
        "served: it falls back to the most popular items, which is part of its quality here, and costs no computing."
    ),
    "tier_costs": (
        "Points are medians for adaptation and inference, with a line up to the 95th percentile, and means otherwise; "
        "the axes of times and energy are logarithmic. A method without a point has no such cost."
    ),
    "fairness": (
        "Each method's quality on the kind of device where it is lowest and on the one where it is highest. Which "
        "users have which device is chance, so with few devices of a kind a part of the difference is chance too: "
        "the intervals are over devices."
    ),
    "budget": (
        "Device-sessions by the multiply-accumulates of one inference that their latency target allowed on that day, "
        "busy or idle; the tightest budgets are on the left. Bands are 95 % bootstrap intervals over devices; in the "
        "differences devices are paired."
    ),
    "costs": (
        "MACs are counted from the layers that ran; the stroke is the paper's count, which leaves out the products "
        "inside attention and counts the normalisations of skipped blocks too. Times and energy are simulated from "
        "these counts by the devices' profiles."
    ),
    "training": (
        "Validation is on the item before each device's live stream, against all items, cut-off 10. The weights of "
        "the marked epoch are the ones that were deployed; a method without a curve deploys another one's model."
    ),
    **drift_tables.READINGS,
}


def records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """The rows of a frame as plain dicts."""
    return [{str(key): value for key, value in row.items()} for row in frame.to_dict("records")]


def in_short(run: Run) -> list[str]:
    """The findings at the head of a report."""
    rows = records(run.summary.assign(relative=relative_difference(run.summary)))
    best = max(rows, key=lambda row: row["ndcg@10"])
    if len(rows) > 1:
        found = [
            f"{title(best['method'])} has the highest NDCG@10 of {len(rows)} methods: {quality(best['ndcg@10'])} "
            f"(95 % interval {quality(best['ndcg@10_low'])} to {quality(best['ndcg@10_high'])}), with Hit@10 "
            f"{quality(best['hit@10'])}."
        ]
    else:
        found = [
            f"{title(best['method'])} reaches NDCG@10 {quality(best['ndcg@10'])} and Hit@10 {quality(best['hit@10'])}."
        ]
    compared = [difference(row) for row in rows if math.isfinite(row["ndcg@10_delta"])]
    if compared:
        found.append(f"NDCG@10 against DeviceRec: {'; '.join(compared)}.")
    found += _cheaper(rows)
    unserved = [f"{title(row['method'])} {percent(1 - row['served'])}" for row in rows if row["served"] < 1]
    if unserved:
        found.append(f"Device-sessions that could not run the method's network: {join(unserved)}.")
    else:
        found.append("Every device could run every method's network in every session.")
    return found


def difference(row: dict[str, Any]) -> str:
    """One method against DeviceRec: a row of a summary, with ``relative``."""
    text = p_text(row["ndcg@10_p"])
    p = f"p\u00a0{text}" if text.startswith("<") else f"p\u00a0=\u00a0{text}"
    if row["ndcg@10_delta_low"] <= 0 <= row["ndcg@10_delta_high"]:
        return f"{title(row['method'])} not told apart ({signed_percent(row['relative'])}, {p})"
    return f"{title(row['method'])} {signed_percent(row['relative'])} ({p})"


def _cheaper(rows: list[dict[str, Any]]) -> list[str]:
    """Who computes less than DeviceRec, and what that takes."""
    base = next((row["macs_m"] for row in rows if row["method"] == BASELINE), 0.0)
    return [
        f"{title(row['method'])} runs {number(row['macs_m'])} million MACs per inference, "
        f"{percent(1 - row['macs_m'] / base)} fewer than DeviceRec, and receives {number(row['downlink_mbit'])} Mbit "
        "per session."
        for row in rows
        if row["macs_m"] < 0.995 * base
    ]


def finding(name: str, run: Run, frame: pd.DataFrame) -> str:
    """The key numbers of a figure in a sentence or two; empty if there is nothing to say."""
    return _FINDINGS[name](run, frame)


def _quality_sessions(run: Run, frame: pd.DataFrame) -> str:
    first, last = int(frame["at"].min()), int(frame["at"].max())
    parts = []
    for method in run.methods:
        mine = frame[frame["method"] == method].set_index("at")["ndcg@10"]
        change = signed_percent(mine[last] / mine[first] - 1) if mine[first] else "–"
        parts.append(f"{title(method)} {quality(mine[first])} to {quality(mine[last])} ({change})")
    return f"From session {first} to session {last}: {'; '.join(parts)}."


def _change_point(run: Run, frame: pd.DataFrame) -> str:
    last = int(frame["at"].max())
    parts = []
    for method in run.methods:
        mine = frame[frame["method"] == method].set_index("at")["ndcg@10"]
        if -1 not in mine.index or 0 not in mine.index or not mine[-1]:
            continue
        text = f"{title(method)} {signed_percent(mine[0] / mine[-1] - 1)}"
        if last > 0:
            text += f" (after {last} more: {signed_percent(mine[last] / mine[-1] - 1)})"
        parts.append(text)
    if not parts:
        return ""
    return f"NDCG@10 in the session of the change, against the session before it: {'; '.join(parts)}."


def _tradeoff(run: Run, frame: pd.DataFrame) -> str:
    def front(column: str, cost: str) -> str:
        best = frame[frame[column]].sort_values(cost)
        return join([f"{title(m)} ({number(c)})" for m, c in zip(best["method"], best[cost], strict=True)])

    return (
        f"On the front of quality against million MACs: {front('front_macs', 'macs_m')}. "
        f"Against megabits per session: {front('front_mbit', 'mbit_per_session')}."
    )


def _block_usage(run: Run, frame: pd.DataFrame) -> str:
    methods = adaptive(run)
    if not methods:
        return f"No method of this run adapts its path: whoever is served runs all {num_blocks(run)} blocks."
    texts = []
    for method in methods:
        mine = frame[(frame["method"] == method) & (frame["panel"] == "selected")].set_index("block")["share"]
        shares, all_of_them = dict(zip(mine.index.tolist(), mine.tolist(), strict=True)), num_blocks(run)
        most, least = max(shares, key=shares.__getitem__), min(shares, key=shares.__getitem__)
        counts = frame[(frame["method"] == method) & (frame["panel"] == "blocks")]
        mean = (counts["block"] * counts["share"]).sum()
        whole = float(counts.loc[counts["block"] == all_of_them, "share"].sum())
        texts.append(
            f"{title(method)}: block {most} is selected most often ({percent(shares[most])} of the device-sessions), "
            f"block {least} least often ({percent(shares[least])}). Devices run {mean:.2f} of {all_of_them} blocks on "
            f"average; {percent(whole)} of them run all."
        )
    return " ".join(texts)


def _block_groups(run: Run, frame: pd.DataFrame) -> str:
    texts = []
    for method, mine in frame.groupby("method", sort=False):
        for by, kind in (("tier", "kind of device"), ("phase", "phase")):
            part = mine[(mine["by"] == by) & (mine["block"] == 1)]
            groups = [f"{mean:.2f} ({name})" for name, mean in zip(part["group"], part["blocks"], strict=True)]
            if groups:
                texts.append(f"Mean number of blocks of {title(str(method))} by {kind}: {join(groups)}.")
    return " ".join(texts)


def _paths(run: Run, frame: pd.DataFrame) -> str:
    texts = []
    for method, mine in frame.groupby("method", sort=False):
        first = records(mine)[0]
        blocks = join([str(k + 1) for k, used in enumerate(str(first["path"])) if used == "1"])
        texts.append(
            f"{title(str(method))}: devices ran {int(first['paths']):,} different paths of "
            f"{2 ** len(str(first['path'])) - 1:,} possible ones. The most frequent one (blocks {blocks}) makes up "
            f"{percent(first['share'])}, the {len(mine)} shown {percent(mine['share'].sum())}."
        )
    return " ".join(texts)


def _tiers(run: Run, frame: pd.DataFrame) -> str:
    best, served = [], []
    for tier, mine in frame.groupby("tier", sort=False):
        rows = records(mine)
        top = max(rows, key=lambda row: row["ndcg@10"])
        best.append(f"{title(top['method'])} on {tier} devices ({quality(top['ndcg@10'])})")
        lacking = [f"{title(row['method'])} {percent(row['served'])}" for row in rows if row["served"] < 1]
        if lacking:
            served.append(f"Served on {tier} devices: {join(lacking)} of the sessions.")
    return " ".join([f"The best NDCG@10 is that of {join(best)}.", *served])


def _tier_costs(run: Run, frame: pd.DataFrame) -> str:
    texts = []
    for method, mine in frame[frame["adapt_ms"] > 0].groupby("method", sort=False):
        rows = sorted(records(mine), key=lambda row: row["adapt_ms"])
        fast, slow = rows[0], rows[-1]
        texts.append(
            f"{title(str(method))} {number(fast['adapt_ms'])} ms ({fast['tier']}) to {number(slow['adapt_ms'])} ms "
            f"({slow['tier']}; 95th percentile {number(slow['adapt_ms_p95'])} ms)"
        )
    return f"Median time to adapt, from the fastest kind of device to the slowest: {'; '.join(texts)}." if texts else ""


def _fairness(run: Run, frame: pd.DataFrame) -> str:
    parts = [
        f"{title(row['method'])} {percent(row['ratio'], 0)} ({row['worst_tier']} against {row['best_tier']})"
        for row in sorted(records(frame), key=lambda row: -row["ratio"])
    ]
    return f"NDCG@10 of the worst kind of device as a share of the best: {'; '.join(parts)}."


def _budget(run: Run, frame: pd.DataFrame) -> str:
    texts = []
    for at, where in ((frame["at"].min(), "tightest"), (frame["at"].max(), "widest")):
        rows = records(frame[(frame["at"] == at) & frame["ndcg@10"].notna()])
        parts = [
            f"{title(row['method'])} {quality(row['ndcg@10'])} ({percent(row['served'], 0)} served)" for row in rows
        ]
        texts.append(f"With the {where} budget ({number(rows[0]['budget_macs_m'])} million MACs): {'; '.join(parts)}.")
    return " ".join(texts)


def _costs(run: Run, frame: pd.DataFrame) -> str:
    rows, texts = records(frame), []
    slow = sorted((row for row in rows if row["adapt_ms"] > 0), key=lambda row: -row["adapt_ms"])
    if slow:
        text = f"{title(slow[0]['method'])} takes longest to adapt ({number(slow[0]['adapt_ms'])} ms per session"
        others = [f"{title(row['method'])} {number(row['adapt_ms'])} ms" for row in slow[1:]]
        texts.append(text + (f"; {join(others)})." if others else ")."))
    hungry = max(rows, key=lambda row: row["energy_mj"])
    if hungry["energy_mj"] > 0:
        texts.append(f"{title(hungry['method'])} uses most energy ({number(hungry['energy_mj'])} mJ per session).")
    return " ".join(texts)


def _training(run: Run, frame: pd.DataFrame) -> str:
    texts = []
    for method, mine in frame.groupby("method", sort=False):
        kept, length = mine[mine["best"]], mine.groupby("seed")["epoch"].max()
        if kept.empty:
            continue
        texts.append(
            f"{title(str(method))}: epoch {_span(kept['epoch'])} of {_span(length)} kept, "
            f"validation NDCG@10 {quality(float(kept['valid_ndcg@10'].mean()))}"
        )
    return "; ".join(texts) + "." if texts else ""


def _span(values: pd.Series) -> str:
    low, high = int(values.min()), int(values.max())
    return str(low) if low == high else f"{low} to {high}"


_FINDINGS: dict[str, Callable[[Run, pd.DataFrame], str]] = {
    "quality_sessions": _quality_sessions,
    "change_point": _change_point,
    "tradeoff": _tradeoff,
    "block_usage": _block_usage,
    "block_groups": _block_groups,
    "paths": _paths,
    "tiers": _tiers,
    "tier_costs": _tier_costs,
    "fairness": _fairness,
    "budget": _budget,
    "costs": _costs,
    "training": _training,
    **drift_tables.FINDINGS,
}
