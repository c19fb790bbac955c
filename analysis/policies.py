"""Runs that differ in their request policies: what asking more often buys, and which policy asks at the right time.

Settings that differ only in when devices ask play the same *world*: the same streams with the same trained models. Each
world gets its request-rate curves and its table of policies; all worlds together one table around the change.
"""

import json
import math
import re
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from rich import box
from rich.table import Table as TerminalTable

from analysis.drift import ASKING_COLUMNS, CHANGE_COLUMNS, around, asking
from analysis.drift_tables import recovery_cell
from analysis.figures import Drawn, request_curves
from analysis.names import BASELINE, interval, join, p_text, percent, quality, signed, signed_percent, title
from analysis.page import Cell, Picture, Section, Table, write
from analysis.settings import NOT_SETTING, Setting, labels, pair
from analysis.wording import records

WHEN = ("policy", "request_rate", "request_scope", "compare_stale")
"""Options that say when devices ask and what is measured of it."""

POLICY_COLUMNS = {
    "world": "the settings that play the same streams with the same models, in words",
    "setting": "name of the setting",
    "policy": "as on the command line",
    "budget": "the budget of requests that set its parameter; NaN: none",
    "devicerec": "NDCG@10 of DeviceRec in this world; NaN if it was not played",
    **ASKING_COLUMNS,
    "random_delta": "NDCG@10 minus that of the policy random with the same budget, over the same devices",
    "random_low": "lower end of its paired interval",
    "random_high": "upper end",
    "random_p": "two-sided p-value, paired bootstrap over devices",
}
"""Of ``policies.csv``: one row per setting and method that adapts."""

READING = (
    "Each point is a run; a policy with a budget has one for each, the others have their own rate. Thresholds were "
    "calibrated on the devices' histories: how often devices then ask on the live streams is where the point stands. "
    "Better is up and left. At the same rate, what is above random asks at the right moments; the oracle knows the "
    "changes. Rates are of the sessions after a device's first; revenue captured is the share of the gain of all fresh "
    "networks that lies in the sessions in which the device adapted, and is drawn where that gain is more than noise. "
    "Finetune sends nothing: its cost is the device's own time (simulated). Whether a difference at the same budget is "
    "more than noise is in the table; of differences that are noise, one in twenty looks as if it were more."
)
CHANGE_READING = (
    "Streams are named by what sets them apart. Before, during and after are of the devices that change: an abrupt "
    "change happens in one session, a gradual one in several."
)


def swept(settings: Sequence[Setting]) -> bool:
    """Whether the settings differ in when devices ask, or in how interests drift."""
    return len({_options(setting, (*WHEN[:3], "drift")) for setting in settings}) > 1


def worlds(settings: Sequence[Setting]) -> dict[str, list[Setting]]:
    """Settings that differ only in when devices ask, by what sets the worlds apart."""
    together: dict[str, list[Setting]] = {}
    for setting in settings:
        kept = [key for key in setting.options if key not in NOT_SETTING and key not in WHEN]
        together.setdefault(_options(setting, kept), []).append(setting)
    words = labels([json.loads(options) for options in together])
    if len(words) == 1:
        words = [f"drift {settings[0].options.get('drift', 'natural')}"]
    return dict(zip(words, together.values(), strict=True))


def measure(settings: Sequence[Setting]) -> pd.DataFrame:
    """One row per setting and method that adapts, with the columns :data:`POLICY_COLUMNS`."""
    rows = []
    for world, members in worlds(settings).items():
        for setting in members:
            base = setting.summary.set_index("method")["ndcg@10"].get(BASELINE, math.nan)
            where = {"world": world, "setting": setting.name, "devicerec": base}
            for row in records(asking(setting.sessions, setting.methods)):
                row |= where | {"policy": _policy(setting), "budget": _budget(setting)}
                rows.append(row | _against_random(setting, members, row["method"]))
    return pd.DataFrame(rows, columns=list(POLICY_COLUMNS))


