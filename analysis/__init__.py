"""Reads finished runs: tables, figures, the report.

In a notebook, one line is enough::

    run = analysis.load("runs/ml1m-1000-1a2b3c4d")

after which ``run.sessions``, ``run.training`` and ``run.summary`` are pandas frames. ``analysis.columns()`` lists what
their columns hold, with units.

After a run, :func:`build_report` writes its tables, figures and page.
"""

from pathlib import Path

from analysis.run import Run, columns, load
from analysis.summary import summarise
from analysis.summary_table import terminal_table

__all__ = ["Run", "build_report", "columns", "load", "summarise", "terminal_table"]


def build_report(run_folder: str | Path) -> Path:
    """Write ``summary.csv``, ``figures/`` and ``report.html`` of a finished run; returns the page's path.

    Raises :class:`core.errors.UserError` if the folder is no finished run.
    """
    from analysis.report import build_report as build  # drawing is slow to import, and reading needs none of it

    return build(run_folder)
