"""Figures and report of a finished run, from its files alone.

    python -m analysis.report RUN

writes ``summary.csv``, ``tiers.csv``, ``figures/`` and ``report.html`` into the run folder; nothing is played again.
"""

import argparse
import math
import sys
from collections.abc import Sequence
from pathlib import Path

from analysis import case_study, drift_tables, figures, protocol, tier_pages, training_table, wording
from analysis.loading import Run, load
from analysis.names import (
    BASELINE,
    NOTES,
    interval,
    number,
    p_text,
    percent,
    quality,
    signed,
    signed_percent,
    title,
)
from analysis.page import Cell, Picture, Section, Table, column, noted, render, write
from analysis.summary import relative_difference
from analysis.tiers_table import tier_table
from core.errors import UserError


def build_report(run_folder: str | Path) -> Path:
    """Write summary, figures and report of a finished run; returns the path of ``report.html``.

    Raises :class:`UserError` if the folder is no finished run.
    """
    run = load(run_folder)
    write(run.path / "summary.csv", run.summary.to_csv(index=False))
    write(run.path / "tiers.csv", tier_table(run.sessions, run.tiers, run.methods).to_csv(index=False))
    sections = [_results(run)]
    drawn = figures.collect(run)
    _remove_others(run.path / "figures", drawn)
    for name, one in drawn.items():
        page, phone = one.publish(run.path / "figures")
        said = wording.finding(name, run, one.frame)
        picture = Picture.of(page, phone, f"{one.title}. {said}")
        tables = [_cost_table(run)] if name == "costs" else tier_pages.tables(name, one.frame)
        tables += drift_tables.tables(name, run)
        tables += [training_table.table(run.training)] if name == "training" else []
        sections.append(Section(name, one.title, wording.READINGS[name], said, picture, tables))
    sections += tier_pages.failures(run.sessions, run.tiers, run.methods)
    if (case := case_study.section(run.path)) is not None:
        sections.append(case)
    text = render(
        "report.html.j2",
        title=f"{protocol.dataset_title(run)}: {protocol.plural(len(run.methods), 'method')} on devices",
        lead=protocol.caption(run),
        warnings=_warnings(run),
        findings=wording.in_short(run),
        sections=sections,
        protocol=_protocol(run),
        methods=[(title(method), NOTES[method]) for method in run.methods if method in NOTES],
        commands=_commands(run),
        versions=", ".join(f"{name} {version}" for name, version in run.config.get("versions", {}).items()),
    )
    return write(run.path / "report.html", text)


def _results(run: Run) -> Section:
    reading = (
        "Intervals are 95 % bootstrap intervals over devices; differences are paired: the same devices, the same "
        "events. They say how far the result depends on which devices were simulated"
    )
    if len(run.seeds) > 1:
        reading += "; ± is the standard deviation over the seeds, that is, over trainings."
    else:
        reading += ", not how far it depends on the training, which was done with one seed."
    return Section("results", "Results", reading, "", tables=[_quality_table(run)])


def _quality_table(run: Run) -> Table:
    rows = run.summary
    ndcg, hit = rows["ndcg@10"].tolist(), rows["hit@10"].tolist()
    header = [("Method", ""), ("NDCG@10", "95 % interval"), ("Hit@10", "")]
    columns = [
        [Cell(title(method)) for method in rows["method"]],
        noted(
            column(ndcg, [quality(value) for value in ndcg], max(ndcg)),
            [interval(low, high) for low, high in zip(rows["ndcg@10_low"], rows["ndcg@10_high"], strict=True)],
        ),
        column(hit, [quality(value) for value in hit], max(hit)),
    ]
    if len(run.seeds) > 1:
        header[2] = ("Hit@10", "± over seeds")
        columns[2] = noted(columns[2], [f"± {quality(spread)}" for spread in rows["hit@10_sd"]])
        header.insert(2, ("NDCG@10", "± over seeds"))
        columns.insert(2, [Cell(f"± {quality(spread)}") for spread in rows["ndcg@10_sd"]])
    if rows["ndcg@10_delta"].notna().any():
        header += [("Difference", "to DeviceRec"), ("in %", ""), ("p", "")]
        bounds = zip(rows["ndcg@10_delta_low"], rows["ndcg@10_delta_high"], strict=True)
        columns += [
            noted(
                [Cell(signed(value)) for value in rows["ndcg@10_delta"]],
                [interval(low, high, signed) for low, high in bounds],
            ),
            [Cell(signed_percent(share)) for share in relative_difference(rows)],
            [Cell(p_text(p)) for p in rows["ndcg@10_p"]],
        ]
    served = rows["served"].tolist()
    columns.append(column(served, [percent(share) for share in served], max(served)))
    header.append(("Served", "of sessions"))
    caption = f"● best of its column; small: 95 % intervals. {protocol.caption(run)}"
    return Table(caption, header, [list(cells) for cells in zip(*columns, strict=True)])