def by_world(settings: Sequence[Setting]) -> pd.DataFrame:
    """Around the change: of each world one setting (policy always if it is there, else its first), all methods."""
    frames = []
    for world, members in worlds(settings).items():
        setting = next((one for one in members if _policy(one) == "always"), members[0])
        frame = around(setting.sessions, setting.methods)
        if frame.empty:
            frame = pd.DataFrame({"method": setting.methods}).reindex(columns=list(CHANGE_COLUMNS))
        level = setting.summary.set_index("method")["ndcg@10"]
        frame.insert(1, "ndcg@10", frame["method"].map(level))
        frames.append(frame.assign(world=world, policy=_called(setting)))
    whole = pd.concat([frame.astype({name: float for name in CHANGE_COLUMNS if name != "method"}) for frame in frames])
    return whole[["world", "policy", "method", "ndcg@10", *list(CHANGE_COLUMNS)[1:]]].reset_index(drop=True)


def page(settings: Sequence[Setting], folder: Path) -> tuple[list[str], list[Section]]:
    """Findings and sections of a comparison's page; writes ``policies.csv``, ``around.csv`` and the figures."""
    frame, changes = measure(settings), by_world(settings)
    write(folder / "policies.csv", frame.to_csv(index=False))
    write(folder / "around.csv", changes.to_csv(index=False))
    heading = "Before, during and after the change"
    found = [Section("around", heading, CHANGE_READING, _streams(settings), tables=[_around(changes)])]
    if len({_options(setting, WHEN[:3]) for setting in settings}) > 1:
        for world, mine in frame.groupby("world", sort=False):
            name = "requests-" + re.sub(r"[^a-z0-9]+", "-", str(world).lower()).strip("-")
            drawn = Drawn(name, request_curves, mine)
            said, heading = _finding(mine), f"{drawn.title}: {world}"
            picture = Picture.of(*drawn.publish(folder / "figures"), f"{heading}. {said}")
            found.append(Section(name, heading, READING, said, picture, [_table(mine)]))
    return _findings(changes), found


def _streams(settings: Sequence[Setting]) -> str:
    """What happens in each world, as its drift file says."""
    said = {
        world: members[0].runs[0].config.get("data", {}).get("drift") for world, members in worlds(settings).items()
    }
    return " ".join(f"{world}: {text}" for world, text in said.items() if text)


def _findings(changes: pd.DataFrame) -> list[str]:
    """Of each world: which method is best, and what the change costs."""
    texts = []
    for world, mine in changes.groupby("world", sort=False):
        best = max(records(mine), key=lambda row: row["ndcg@10"])
        text = f"{world}, {best['policy']}: {title(best['method'])} is best with NDCG@10 {quality(best['ndcg@10'])}"
        losses = [
            f"{title(row['method'])} {signed_percent(row['after'] / row['before'] - 1)}"
            for row in records(mine[mine["before"] > 0])
        ]
        texts.append(f"{text}; after the change against before it: {join(losses)}." if losses else f"{text}.")
    return texts


def _finding(frame: pd.DataFrame) -> str:
    """What the policies of one world come to, method by method."""
    texts = []
    for method, mine in frame.groupby("method", sort=False):
        best = max(records(mine), key=lambda row: row["ndcg@10"])
        text = (
            f"{title(str(method))}: best is {called(best['policy'], best['budget'])} with NDCG@10 "
            f"{quality(best['ndcg@10'])}, adapting in {percent(best['rate'])} of the sessions"
        )
        tested = mine[mine["random_p"].notna()]
        better = tested[tested["random_low"] > 0]
        if len(tested):
            names = [called(policy, budget) for policy, budget in zip(better["policy"], better["budget"], strict=True)]
            text += f"; better than random with the same budget, beyond noise: {join(names) or 'none'}"
        texts.append(f"{text}.")
    return " ".join(texts)


def called(policy: str, budget: float) -> str:
    """A policy with its budget, for readers."""
    return policy if math.isnan(budget) else f"{policy} at {percent(budget, 0)}"


def terminal_table(frame: pd.DataFrame) -> TerminalTable:
    """NDCG@10 and rate of every policy for the terminal, from ``policies.csv``."""
    methods = frame["method"].unique().tolist()
    shown = TerminalTable(
        title="Policies",
        caption="NDCG@10 against all items, cut-off 10; in brackets: sessions in which devices adapted, in percent.",
        caption_justify="left",
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
    )
    for header in ("", "policy", *map(title, methods)):
        shown.add_column(header, justify="right" if header in map(title, methods) else "left")
    last = ""
    for (world, _), part in frame.groupby(["world", "setting"], sort=False):
        rows = part.set_index("method")
        cells = [
            f"{quality(rows.loc[m, 'ndcg@10'])} ({100 * rows.loc[m, 'rate']:.0f})" if m in rows.index else "–"
            for m in methods
        ]
        name = called(str(rows["policy"].iloc[0]), float(rows["budget"].iloc[0]))
        shown.add_row(str(world) if world != last else "", name, *cells)
        last = str(world)
    return shown


