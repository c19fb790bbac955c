"""Every column of a run's tables, once: name, type, unit, meaning, and what stands in for it where a run lacks it.

``sim`` writes its rows in this order and with these types; ``analysis`` checks and explains them. A new column is one
entry here and its value in the row. ``python docs/generate.py`` writes them into docs/run-folder.md.
"""

from collections.abc import Iterable

from core.schema.column import NEEDED, Column
from core.schema.comparison import ASKING, DELIVERIES, PAIRED, POLICIES, PRIVACY
from core.schema.run import (
    AROUND,
    BY_TYPE,
    COVERAGE,
    FAIRNESS,
    FAULTS,
    LATENT,
    ONE_TABLE,
    ORACLES,
    PAIRS,
    PHASES,
    RETRAINING,
    SEEDS,
    SESSIONS,
    STATUSES,
    SUMMARY,
    TIERS,
    TRAINING,
    UPLOADS,
)

__all__ = [
    "AROUND",
    "ASKING",
    "BY_TYPE",
    "COVERAGE",
    "DELIVERIES",
    "FAIRNESS",
    "FAULTS",
    "FILES",
    "LATENT",
    "NEEDED",
    "ONE_TABLE",
    "ORACLES",
    "PAIRED",
    "PAIRS",
    "PHASES",
    "POLICIES",
    "PRIVACY",
    "RETRAINING",
    "SEEDS",
    "SESSIONS",
    "STATUSES",
    "SUMMARY",
    "TIERS",
    "TRAINING",
    "UPLOADS",
    "Column",
    "dtypes",
    "markdown",
    "names",
]

FILES = {
    "sessions.parquet": SESSIONS,
    "uploads.parquet": UPLOADS,
    "summary.csv": SUMMARY,
    "seeds.csv": SEEDS,
    "pairs.csv": PAIRS,
    "training.csv": TRAINING,
    "retraining.csv": RETRAINING,
    "coverage.csv": COVERAGE,
    "tiers.csv": TIERS,
    "fairness.csv": FAIRNESS,
    "around.csv": AROUND,
    "paired.csv": PAIRED,
    "deliveries.csv": DELIVERIES,
    "policies.csv": POLICIES,
    "privacy.csv": PRIVACY,
}
"""The columns of the tables of a run and of a comparison, by file."""


def names(columns: Iterable[Column]) -> list[str]:
    """The names of the columns, in order."""
    return [column.name for column in columns]


def dtypes(columns: Iterable[Column]) -> dict[str, str]:
    """The types of the columns that are not text, by name."""
    return {column.name: column.dtype for column in columns if column.dtype != "text"}


def markdown() -> str:
    """All tables as Markdown: column, type, unit, meaning, and what stands in for a column that a run lacks."""
    lines: list[str] = []
    for file, columns in FILES.items():
        lines += [f"### `{file}`", "", "| column | type | unit | meaning | where a run lacks it |", "| --- " * 5 + "|"]
        for one in columns:
            if one.name in LATENT[1:]:  # they have one line, the first one's
                continue
            name = f"`{one.name}`" + (f" to `{LATENT[-1]}`" if one.name == LATENT[0] else "")
            absent = "left out" if one.optional else "" if one.stands_in is NEEDED else f"`{one.stands_in}`"
            lines.append(f"| {name} | {one.dtype} | {one.unit} | {one.meaning} | {absent} |")
        lines.append("")
    return "\n".join(lines)
