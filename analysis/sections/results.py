"""The results: quality with its uncertainty, what to say of them first, and what to warn of."""

import math
from operator import itemgetter
from typing import Any

import pandas as pd

from analysis import captions
from analysis.page import Section
from analysis.run import Run
from analysis.sections import data_facts, failures
from analysis.stats import BASELINE, change, quotients
from analysis.summary import relative_difference
from analysis.summary_table import AGAINST_DEVICEREC, CAPTURED, HIT, HIT_SD, NDCG, NDCG_SD, OTHER_MEASURES, SERVED
from analysis.tables import Column, Table, build, method_column
from analysis.text import (
    best_row,
    between,
    interval,
    join,
    number,
    p_text,
    percent,
    quality,
    records,
    signed_percent,
    told_apart,
)
from core.schema import BY_TYPE, ONE_TABLE, ORACLES

TITLE = "Results"
READING = (
    "Intervals are 95 % bootstrap intervals over devices; differences are paired: the same devices, the same events. "
    "They say how far the result depends on which devices were simulated"
)
ONE_SEED = ", not how far it depends on the training, which was done with one seed."
SEEDS = "; ± is the standard deviation over the seeds, that is, over trainings."


def section(run: Run) -> Section:
    """What the methods achieve, as a table."""
    several = len(run.seeds) > 1
    columns = [
        method_column(run.title),
        NDCG,
        *((NDCG_SD, HIT_SD) if several else (HIT,)),
        *AGAINST_DEVICEREC,
        CAPTURED,
        SERVED,
    ]
    caption = f"● best of its column; small: 95 % intervals. {captions.caption(run)}"
    table = build(run.summary.assign(relative=relative_difference(run.summary)), columns, caption)
    tables = [table, *_pairs(run), *_seeds(run), *_others(run)]
    return Section("results", TITLE, READING + (SEEDS if several else ONE_SEED), tables=tables)


def _pairs(run: Run) -> list[Table]:
    """Every method against those with a network and the best one without, where there are others than DeviceRec."""
    if len(run.methods) < 3:
        return []
    level = run.summary.set_index("method")["ndcg@10"]
    best = level[[name for name in run.references if name not in ORACLES]].nlargest(1).index
    chosen = [name for name in run.methods if name not in run.references or name in best]
    frame = run.pairs.copy()
    frame["delta"], frame["within"] = _shares(frame, frame["ndcg@10_against"])
    rows = _wide(frame, "against", ["delta", "within"], run).fillna("")
    columns = [Column(run.title(name), f"delta {name}", str, note=itemgetter(f"within {name}")) for name in chosen]
    caption = (
        "NDCG@10 of the method of the row against that of the column, in % of the column's; small: 95 % interval, "
        f"paired over devices. {captions.caption(run)}"
    )
    return [build(rows, [method_column(run.title), *columns], caption)]


def _seeds(run: Run) -> list[Table]:
    """What each seed alone gives, where there are several."""
    if len(run.seeds) < 2:
        return []
    frame = run.by_seed.copy()
    delta, within = _shares(frame, frame["ndcg@10"] - frame["ndcg@10_delta"])
    frame["note"] = [f"{one} ({ends})" if ends else one for one, ends in zip(delta, within, strict=True)]
    columns = [
        Column(f"Seed {seed}", f"ndcg@10 {seed}", quality, best=max, note=itemgetter(f"note {seed}"))
        for seed in run.seeds
    ]
    words = "● best of its column; small: difference to DeviceRec with the same seed, with its 95 % interval."
    caption = f"NDCG@10 of each seed alone. {words} {captions.caption(run)}"
    return [build(_wide(frame, "seed", ["ndcg@10", "note"], run), [method_column(run.title), *columns], caption)]


def _shares(frame: pd.DataFrame, base: pd.Series) -> tuple[list[str], list[str]]:
    """The differences of NDCG@10 in percent of ``base``, and their intervals; nothing where there is none."""
    delta, low, high = (quotients(frame[f"ndcg@10_{name}"], base) for name in ("delta", "delta_low", "delta_high"))
    texts = [signed_percent(one) if math.isfinite(one) else "" for one in delta]
    return texts, [interval(*ends, write=signed_percent) for ends in zip(low, high, strict=True)]


def _wide(frame: pd.DataFrame, by: str, values: list[str], run: Run) -> pd.DataFrame:
    """One row a method: the columns ``values`` of a long frame, once for each entry of the column ``by``."""
    rows = frame.pivot(index="method", columns=by, values=values).loc[run.methods]
    rows.columns = [" ".join(map(str, key)) for key in rows.columns]
    return rows.reset_index()


def _others(run: Run) -> list[Table]:
    """The same at other cut-offs, where the run has them."""
    if run.summary["mrr"].isna().all():
        return []
    among = captions.sampled(run)
    words = (
        f" Sampled: the item ranked among {among}, itself and others drawn uniformly from the candidates, by the seed "
        "and the same for all methods; such numbers cannot be compared with those against all candidates."
    )
    caption = f"● best of its column.{words if among else ''} {captions.caption(run, 'the cut-offs that columns name')}"
    return [build(run.summary, [method_column(run.title), *OTHER_MEASURES], caption)]


