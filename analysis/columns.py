"""What the columns of a run's files hold, and in which units: ``analysis.columns()``."""

import pandas as pd

from analysis.loading import EXTRA_COLUMNS, SESSION_COLUMNS, TRAINING_COLUMNS
from analysis.summary import SUMMARY_COLUMNS

FILES = {
    "sessions.parquet": SESSION_COLUMNS | EXTRA_COLUMNS,
    "summary.csv": SUMMARY_COLUMNS,
    "training.csv": TRAINING_COLUMNS,
}

UNITS = {
    "text": ("method", "status", "tier", "phase"),
    "yes or no": ("requested", "served", "adapted", "best"),
    "number": ("seed", "device", "session", "epoch"),
    "count": ("events", "hits", "hits_stale", "hits_fresh", "blocks", "devices", "sessions", "seeds"),
    "bit mask": ("path",),
    "0 to 1, summed over events": ("ndcg", "ndcg_stale", "ndcg_fresh"),
    "0 to 1": (
        *("hit@10", "ndcg@10", "ndcg@10_low", "ndcg@10_high", "hit@10_sd", "ndcg@10_sd", "ndcg@10_p"),
        *("valid_ndcg@10", "valid_hit@10"),
    ),
    "-1 to 1": ("ndcg@10_delta", "ndcg@10_delta_low", "ndcg@10_delta_high"),
    "share": ("served in summary.csv",),
    "multiply-accumulates": ("macs", "macs_paper", "macs_session", "budget_macs"),
    "10^6 multiply-accumulates": ("macs_m", "macs_paper_m", "macs_session_m"),
    "bit": ("param_bits", "bits_down", "bits_up"),
    "10^6 bit": ("param_mbit", "downlink_mbit"),
    "10^3 bit": ("uplink_kbit",),
    "requests a session": ("requests_per_session",),
    "s": ("seconds_adapt", "seconds_wait", "seconds_inference", "seconds"),
    "J": ("joules",),
    "nats": ("loss",),
}
"""The columns by unit; where two files disagree, the file is named."""


def columns() -> pd.DataFrame:
    """Every column of ``sessions.parquet``, ``summary.csv`` and ``training.csv``: ``file, column, unit, meaning``.

    They are the columns of ``run.sessions``, ``run.summary`` and ``run.training`` of ``run = analysis.load(RUN)``.
    """
    units = {name: unit for unit, names in UNITS.items() for name in names}
    return pd.DataFrame(
        [
            {"file": file, "column": name, "unit": units.get(f"{name} in {file}") or units[name], "meaning": meaning}
            for file, meanings in FILES.items()
            for name, meaning in meanings.items()
        ]
    )
