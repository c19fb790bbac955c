"""One table and one report over several runs: seeds, scenarios, backbones.

    python -m analysis.compare RUN RUN ... [--out DIR]

Runs that differ in their seeds or methods only are taken together as one setting. Settings are compared
method by method with the first one, paired over the devices that both have, if these are the same users with
the same events. Where there is more than one kind of device, each of them is compared too. Writes
``comparison.csv``, ``paired.csv``, ``tiers.csv``, ``fairness.csv``, ``figures/`` and ``comparison.html``, and for
runs that differ in drift or request policy ``policies.csv`` and ``around.csv`` (:mod:`analysis.policies`); the runs
stay as they are.
"""

import argparse
import hashlib
import math
import sys
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from rich import box
from rich.console import Console
from rich.table import Table as TerminalTable

from analysis import mixes, policies, protocol
from analysis.figures import Drawn
from analysis.figures import settings as settings_figure
from analysis.loading import load
from analysis.names import (
    NOTES,
    interval,
    join,
    number,
    p_text,
    percent,
    quality,
    signed,
    signed_percent,
    title,
)
from analysis.page import Cell, Picture, Section, Table, noted, render, write
from analysis.settings import Setting, compare_settings, group
from analysis.summary import relative_difference
from analysis.wording import records
from core.errors import UserError

READING = (
    "Intervals are 95 % bootstrap intervals over devices; ± is the standard deviation over seeds. Differences to "
    "DeviceRec are paired over devices within a setting."
)
PAIRED_READING = (
    "The same method in another setting, over the devices that both settings have. Devices are the same only if the "
    "data set is the same and every common device has the same number of events in both; otherwise nothing is compared."
)


def compare(runs: Sequence[str | Path], out: str | Path | None = None) -> Path:
    """Compare finished runs; returns the path of ``comparison.html``.

    ``out`` is the folder to write to (default: ``comparison-<hash of the runs>`` beside the first run).
    Raises :class:`UserError` if there are fewer than two runs, one of them is no finished run, or two of them
    contradict.
    """
    if len(runs) < 2:
        raise UserError("a comparison needs at least two run folders")
    settings = group([load(run) for run in runs])
    folder = Path(out).expanduser() if out is not None else _default(runs)
    folder.mkdir(parents=True, exist_ok=True)
    table, pairs = tabulate(settings), compare_settings(settings)
    write(folder / "comparison.csv", table.to_csv(index=False))
    write(folder / "paired.csv", pairs.to_csv(index=False))
    if policies.swept(settings):
        findings, sections = policies.page(settings, folder)
    else:
        findings, sections = _findings(settings, pairs), _sections(settings, table, pairs, folder)
    text = render(
        "report.html.j2",
        title=f"{protocol.plural(len(runs), 'run')} compared",
        lead=_lead(settings),
        warnings=_warnings(pairs),
        findings=findings,
        sections=sections,
        protocol=[(f"{setting.name}: {setting.label}", _played(setting)) for setting in settings],
        methods=[(title(method), NOTES[method]) for method in table["method"].unique() if method in NOTES],
        commands=[
            {"text": f"{run.path.name}:", "command": protocol.command(run.options)}
            for setting in settings
            for run in setting.runs
        ]
        + [{"text": "This page:", "command": f"python -m analysis.compare {' '.join(Path(r).name for r in runs)}"}],
        versions="",
    )
    return write(folder / "comparison.html", text)


def tabulate(settings: Sequence[Setting]) -> pd.DataFrame:
    """One row per setting and method: ``setting``, ``label``, ``runs``, then the columns of a summary."""
    frames = []
    for setting in settings:
        frame = setting.summary.copy()
        frame.insert(0, "runs", len(setting.runs))
        frame.insert(0, "label", setting.label)
        frame.insert(0, "setting", setting.name)
        frames.append(frame)
    return pd.concat(frames, ignore_index=True)


