"""Reads finished runs: tables, figures, the report.

In a notebook, one line is enough::

    run = analysis.load("runs/ml1m-1000-1a2b3c4d")

after which ``run.sessions``, ``run.training`` and ``run.summary`` are pandas frames. ``analysis.columns()`` lists what
their columns hold, with units.

After a run, :func:`build_report` writes its tables, figures and page.
"""

import runpy
from pathlib import Path

# Before anything of ours is imported, and by its path: `core` may be what is hidden.
runpy.run_path(str(Path(__file__).resolve().parents[1] / "core" / "shadow.py"))["refuse"]()

from analysis.run import Run, columns, load  # noqa: E402
from analysis.summary import summarise  # noqa: E402
from analysis.summary_table import terminal_table  # noqa: E402

__all__ = ["Run", "build_report", "columns", "load", "summarise", "terminal_table"]


def build_report(run_folder: str | Path) -> Path:
    """Write ``summary.csv``, ``figures/`` and ``report.html`` of a finished run; returns the page's path.

    Raises :class:`core.errors.UserError` if the folder is no finished run.
    """
    from analysis.report import build_report as build  # drawing is slow to import, and reading needs none of it

    return build(run_folder)
