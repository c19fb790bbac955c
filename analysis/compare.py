"""One table and one report over several runs: seeds, scenarios, backbones.

    python -m analysis.compare RUN RUN ... [--out DIR]

Runs that differ in their seeds or methods only are taken together as one setting. Settings are compared
method by method with the first one, paired over the devices that both have, if these are the same users with
the same events. Where there is more than one kind of device, each of them is compared too. Writes
``comparison.csv``, ``paired.csv``, ``tiers.csv``, ``fairness.csv``, ``figures/`` and ``comparison.html``. Runs that
differ in drift or request policy get ``policies.csv`` and ``around.csv`` (:mod:`analysis.policies`), runs that differ
in delivery ``deliveries.csv``. The runs stay as they are.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from core.cli import run as run_command

if TYPE_CHECKING:
    from rich.table import Table as TerminalTable


def compare(runs: Sequence[str | Path], out: str | Path | None = None) -> Path:
    """Compare finished runs; returns the path of ``comparison.html``.

    ``out`` is the folder to write to (default: ``comparison-<hash of the runs>`` beside the first run).
    Raises :class:`core.errors.UserError` if there are fewer than two runs, one of them is no finished run, or two of
    them contradict.
    """
    return comparison(runs, out)[0]


def comparison(runs: Sequence[str | Path], out: str | Path | None = None) -> "tuple[Path, TerminalTable]":
    """The same; returns the table for the terminal too."""
    from analysis.comparison import write_comparison  # drawing is slow to import, and --help needs none of it

    return write_comparison(runs, out)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m analysis.compare", description="Compare finished runs.")
    parser.add_argument("runs", type=Path, nargs="+", metavar="RUN", help="run folders, two or more")
    parser.add_argument("--out", type=Path, help="folder to write to (default: beside the first run)")
    given = parser.parse_args(arguments)

    def command() -> None:
        from analysis.tables import show

        page, table = comparison(given.runs, given.out)
        show(table)
        print(page)

    return run_command(command)


if __name__ == "__main__":
    sys.exit(main())
