"""Figures and report of a finished run, from its files alone.

    python -m analysis.report RUN

writes ``summary.csv``, ``tiers.csv``, ``figures/`` and ``report.html`` into the run folder, ``pairs.csv`` and
``seeds.csv`` if it has several methods and seeds, and ``around.csv`` if devices change in it; nothing is played again.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from core.cli import run as run_command


def build_report(run_folder: str | Path) -> Path:
    """Write summary, figures and report of a finished run; returns the path of ``report.html``.

    Raises :class:`core.errors.UserError` if the folder is no finished run.
    """
    from analysis import captions, figures
    from analysis.drift import around
    from analysis.page import render
    from analysis.run import load
    from analysis.sections import case_study, data_facts, failures, privacy, results
    from analysis.text import plural
    from analysis.tiers import tier_table
    from core import atomic

    run = load(run_folder)
    atomic.write(run.path / "summary.csv", run.summary.to_csv(index=False))
    if len(run.methods) > 1:
        atomic.write(run.path / "pairs.csv", run.pairs.to_csv(index=False))
    if len(run.seeds) > 1:
        atomic.write(run.path / "seeds.csv", run.by_seed.to_csv(index=False))
    if len(changes := around(run.sessions, run.methods)):
        atomic.write(run.path / "around.csv", changes.to_csv(index=False))
    atomic.write(run.path / "tiers.csv", tier_table(run.sessions, run.tiers, run.methods).to_csv(index=False))
    sections = [
        results.section(run),
        *figures.sections(run, figures.collect(run), run.path / "figures"),
        *(found for one in (failures, case_study, privacy, data_facts) if (found := one.section(run)) is not None),
    ]
    commands = {
        "The run (trained models are taken from the cache if they are there):": captions.command(run.options),
        "In the folder of this page, it and its figures again, without playing:": "python -m analysis.report .",
        "In a notebook, beside this page:": 'import analysis\nrun = analysis.load(".")\nrun.summary',
    }
    text = render(
        title=f"{captions.dataset_title(run)}: {plural(len(run.methods), 'method')} on devices",
        lead=captions.caption(run),
        warnings=results.warnings(run),
        findings=results.in_short(run),
        sections=sections,
        protocol=captions.facts(run),
        methods=[(run.title(method), run.notes[method]) for method in run.methods if method in run.notes],
        commands=commands.items(),
        versions=", ".join(f"{name} {version}" for name, version in run.config.get("versions", {}).items()),
    )
    return atomic.write(run.path / "report.html", text)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m analysis.report", description="Build summary, figures and report of a finished run."
    )
    parser.add_argument("run", type=Path, help="run folder: the one with config.toml and sessions.parquet in it")
    given = parser.parse_args(arguments)
    return run_command(lambda: print(build_report(given.run)))


if __name__ == "__main__":
    sys.exit(main())
