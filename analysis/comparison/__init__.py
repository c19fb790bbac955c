"""A comparison of runs, page and files; each figure with its words and tables in a file of its own."""

import hashlib
import re
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from rich.table import Table as TerminalTable

from analysis import captions, policies
from analysis.comparison import around, deliveries, mixes, request_curves, settings
from analysis.figures import Drawn
from analysis.page import Section, render
from analysis.run import load
from analysis.run_groups import RunGroup, compare_groups, group_runs, titles
from analysis.sections import data_facts, failures
from analysis.style import Sheet
from analysis.summary import relative_difference
from analysis.summary_table import gain
from analysis.tables import Column, build, method_column, terminal
from analysis.text import join, number, plural, quality
from core import atomic
from core.errors import UserError


def write_comparison(runs: Sequence[str | Path], out: str | Path | None) -> tuple[Path, TerminalTable]:
    """Write page, tables and figures, see :func:`analysis.compare.compare`; also gives the table for the terminal."""
    if len(runs) < 2:
        raise UserError("a comparison needs at least two run folders")
    groups = group_runs([load(run) for run in runs])
    folder = Path(out).expanduser() if out is not None else _default(runs)
    folder.mkdir(parents=True, exist_ok=True)
    table, pairs = tabulate(groups), compare_groups(groups)
    atomic.write(folder / "comparison.csv", table.to_csv(index=False))
    atomic.write(folder / "paired.csv", pairs.to_csv(index=False))
    sheet = Sheet(table["method"].unique().tolist(), titles(groups))
    if policies.swept(groups):
        findings, sections, shown = _policies(groups, folder, sheet)
    else:
        drawn = Drawn("settings", settings, table, sheet)
        findings, shown = settings.in_short(groups, pairs), _shown(table, sheet, _protocol(groups))
        sections = [
            Section("results", "Results", tables=[settings.results_table(table, sheet.title, _protocol(groups))]),
            drawn.section(folder / "figures", settings.finding(groups)),
            *deliveries.sections(groups, table, folder, sheet),
            *settings.paired_section(pairs, sheet.title),
            *mixes.sections(groups, table, folder, sheet),
        ]
    every = [run for group in groups for run in group.runs]
    notes = {name: note for run in every for name, note in run.notes.items()}
    warnings = dict.fromkeys(text for run in every for text in (*data_facts.warnings(run), *failures.warnings(run)))
    page = f"python -m analysis.compare {' '.join(Path(run).name for run in runs)}"
    text = render(
        title=f"{plural(len(runs), 'run')} compared",
        lead=_lead(groups),
        warnings=[*warnings, *settings.warnings(groups, pairs)],
        findings=findings,
        sections=sections,
        protocol=[(f"{group.name}: {group.label}", _played(group)) for group in groups],
        methods=[(sheet.title(method), notes[method]) for method in sheet.methods if method in notes],
        commands=[
            *((f"{run.path.name}:", captions.command(run.options)) for run in every),
            ("This page, where the folders are:", page),
        ],
        versions="",
    )
    return atomic.write(folder / "comparison.html", text), shown


def tabulate(groups: Sequence[RunGroup]) -> pd.DataFrame:
    """One row per setting and method: ``setting``, ``label``, ``runs``, then the columns of a summary."""
    frames = [group.summary.assign(setting=group.name, label=group.label, runs=len(group.runs)) for group in groups]
    columns = ["setting", "label", "runs", *groups[0].summary.columns]
    return pd.concat(frames, ignore_index=True)[columns]


def _shown(table: pd.DataFrame, sheet: Sheet, protocol: str) -> TerminalTable:
    """The comparison for the terminal, from what :func:`tabulate` gives."""
    columns = [
        Column("", "setting"),
        method_column(sheet.title, "method"),
        Column("NDCG@10", "ndcg@10", quality),
        Column("±", "ndcg@10_sd", quality),
        Column("Hit@10", "hit@10", quality),
        Column("gain %", write=gain),
        Column("MACs M", "macs_m", number),
        Column("Mbit", "downlink_mbit", number),
        Column("served", "served", lambda share: f"{100 * share:.1f}"),
    ]
    legend = [f"{name}: {label}" for name, label in table.groupby("setting", sort=False)["label"].first().items()]
    notes = (
        f"{protocol} ±: over seeds; gain: NDCG@10 against DeviceRec's, in brackets if its 95 % interval over devices "
        "includes zero."
    )
    rows = table.assign(relative=relative_difference(table))
    rows["setting"] = rows["setting"].where(rows["setting"] != rows["setting"].shift(), "")
    return terminal(build(rows, columns, "\n".join([*legend, notes])), "Comparison", left=2)


def _policies(groups: Sequence[RunGroup], folder: Path, sheet: Sheet) -> tuple[list[str], list[Section], TerminalTable]:
    """Findings, sections and table of runs that differ in drift or request policy; writes their files."""
    frame, changes = policies.measure(groups), policies.by_world(groups)
    atomic.write(folder / "policies.csv", frame.to_csv(index=False))
    atomic.write(folder / "around.csv", changes.to_csv(index=False))
    found = [around.section(groups, changes, sheet.title, _protocol(groups))]
    for world, mine in frame.groupby("world", sort=False) if policies.asks_differently(groups) else []:
        name = "requests-" + re.sub(r"[^a-z0-9]+", "-", str(world).lower()).strip("-")
        said, table = request_curves.finding(mine, sheet.title), request_curves.table(mine, sheet.title)
        drawn, heading = Drawn(name, request_curves, mine, sheet), f"{request_curves.TITLE}: {world}"
        found.append(drawn.section(folder / "figures", said, [table], heading))
    shown = terminal(request_curves.short_table(frame, sheet.title, _protocol(groups)), "Policies", left=2)
    return around.in_short(changes, sheet.title), found, shown


def _lead(groups: Sequence[RunGroup]) -> str:
    first = [group.runs[0] for group in groups]
    data = join(list(dict.fromkeys(captions.dataset_title(run) for run in first)))
    splits = join(list(dict.fromkeys(captions.split(run.options, short=True) for run in first)))
    return f"{data}; split: {splits}; {plural(len(groups), 'setting')}. {_protocol(groups)}"


def _protocol(groups: Sequence[RunGroup]) -> str:
    """Among which candidates, at which cut-off and with which seeds quality was measured."""
    chosen = join(list(dict.fromkeys(captions.candidates(group.runs[0]) for group in groups)))
    seeds = join([str(seed) for seed in sorted({seed for group in groups for seed in group.seeds})])
    return f"Candidates: {chosen}; cut-off 10; seeds: {seeds}."


def _played(group: RunGroup) -> str:
    names = join([run.path.name for run in group.runs])
    seeds = join([str(seed) for seed in group.seeds])
    devices, events = int(group.summary["devices"].max()), int(group.summary["events"].max())
    limit = captions.sessions_limit(group.options)
    return (
        f"{names}; {captions.backbone_title(group.options)}; seed{'s' if len(group.seeds) > 1 else ''} {seeds}; "
        f"{plural(devices, 'device')}, {plural(events, 'event')} per method{f'; {limit}' if limit else ''}"
    )


def _default(runs: Sequence[str | Path]) -> Path:
    paths = [Path(run).expanduser().absolute() for run in runs]
    names = "/".join(sorted(path.name for path in paths))
    return paths[0].parent / f"comparison-{hashlib.sha256(names.encode()).hexdigest()[:8]}"