def _table(frame: pd.DataFrame) -> Table:
    methods = frame["method"].unique().tolist()
    best = frame.groupby("method")["ndcg@10"].max()
    header = [("Policy", "")]
    for method in methods:
        header += [(title(method), "NDCG@10"), ("Adapts", "captured")]
    rows = []
    for _, part in frame.groupby("setting", sort=False):
        cells = [Cell(called(part["policy"].iloc[0], part["budget"].iloc[0]))]
        for method in methods:
            mine = part[part["method"] == method]
            if mine.empty:
                cells += [Cell("–"), Cell("–")]
                continue
            row = mine.iloc[0]
            known = math.isfinite(row["random_p"])
            against = f"{signed(row['random_delta'])}, p {p_text(row['random_p'])}" if known else ""
            cells.append(Cell(quality(row["ndcg@10"]), row["ndcg@10"] == best[method], against))
            captured = percent(row["captured"], 0) if math.isfinite(row["captured_low"]) else ""
            cells.append(Cell(percent(row["rate"]), note=captured))
        rows.append(cells)
    caption = (
        "● best of its column. Small, below NDCG@10: difference to random with the same budget, paired bootstrap over "
        "devices; below the share of sessions with an adaptation: revenue captured, where there is a gain to capture."
    )
    return Table(caption, header, rows)


def _around(frame: pd.DataFrame) -> Table:
    header = [
        ("Method", "on these streams"),
        ("NDCG@10", "all"),
        ("Before", ""),
        ("During", ""),
        ("After", "95 % interval"),
        ("Difference", "to DeviceRec, after"),
        ("p", ""),
        ("Back at 90 %", "after sessions"),
    ]
    best = frame.groupby("world")["after"].transform("max")
    rows = [
        [
            Cell(f"{row['world']}: {title(row['method'])}"),
            *(Cell(quality(row[name])) for name in ("ndcg@10", "before", "during")),
            Cell(quality(row["after"]), row["after"] == top, interval(row["after_low"], row["after_high"])),
            Cell(signed(row["after_delta"]), note=interval(row["after_delta_low"], row["after_delta_high"], signed)),
            Cell(p_text(row["after_p"])),
            recovery_cell(row),
        ]
        for row, top in zip(records(frame), best, strict=True)
    ]
    policies = join(list(dict.fromkeys(frame["policy"])))
    caption = (
        f"Devices ask: {policies}. ● best after the change; small: 95 % intervals over devices, paired for "
        "differences. All items are candidates, cut-off 10. A dash: no change point is known."
    )
    return Table(caption, header, rows)


def _against_random(setting: Setting, members: Sequence[Setting], method: str) -> dict[str, float]:
    """The same method under the policy random with the same budget."""
    nothing = dict.fromkeys(("random_delta", "random_low", "random_high", "random_p"), math.nan)
    for other in members:
        alike = _budget(other) == _budget(setting) and other is not setting and method in other.methods
        if _policy(other) == "random" and alike:
            found = pair(other, setting, method)
            return {
                "random_delta": found["ndcg@10_delta"],
                "random_low": found["ndcg@10_delta_low"],
                "random_high": found["ndcg@10_delta_high"],
                "random_p": found["ndcg@10_p"],
            }
    return nothing


def _policy(setting: Setting) -> str:
    each = (
        " per device" if setting.options.get("request_scope") == "device" and "request_rate" in setting.options else ""
    )
    return f"{setting.options.get('policy', 'always')}{each}"


def _budget(setting: Setting) -> float:
    return float(setting.options.get("request_rate", math.nan))


def _called(setting: Setting) -> str:
    return called(_policy(setting), _budget(setting))


def _options(setting: Setting, keys: Sequence[str]) -> str:
    return json.dumps({key: setting.options.get(key) for key in keys}, default=str)
