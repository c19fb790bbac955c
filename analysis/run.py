"""A finished run, as pandas frames."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from analysis.summary import summarise
from core import schema
from core.errors import UserError
from core.run_folder import COVERAGE, read_config, read_sessions

QUALITY = (
    *(("hits", "ndcg"), ("hits_stale", "ndcg_stale"), ("hits_fresh", "ndcg_fresh"), ("hits_sampled", "ndcg_sampled")),
    *(("hits_5", "ndcg_5"), ("hits_20", "ndcg_20"), ("hits_1", "hits_1")),
)
"""Columns of a row that hold quality: hits are at most its events, and NDCG is at most its hits."""
ROUNDING = 1e-6
"""By how much a sum of rounded numbers may pass its bound."""


class Played:
    """Rows of device-sessions, of one run or of several together."""

    sessions: pd.DataFrame
    """One row per seed, method, device and session; see :data:`core.schema.SESSIONS`."""
    coverage: pd.DataFrame | None = None
    """One row per seed and method; see :data:`core.schema.COVERAGE`; None if nothing was recorded."""

    @property
    def methods(self) -> list[str]:
        """The methods in their order."""
        raise NotImplementedError

    @property
    def titles(self) -> dict[str, str]:
        """What methods are called in tables and figures, by name."""
        raise NotImplementedError

    def title(self, method: str) -> str:
        """What a method is called; one without a title keeps its own name."""
        return self.titles.get(method, method)

    @property
    def seeds(self) -> list[int]:
        """The seeds that were played, ascending."""
        return sorted(int(seed) for seed in self.sessions["seed"].unique())

    @property
    def tiers(self) -> list[str]:
        """The kinds of devices, the slowest first: by simulated seconds per multiply-accumulate, then by name."""
        ran = self.sessions[self.sessions["macs"] > 0]
        pace = (ran["seconds_inference"] / ran["macs"]).groupby(ran["tier"]).mean()
        names = sorted(self.sessions["tier"].unique().tolist())
        return sorted(names, key=lambda name: -float(pace.get(name, float("inf"))))

    @cached_property
    def summary(self) -> pd.DataFrame:
        """One row per method, as in ``summary.csv``; see :data:`core.schema.SUMMARY`."""
        return summarise(self.sessions, self.methods, coverage=self.coverage)


@dataclass(frozen=True)
class Run(Played):
    """What a finished run left behind."""

    path: Path
    """The run folder."""
    config: dict[str, Any]
    """``config.toml``: ``run`` (options as resolved), ``data`` (sizes), ``titles`` and ``notes`` of methods, ..."""
    sessions: pd.DataFrame
    training: pd.DataFrame
    """One row per trained model and epoch; see :data:`core.schema.TRAINING`; empty if nothing was recorded."""
    coverage: pd.DataFrame | None = None

    @property
    def options(self) -> dict[str, Any]:
        """The options of the run, by their names in ``config.toml``."""
        return dict(self.config.get("run", {}))

    @property
    def methods(self) -> list[str]:
        """The methods in the order of the configuration; what it does not name comes last."""
        found = self.sessions["method"].unique().tolist()
        named = [name for name in method_names(self.options) if name in found]
        return named + sorted(set(found) - set(named))

    @property
    def titles(self) -> dict[str, str]:
        """What methods are called in tables and figures, by name."""
        return dict(self.config.get("titles", {}))

    @property
    def notes(self) -> dict[str, str]:
        """What methods do, in half a sentence, by name."""
        return dict(self.config.get("notes", {}))


def load(run: str | Path) -> Run:
    """Read a finished run folder.

    Raises :class:`UserError` if ``run`` is no run folder, is unfinished, does not hold what a run holds, or holds
    numbers that cannot be.
    """
    path = Path(run).expanduser()
    config = read_config(path)
    sessions = _sessions(path)
    training = _training(path)
    _check_finished(path, config, sessions)
    coverage = _table(path / COVERAGE, schema.COVERAGE, "delete it and do without")
    return Run(path, config, sessions, training, coverage)


def method_names(options: dict[str, Any]) -> list[str]:
    """The option ``methods``, a list or names separated by commas."""
    given = options.get("methods", [])
    names = given.split(",") if isinstance(given, str) else given
    return [str(name).strip() for name in names if str(name).strip()]


def _sessions(path: Path) -> pd.DataFrame:
    file = path / "sessions.parquet"
    frame = read_sessions(path)
    absent: dict[str, Any] = {
        column.name: column.stands_in
        for column in schema.SESSIONS
        if column.stands_in is not schema.NEEDED and column.name not in frame.columns
    }
    frame = frame.assign(**absent)
    missing = [one.name for one in schema.SESSIONS if not one.optional and one.name not in frame.columns]
    if missing:
        raise UserError(f"{file} lacks the columns {', '.join(missing)}; was it written by another version?")
    if frame.empty:
        raise UserError(f"{path} is unfinished: its sessions.parquet has no rows; {_CONTINUE}")
    _check_numbers(file, frame, schema.SESSIONS, _AGAIN)
    _check_quality(file, frame)
    return frame


def _training(path: Path) -> pd.DataFrame:
    frame = _table(path / "training.csv", schema.TRAINING, "delete it and do without")
    return pd.DataFrame(columns=schema.names(schema.TRAINING)) if frame is None else frame.astype({"best": bool})


def _table(file: Path, columns: Sequence[schema.Column], mend: str) -> pd.DataFrame | None:
    """A table that a run can do without; None if there is none. Raises :class:`UserError` if it is damaged."""
    if not file.is_file():
        return None
    try:
        frame = pd.read_csv(file)
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise UserError(f"{file} is damaged: {_first_line(error)}; {mend}") from error
    missing = [name for name in schema.names(columns) if name not in frame.columns]
    if missing:
        raise UserError(f"{file} lacks the columns {', '.join(missing)}; {mend}")
    _check_numbers(file, frame, columns, mend)
    return frame


def _check_numbers(file: Path, frame: pd.DataFrame, columns: Sequence[schema.Column], mend: str) -> None:
    """Raise :class:`UserError` for the first number that its column does not allow."""
    for column in columns:
        if column.name not in frame or column.dtype in ("text", "bool"):
            continue
        values = pd.to_numeric(frame[column.name], errors="coerce").to_numpy(float)
        wrong = ~np.isfinite(values)
        if column.missing:
            wrong &= ~np.isnan(values)
        if column.infinite:
            wrong &= values != np.inf
        if not column.signed:
            wrong |= values < 0
        if wrong.any():
            raise UserError(_refused(file, frame, int(wrong.argmax()), column.name, "which cannot be", mend))


def _check_quality(file: Path, frame: pd.DataFrame) -> None:
    """Raise :class:`UserError` for the first row with an unknown status, more hits than events, or more NDCG than
    hits."""
    unknown = ~frame["status"].isin(list(schema.STATUSES))
    if unknown.any():
        why = f"which is none of {', '.join(schema.STATUSES)}"
        raise UserError(_refused(file, frame, int(unknown.to_numpy().argmax()), "status", why, _AGAIN))
    for hits, ndcg in QUALITY:
        for low, high in ((hits, "events"), (ndcg, hits)):
            if low not in frame or high not in frame:
                continue
            wrong = frame[low].to_numpy(float) > frame[high].to_numpy(float) + ROUNDING
            if wrong.any():
                row = int(wrong.argmax())
                why = f"more than {high} ({frame[high].iloc[row]:g})"
                raise UserError(_refused(file, frame, row, low, why, _AGAIN))


def _refused(file: Path, frame: pd.DataFrame, row: int, column: str, why: str, mend: str) -> str:
    """The line on a number that cannot be: file, row and what names the row, column and value, how to mend it."""
    keys = [name for name in ("method", "seed", "device", "session", "epoch") if name in frame]
    where = ", ".join(f"{name} {frame[name].iloc[row]}" for name in keys)
    return f"{file}, row {row} ({where}): {column} is {frame[column].iloc[row]}, {why}; {mend}"


def _check_finished(path: Path, config: dict[str, Any], sessions: pd.DataFrame) -> None:
    """Every method of the configuration has been played with every seed."""
    options = config["run"]
    first, count = int(options.get("seed", 0)), int(options.get("seeds", 1))
    played = set(zip(sessions["method"].tolist(), sessions["seed"].tolist(), strict=True))
    for seed in range(first, first + count):
        for method in method_names(options):
            if (method, seed) not in played:
                raise UserError(f"{path} is unfinished: {method} was not played with seed {seed}; {_CONTINUE}")


_AGAIN = "play the run again into an empty folder"
_CONTINUE = "start the run's command again, which continues it"


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__


def columns() -> pd.DataFrame:
    """Every column of ``sessions.parquet``, ``summary.csv``, ...: ``file, column, unit, meaning``.

    They are the columns of ``run.sessions``, ``run.summary`` and ``run.training`` of ``run = analysis.load(RUN)``.
    """
    rows = [(file, one.name, one.unit, one.meaning) for file, listed in schema.FILES.items() for one in listed]
    return pd.DataFrame(rows, columns=["file", "column", "unit", "meaning"])
