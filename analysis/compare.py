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
import re
import sys
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from rich.console import Console
from rich.table import Table as TerminalTable

from analysis import captions, policies
from analysis.comparison import around, request_curves, run_groups, scenarios
from analysis.figures import Drawn
from analysis.page import Section, render, write
from analysis.run import load
from analysis.run_groups import RunGroup, compare_groups, group_runs, titles
from analysis.sections import data_facts, failures
from analysis.style import Sheet
from analysis.summary import relative_difference
from analysis.tables import Column, build, method_column, terminal
from analysis.text import join, number, plural, quality, signed_percent
from core.cli import run as run_command
from core.errors import UserError


def compare(runs: Sequence[str | Path], out: str | Path | None = None) -> Path:
    """Compare finished runs; returns the path of ``comparison.html``.

    ``out`` is the folder to write to (default: ``comparison-<hash of the runs>`` beside the first run).
    Raises :class:`UserError` if there are fewer than two runs, one of them is no finished run, or two of them
    contradict.
    """
    return comparison(runs, out)[0]


def comparison(runs: Sequence[str | Path], out: str | Path | None = None) -> tuple[Path, TerminalTable]:
    """The same; returns the table for the terminal too."""
    if len(runs) < 2:
        raise UserError("a comparison needs at least two run folders")
    groups = group_runs([load(run) for run in runs])
    folder = Path(out).expanduser() if out is not None else _default(runs)
    folder.mkdir(parents=True, exist_ok=True)
    table, pairs = tabulate(groups), compare_groups(groups)
    write(folder / "comparison.csv", table.to_csv(index=False))
    write(folder / "paired.csv", pairs.to_csv(index=False))
    sheet = Sheet(table["method"].unique().tolist(), titles(groups))
    if policies.swept(groups):
        findings, sections, shown = _policies(groups, folder, sheet)
    else:
        findings, sections = run_groups.in_short(groups, pairs), _settings(groups, table, pairs, folder, sheet)
        shown = _shown(table, sheet)
    notes = {name: note for group in groups for run in group.runs for name, note in run.notes.items()}
    text = render(
        "report.html.j2",
        title=f"{plural(len(runs), 'run')} compared",
        lead=_lead(groups),
        warnings=[*_run_warnings(groups), *run_groups.warnings(pairs)],
        findings=findings,
        sections=sections,
        protocol=[(f"{group.name}: {group.label}", _played(group)) for group in groups],
        methods=[(sheet.title(method), notes[method]) for method in sheet.methods if method in notes],
        commands=[
            {"text": f"{run.path.name}:", "command": captions.command(run.options)}
            for group in groups
            for run in group.runs
        ]
        + [{"text": "This page:", "command": f"python -m analysis.compare {' '.join(Path(r).name for r in runs)}"}],
        versions="",
    )
    return write(folder / "comparison.html", text), shown


def tabulate(groups: Sequence[RunGroup]) -> pd.DataFrame:
    """One row per setting and method: ``setting``, ``label``, ``runs``, then the columns of a summary."""
    frames = []
    for group in groups:
        frame = group.summary.copy()
        frame.insert(0, "runs", len(group.runs))
        frame.insert(0, "label", group.label)
        frame.insert(0, "setting", group.name)
        frames.append(frame)
    return pd.concat(frames, ignore_index=True)


def _shown(table: pd.DataFrame, sheet: Sheet) -> TerminalTable:
    """The comparison for the terminal, from what :func:`tabulate` gives."""
    columns = [
        Column("", "setting"),
        method_column(sheet.title, "method"),
        Column("NDCG@10", "ndcg@10", quality),
        Column("±", "ndcg@10_sd", quality),
        Column("Hit@10", "hit@10", quality),
        Column("gain %", write=lambda row: signed_percent(row["gain"]).removesuffix("\u00a0%")),
        Column("MACs M", "macs_m", number),
        Column("Mbit", "downlink_mbit", number),
        Column("served", "served", lambda share: f"{100 * share:.1f}"),
    ]
    legend = [f"{name}: {label}" for name, label in table.groupby("setting", sort=False)["label"].first().items()]
    notes = "NDCG@10 and Hit@10 at cut-off 10; ±: over seeds; gain: NDCG@10 against DeviceRec's."
    rows = table.assign(gain=relative_difference(table))
    rows["setting"] = rows["setting"].where(rows["setting"] != rows["setting"].shift(), "")
    return terminal(build(rows, columns, "\n".join([*legend, notes])), "Comparison", left=2)


def _policies(groups: Sequence[RunGroup], folder: Path, sheet: Sheet) -> tuple[list[str], list[Section], TerminalTable]:
    """Findings, sections and table of runs that differ in drift or request policy; writes their files."""
    frame, changes = policies.measure(groups), policies.by_world(groups)
    write(folder / "policies.csv", frame.to_csv(index=False))
    write(folder / "around.csv", changes.to_csv(index=False))
    found = [around.section(groups, changes, sheet.title)]
    if policies.asks_differently(groups):
        for world, mine in frame.groupby("world", sort=False):
            name = "requests-" + re.sub(r"[^a-z0-9]+", "-", str(world).lower()).strip("-")
            drawn = Drawn(name, request_curves, mine, sheet)
            said, table = request_curves.finding(mine, sheet.title), request_curves.table(mine, sheet.title)
            found.append(drawn.section(folder / "figures", said, [table], f"{drawn.title}: {world}"))
    shown = terminal(request_curves.short_table(frame, sheet.title), "Policies", left=2)
    return around.in_short(changes, sheet.title), found, shown


def _settings(
    groups: Sequence[RunGroup], table: pd.DataFrame, pairs: pd.DataFrame, folder: Path, sheet: Sheet
) -> list[Section]:
    """The sections of runs that differ in anything else; writes their files."""
    drawn = Drawn("settings", run_groups, table, sheet)
    return [
        Section("results", "Results", tables=[run_groups.results_table(table, sheet.title)]),
        drawn.section(folder / "figures", run_groups.finding(groups)),
        *run_groups.paired_section(pairs, sheet.title),
        *scenarios.sections(groups, table, folder, sheet),
    ]


def _run_warnings(groups: Sequence[RunGroup]) -> list[str]:
    """What the reports of the runs warn of: their data, and faults of the software."""
    runs = [run for group in groups for run in group.runs]
    return list(dict.fromkeys(text for run in runs for text in (*data_facts.warnings(run), *failures.warnings(run))))


def _lead(groups: Sequence[RunGroup]) -> str:
    data = join(list(dict.fromkeys(captions.dataset_title(group.runs[0]) for group in groups)))
    splits = join(list(dict.fromkeys(captions.split(group.options, short=True) for group in groups)))
    chosen = join(list(dict.fromkeys(captions.candidates(run) for group in groups for run in group.runs[:1])))
    return f"{data}; split: {splits}; candidates: {chosen}; cut-off 10; {plural(len(groups), 'setting')}."


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

    def command() -> None:
        page, table = comparison(given.runs, given.out)
        Console().print(table)
        print(page)

    return run_command(command)


if __name__ == "__main__":
    sys.exit(main())