def terminal_table(table: pd.DataFrame) -> TerminalTable:
    """The comparison for the terminal, from what :func:`tabulate` gives."""
    legend = [f"{name}: {label}" for name, label in table.groupby("setting", sort=False)["label"].first().items()]
    notes = "NDCG@10 and Hit@10 against all items, cut-off 10; ±: over seeds; gain: NDCG@10 against DeviceRec's."
    shown = TerminalTable(
        title="Comparison",
        caption="\n".join([*legend, notes]),
        caption_justify="left",
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
    )
    for header in ("", "method", "NDCG@10", "±", "Hit@10", "gain %", "MACs M", "Mbit", "served"):
        shown.add_column(header, justify="left" if header in ("", "method") else "right", no_wrap=True)
    last = ""
    for row in records(table.assign(gain=relative_difference(table))):
        shown.add_row(
            row["setting"] if row["setting"] != last else "",
            title(row["method"]),
            quality(row["ndcg@10"]),
            quality(row["ndcg@10_sd"]),
            quality(row["hit@10"]),
            signed_percent(row["gain"]).removesuffix("\u00a0%"),
            number(row["macs_m"]),
            number(row["downlink_mbit"]),
            f"{100 * row['served']:.1f}",
        )
        last = row["setting"]
    return shown


def printed(page: Path) -> TerminalTable:
    """The table for the terminal that belongs to this ``comparison.html``."""
    asked = page.parent / "policies.csv"
    if asked.exists():
        return policies.terminal_table(pd.read_csv(asked))
    return terminal_table(pd.read_csv(page.parent / "comparison.csv"))


def _sections(settings: Sequence[Setting], table: pd.DataFrame, pairs: pd.DataFrame, folder: Path) -> list[Section]:
    drawn = Drawn("settings", settings_figure, table)
    page, phone = drawn.publish(folder / "figures")
    best = "; ".join(f"{setting.name}: {_best(setting)}" for setting in settings) + "."
    sections = [
        Section("results", "Results", "", "", tables=[_table(table)]),
        Section("settings", drawn.title, READING, best, Picture.of(page, phone, f"{drawn.title}. {best}")),
    ]
    if len(pairs):
        sections.append(
            Section("paired", "The same devices in other settings", PAIRED_READING, "", tables=[_pairs(pairs)])
        )
    return sections + mixes.sections(settings, table, folder)


def _table(table: pd.DataFrame) -> Table:
    ndcg, hit = table["ndcg@10"].tolist(), table["hit@10"].tolist()
    header = [
        ("Method", "in setting"),
        ("NDCG@10", "95 % interval"),
        ("NDCG@10", "± over seeds"),
        ("Hit@10", ""),
        ("Difference", "to DeviceRec"),
        ("in %", ""),
        ("p", ""),
        ("MACs", "M"),
        ("Downlink", "Mbit"),
        ("Served", "of sessions"),
    ]
    marked = [
        value == table.loc[table["setting"] == label, "ndcg@10"].max()
        for label, value in zip(table["setting"], ndcg, strict=True)
    ]
    columns = [
        [Cell(f"{name}: {title(method)}") for name, method in zip(table["setting"], table["method"], strict=True)],
        [
            Cell(quality(value), best, interval(low, high))
            for value, best, low, high in zip(ndcg, marked, table["ndcg@10_low"], table["ndcg@10_high"], strict=True)
        ],
        [Cell(quality(value)) for value in table["ndcg@10_sd"]],
        [Cell(quality(value)) for value in hit],
        noted(
            [Cell(signed(value)) for value in table["ndcg@10_delta"]],
            [
                interval(low, high, signed)
                for low, high in zip(table["ndcg@10_delta_low"], table["ndcg@10_delta_high"], strict=True)
            ],
        ),
        [Cell(signed_percent(share)) for share in relative_difference(table)],
        [Cell(p_text(p)) for p in table["ndcg@10_p"]],
        [Cell(number(value)) for value in table["macs_m"]],
        [Cell(number(value)) for value in table["downlink_mbit"]],
        [Cell(percent(share)) for share in table["served"]],
    ]
    key = "; ".join(f"{name}: {label}" for name, label in table.groupby("setting")["label"].first().items())
    caption = f"{key}. ● best NDCG@10 of its setting; small: 95 % intervals. All items are candidates, cut-off 10."
    return Table(caption, header, [list(cells) for cells in zip(*columns, strict=True)])