def in_short(run: Run) -> list[str]:
    """The findings at the head of a report."""
    rows = records(run.summary.assign(relative=relative_difference(run.summary)))
    best, ranked = best_row(rows), sum(row["method"] not in ORACLES for row in rows)
    name, ndcg, hit = run.title(best["method"]), quality(best["ndcg@10"]), quality(best["hit@10"])
    low, high = quality(best["ndcg@10_low"]), quality(best["ndcg@10_high"])
    found = [f"{name} reaches NDCG@10 {ndcg} and Hit@10 {hit}."]
    if ranked > 1:
        within = f" (95 % interval {low} to {high})" if math.isfinite(best["ndcg@10_low"]) else ""
        told = " (an oracle is not counted)" if ranked < len(rows) else ""
        found = [f"{name} has the highest NDCG@10 of {ranked} methods{told}: {ndcg}{within}, with Hit@10 {hit}."]
        top = max((row for row in rows if row["method"] not in ORACLES), key=lambda row: float(row["hit@10"]))
        if top["hit@10"] > best["hit@10"]:
            found.append(f"{run.title(top['method'])} has the highest Hit@10: {quality(top['hit@10'])}.")
    compared = [_difference(run, row) for row in rows if math.isfinite(row["ndcg@10_delta"])]
    if compared:
        found.append(f"NDCG@10 against DeviceRec: {'; '.join(compared)}.")
    found += _captured(run, rows)
    base = next((row["macs_m"] for row in rows if row["method"] == BASELINE), 0.0)
    found += [
        f"{run.title(row['method'])} runs {number(row['macs_m'])} million MACs per inference, "
        f"{percent(-change(row['macs_m'], base))} fewer than DeviceRec, and receives {number(row['downlink_mbit'])} "
        "Mbit per session (requests not counted)."
        for row in rows
        if row["macs_m"] < 0.995 * base and row["method"] not in run.references
    ]
    found += _against_references(run, rows)
    answered = run.sessions[run.sessions["status"] == "ok"]
    unserved = 1 - answered.groupby("method", observed=True)["served"].mean().reindex(run.methods).fillna(1.0)
    if unserved.any():
        parts = [f"{run.title(str(method))} {percent(share)}" for method, share in unserved.items() if share > 0]
        found.append(f"Device-sessions whose device could not run the method's network: {join(parts)}.")
    else:
        found.append("Every device that took part could run every method's network in every session.")
    return found


def _captured(run: Run, rows: list[dict[str, Any]]) -> list[str]:
    """How much of what there is adaptation has captured, and the method that does not adapt beside it."""
    known = {row["method"]: row for row in rows}
    adapt = set(run.sessions.loc[run.sessions["adapted"], "method"].unique())
    within = between("captured_low", "captured_high", signed_percent)
    said = {
        name: f"{signed_percent(row['captured'])} ({within(row)})"
        for name, row in known.items()
        if name in adapt | {BASELINE} and math.isfinite(row["captured"])
    }
    base = [f"{run.title(name)}, which never adapts, has {text}" for name, text in said.items() if name not in adapt]
    shares = [f"{run.title(name)} {text}" for name, text in said.items() if name in adapt]
    if not said:
        return []
    parts = [*base, *([f"adaptation captured: {'; '.join(shares)}"] if shares else [])]
    ends = [quality(known[name]["ndcg@10"]) for name in (ONE_TABLE, BY_TYPE)]
    return [
        f"One table of counts for all reaches NDCG@10 {ends[0]}, and tables by type of user, which only an oracle has, "
        f"{ends[1]}. Of what lies between, {'; '.join(parts)}."
    ]


def _against_references(run: Run, rows: list[dict[str, Any]]) -> list[str]:
    """What is reached without a network, and which methods stay below that."""
    counted = set(run.references) - set(ORACLES)
    known = sorted((row for row in rows if row["method"] in counted), key=lambda row: -float(row["ndcg@10"]))
    others = [row for row in rows if row["method"] not in run.references]
    if not known or not others:
        return []
    reached = join([f"{run.title(row['method'])} {quality(row['ndcg@10'])}" for row in known])
    below = [run.title(row["method"]) for row in others if row["ndcg@10"] < known[0]["ndcg@10"]]
    rest = "every method with a network is above" if not below else f"{join(below)} stay{'s' * (len(below) == 1)} below"
    return [f"NDCG@10 without a network: {reached}; {rest} {run.title(known[0]['method'])}."]


def _difference(run: Run, row: dict[str, Any]) -> str:
    """One method against DeviceRec: a row of a summary, with ``relative``."""
    if not math.isfinite(row["ndcg@10_p"]):
        return f"{run.title(row['method'])} {signed_percent(row['relative'])} (too few devices for an interval)"
    text = p_text(row["ndcg@10_p"])
    p = f"p\u00a0{text}" if text.startswith("<") else f"p\u00a0=\u00a0{text}"
    if not told_apart(row):
        return f"{run.title(row['method'])} not told apart ({signed_percent(row['relative'])}, {p})"
    return f"{run.title(row['method'])} {signed_percent(row['relative'])} ({p})"


def warnings(run: Run) -> list[str]:
    """What a reader of the results must know first."""
    found = [*data_facts.warnings(run), *failures.warnings(run)]
    events = run.summary.set_index("method")["events"]
    if events.nunique() > 1:
        parts = ", ".join(f"{run.title(str(method))} {count:,}" for method, count in events.items())
        found.append(f"The methods did not play the same number of events ({parts}): some device-sessions are missing.")
    if BASELINE not in run.methods:
        found.append("DeviceRec was not played, so there are no differences to it.")
    return found
