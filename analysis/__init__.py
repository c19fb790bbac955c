"""Reads finished runs: tables, figures, the report.

In a notebook, one line is enough::

    run = analysis.load("runs/ml1m-1000-1a2b3c4d")

after which ``run.sessions``, ``run.training`` and ``run.summary`` are pandas frames. ``analysis.columns()`` lists what
their columns hold, with units.

After a run, :func:`build_report` writes its tables, figures and page.
"""

import pkgutil
import runpy
from pathlib import Path
from typing import TYPE_CHECKING, Any

# Before anything of ours is imported, and by its path: `core` may be what is hidden.
runpy.run_path(str(Path(__file__).resolve().parents[1] / "core" / "shadow.py"))["refuse"]()

if TYPE_CHECKING:
    from analysis.report import build_report
    from analysis.run import Run, columns, load
    from analysis.summary import summarise
    from analysis.summary_table import terminal_table

__all__ = ["Run", "build_report", "columns", "load", "summarise", "terminal_table"]

_PLACES = {"summarise": "summary", "terminal_table": "summary_table", "build_report": "report"}


def __getattr__(name: str) -> Any:
    """Import what is used: pandas takes a second, drawing another, and ``--help`` of a command needs neither."""
    if name not in __all__:
        raise AttributeError(f"module 'analysis' has no attribute '{name}'")
    return pkgutil.resolve_name(f"analysis.{_PLACES.get(name, 'run')}:{name}")