def _pairs(pairs: pd.DataFrame) -> Table:
    header = [
        ("Method", ""),
        ("Settings", ""),
        ("Devices", "in both"),
        ("Difference", "95 % interval"),
        ("in %", ""),
        ("p", ""),
    ]
    rows = [
        [
            Cell(title(row["method"])),
            Cell(f"{row['setting']} against {row['reference']}"),
            Cell(f"{row['devices']:,}" if row["devices"] else "none"),
            Cell(
                signed(row["ndcg@10_delta"]), note=interval(row["ndcg@10_delta_low"], row["ndcg@10_delta_high"], signed)
            ),
            Cell(signed_percent(row["relative"])),
            Cell(p_text(row["ndcg@10_p"])),
        ]
        for row in records(_with_relative(pairs))
    ]
    return Table("Difference in NDCG@10, paired bootstrap over devices.", header, rows)


def _with_relative(pairs: pd.DataFrame) -> pd.DataFrame:
    """The pairs with the difference as a share of the reference's quality, which may be zero."""
    return pairs.assign(relative=pairs["ndcg@10_delta"] / pairs["ndcg@10_reference"])


def _lead(settings: Sequence[Setting]) -> str:
    data = join(list(dict.fromkeys(protocol.dataset_title(setting.runs[0]) for setting in settings)))
    splits = join(list(dict.fromkeys(protocol.split(setting.options, short=True) for setting in settings)))
    return f"{data}; split: {splits}; candidates: all items; cut-off 10; {protocol.plural(len(settings), 'setting')}."


def _played(setting: Setting) -> str:
    names = join([run.path.name for run in setting.runs])
    seeds = join([str(seed) for seed in setting.seeds])
    devices, events = int(setting.summary["devices"].max()), int(setting.summary["events"].max())
    return (
        f"{names}; {protocol.backbone_title(setting.options)}; seed{'s' if len(setting.seeds) > 1 else ''} {seeds}; "
        f"{protocol.plural(devices, 'device')}, {protocol.plural(events, 'event')} per method"
    )


def _best(setting: Setting) -> str:
    best = max(records(setting.summary), key=lambda row: row["ndcg@10"])
    return f"{title(best['method'])} is best with NDCG@10 {quality(best['ndcg@10'])}"


def _findings(settings: Sequence[Setting], pairs: pd.DataFrame) -> list[str]:
    found = []
    for setting in settings:
        rows = records(setting.summary.assign(relative=relative_difference(setting.summary)))
        gains = [
            f"{title(row['method'])} {signed_percent(row['relative'])}"
            for row in rows
            if math.isfinite(row["relative"])
        ]
        text = f"{setting.name} ({setting.label}): {_best(setting)}"
        found.append(f"{text}; against DeviceRec: {join(gains)}." if gains else f"{text}.")
    for (reference, name), part in pairs[pairs["devices"] > 0].groupby(["reference", "setting"], sort=False):
        changes = [
            f"{title(row['method'])} {signed_percent(row['relative'])}"
            + (" (not told apart)" if row["ndcg@10_delta_low"] <= 0 <= row["ndcg@10_delta_high"] else "")
            for row in records(_with_relative(part))
        ]
        found.append(f"{name} against {reference}, NDCG@10 of the same devices: {join(changes)}.")
    return found


def _warnings(pairs: pd.DataFrame) -> list[str]:
    apart = pairs[pairs["devices"] == 0]
    return [
        f"{join(list(dict.fromkeys(part['setting'].tolist())))} cannot be paired with {reference}: their devices are "
        "not the same users with the same events."
        for reference, part in apart.groupby("reference", sort=False)
    ]


def _default(runs: Sequence[str | Path]) -> Path:
    names = sorted(Path(run).expanduser().absolute().name for run in runs)
    return Path(runs[0]).expanduser().absolute().parent / (
        "comparison-" + hashlib.sha256("/".join(names).encode()).hexdigest()[:8]
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m analysis.compare", description="Compare finished runs.")
    parser.add_argument("runs", type=Path, nargs="+", metavar="RUN", help="run folders, two or more")
    parser.add_argument("--out", type=Path, help="folder to write to (default: beside the first run)")
    given = parser.parse_args(arguments)
    try:
        page = compare(given.runs, given.out)
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    Console().print(printed(page))
    print(page)
    return 0


if __name__ == "__main__":
    sys.exit(main())
