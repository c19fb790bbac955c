"""Reads finished runs: tables, figures, the report.

In a notebook, one line is enough::

    run = analysis.load("runs/ml1m-1000-1a2b3c4d")

after which ``run.sessions``, ``run.training`` and ``run.summary`` are pandas frames (columns:
:data:`analysis.loading.SESSION_COLUMNS`, :data:`analysis.loading.TRAINING_COLUMNS` and
:data:`analysis.summary.SUMMARY_COLUMNS`).
"""

from analysis.loading import Run, load

__all__ = ["Run", "load"]