def _cost_table(run: Run) -> Table:
    rows = run.summary
    shown = [
        ("Blocks", "", rows["blocks"]),
        ("MACs", "M, counted", rows["macs_m"]),
        ("MACs", "M, paper's", rows["macs_paper_m"]),
        ("MACs", "M a session", rows["macs_session_m"]),
        ("Model", "Mbit", rows["param_mbit"]),
        ("Requests", "", rows["requests_per_session"]),
        ("Uplink", "kbit", rows["uplink_kbit"]),
        ("Downlink", "Mbit", rows["downlink_mbit"]),
        ("Adaptation", "ms", 1e3 * rows["seconds_adapt"]),
        ("Inference", "µs", 1e6 * rows["seconds_inference"]),
        ("Energy", "mJ", 1e3 * rows["joules"]),
    ]
    shown = [column for column in shown if column[2].notna().any()]  # a run of an earlier version lacks some
    columns = [[Cell(title(method)) for method in rows["method"]]]
    for _, _, values in shown:
        numbers = [float(value) for value in values]
        columns.append(column(numbers, [number(value) for value in numbers], min(numbers)))
    header = [("Method", ""), *((name, unit) for name, unit, _ in shown)]
    caption = (
        "● least of its column. MACs (counted, paper's) and inference: mean of one inference. MACs a session: all "
        "that the device multiplies, extractors and its own training included. Requests, uplink, downlink, adaptation, "
        "energy: mean of a device-session."
    )
    return Table(caption, header, [list(cells) for cells in zip(*columns, strict=True)])


def _protocol(run: Run) -> list[tuple[str, str]]:
    options = run.options
    facts = [
        ("Data", ": ".join(part for part in (protocol.dataset_title(run), protocol.data_line(run)) if part)),
        ("Split", protocol.split(options)),
        ("Candidates, cut-off", f"{protocol.candidates(run)}, the first 10 count"),
        ("Played", protocol.played(run)),
        ("Network", protocol.backbone_title(options)),
        ("Context", f"{options.get('context', '?')} items for a prediction"),
    ]
    if "session_length" in options and "session_gap" in options:
        gap = float(options["session_gap"])
        pause = f", or {gap:g} minutes without one" if math.isfinite(gap) else ""
        facts.append(("A session ends", f"after {options['session_length']} interactions{pause}"))
    mix = [str(part) for part in (options.get("scenario"), run.config.get("data", {}).get("scenario")) if part]
    facts.append(("Device mix", ": ".join(mix)))
    names = {
        "memory": "Items read to adapt",
        "drift": "Drift of interests",
        "policy": "Devices ask for a network",
        "cloud_users": "The cloud trains on",
        "backend": "Executed by",
    }
    values = {"always": "before every session", "simulated": "the simulated devices' histories"}
    values |= {"all": "every user's history", "inprocess": "the in-process grid", "natural": "natural: as in the data"}
    facts += [(name, values.get(str(options[key]), str(options[key]))) for key, name in names.items() if key in options]
    facts.append(("Not served", "a device that cannot run a method's network ranks by popularity and is counted so"))
    return facts


def _commands(run: Run) -> list[dict[str, str]]:
    return [
        {
            "text": "The run (trained models are taken from the cache if they are there):",
            "command": protocol.command(run.options),
        },
        {
            "text": "This page and its figures again, without playing:",
            "command": f"python -m analysis.report {run.path.name}",
        },
        {"text": "In a notebook:", "command": f'import analysis\nrun = analysis.load("{run.path.name}")\nrun.summary'},
    ]


def _warnings(run: Run) -> list[str]:
    found = []
    events = run.summary.set_index("method")["events"]
    if events.nunique() > 1:
        parts = ", ".join(f"{title(str(method))} {count:,}" for method, count in events.items())
        found.append(f"The methods did not play the same number of events ({parts}): some device-sessions are missing.")
    if BASELINE not in run.methods:
        found.append("DeviceRec was not played, so there are no differences to it.")
    return found


def _remove_others(folder: Path, drawn: dict[str, figures.Drawn]) -> None:
    """An earlier report of this run may have had figures that this one has not."""
    for name in figures.FIGURES:
        if name not in drawn:
            for kind in ("png", "pdf", "csv"):
                (folder / f"{name}.{kind}").unlink(missing_ok=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m analysis.report", description="Build summary, figures and report of a finished run."
    )
    parser.add_argument("run", type=Path, help="run folder: the one with config.toml and sessions.parquet in it")
    given = parser.parse_args(arguments)
    try:
        print(build_report(given.run))
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
