"""A finished run, as pandas frames."""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from analysis.summary import by_seed, each_against_each, summarise
from core import schema
from core.errors import UserError
from core.run_folder import COVERAGE, read_config, read_sessions

_ENDS = ("", "_stale", "_fresh", "_sampled", "_5", "_20")
BOUNDS = (
    ("hits_1", "events"),
    *((f"hits{end}", "events") for end in _ENDS),
    *((f"ndcg{end}", f"hits{end}") for end in _ENDS),
)
"""Columns of a row and the column that each is at most: hits are at most events, and NDCG is at most its hits."""
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

    @property
    def references(self) -> list[str]:
        """The methods without a network: they never run a block, although devices are served."""
        return self.summary.loc[(self.summary["blocks"] == 0) & (self.summary["served"] > 0), "method"].tolist()

    @cached_property
    def summary(self) -> pd.DataFrame:
        """One row per method, as in ``summary.csv``; see :data:`core.schema.SUMMARY`."""
        return summarise(self.sessions, self.methods, coverage=self.coverage)

    @cached_property
    def by_seed(self) -> pd.DataFrame:
        """Each seed alone, as in ``seeds.csv``; see :data:`core.schema.SEEDS`."""
        return by_seed(self.sessions, self.methods)

    @cached_property
    def pairs(self) -> pd.DataFrame:
        """Every method against every other, as in ``pairs.csv``; see :data:`core.schema.PAIRS`."""
        return each_against_each(self.sessions, self.methods)


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
    config, sessions = read_config(path), _sessions(path)
    training = _table(path / "training.csv", schema.TRAINING)
    if training is None:
        training = pd.DataFrame(columns=schema.names(schema.TRAINING))
    _check_finished(path, config, sessions)
    return Run(path, config, sessions, training.astype({"best": bool}), _table(path / COVERAGE, schema.COVERAGE))


def method_names(options: dict[str, Any]) -> list[str]:
    """The option ``methods``, a list or names separated by commas."""
    given = options.get("methods", [])
    names = given.split(",") if isinstance(given, str) else given
    return [str(name).strip() for name in names if str(name).strip()]


def _sessions(path: Path) -> pd.DataFrame:
    frame = read_sessions(path)
    stands_in: dict[str, Any] = {
        one.name: one.stands_in for one in schema.SESSIONS if one.stands_in is not schema.NEEDED
    }
    for name in [name for name in stands_in if name not in frame]:
        frame[name] = stands_in[name]
    if (frame["user"] == -1).all():
        frame["user"] = frame["device"]
    needed = [one for one in schema.SESSIONS if not one.optional]
    _check_columns(path / "sessions.parquet", frame, needed, "was it written by another version?")
    if frame.empty:
        raise UserError(f"{path} is unfinished: its sessions.parquet has no rows; {_CONTINUE}")
    _check_values(path / "sessions.parquet", frame, schema.SESSIONS, "play the run again into an empty folder")
    return frame


def _table(file: Path, columns: Sequence[schema.Column]) -> pd.DataFrame | None:
    """A table that a run can do without; None if there is none. Raises :class:`UserError` if it is damaged."""
    if not file.is_file():
        return None
    mend = "delete it and do without"
    try:
        frame = pd.read_csv(file)
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        said = str(error).strip().splitlines() or [type(error).__name__]
        raise UserError(f"{file} is damaged: {said[0]}; {mend}") from error
    _check_columns(file, frame, [one for one in columns if one.stands_in is schema.NEEDED], mend)
    _check_values(file, frame, columns, mend)
    return frame.reindex(columns=schema.names(columns))


def _check_columns(file: Path, frame: pd.DataFrame, columns: Sequence[schema.Column], mend: str) -> None:
    missing = [name for name in schema.names(columns) if name not in frame]
    if missing:
        raise UserError(f"{file} lacks the columns {', '.join(missing)}; {mend}")


def _check_values(file: Path, frame: pd.DataFrame, columns: Sequence[schema.Column], mend: str) -> None:
    """Raise :class:`UserError` for the first value that cannot be: file, row and what names the row, column, why."""
    for column, wrong, why in _faults(frame, columns):
        if wrong.any():
            row = frame.iloc[at := int(np.argmax(wrong))]
            keys = [name for name in ("method", "seed", "device", "session", "epoch") if name in frame]
            where = ", ".join(f"{name} {row[name]}" for name in keys)
            raise UserError(f"{file}, row {at} ({where}): {column} is {row[column]}, {why.format_map(row)}; {mend}")


def _faults(frame: pd.DataFrame, columns: Sequence[schema.Column]) -> Iterator[tuple[str, np.ndarray, str]]:
    """Each rule: its column, the rows that break it, and why, in which {column} stands for the row's value."""
    for column in columns:
        if column.name in frame and column.dtype not in ("text", "bool"):
            values = pd.to_numeric(frame[column.name], errors="coerce").to_numpy(float)
            allowed = np.isfinite(values) | (np.isnan(values) & column.missing) | ((values == np.inf) & column.infinite)
            yield column.name, ~allowed | ((values < 0) & (not column.signed)), "which cannot be"
    if "status" in frame:
        known = frame["status"].isin(list(schema.STATUSES)).to_numpy()
        yield "status", ~known, f"which is none of {', '.join(schema.STATUSES)}"
    for name, bound in BOUNDS:
        if name in frame and bound in frame:
            wrong = frame[name].to_numpy(float) > frame[bound].to_numpy(float) + ROUNDING
            yield name, wrong, f"more than {bound} ({{{bound}:g}})"


def _check_finished(path: Path, config: dict[str, Any], sessions: pd.DataFrame) -> None:
    """Every method of the configuration has been played with every seed."""
    options = config["run"]
    first, count = int(options.get("seed", 0)), int(options.get("seeds", 1))
    played = set(zip(sessions["method"].tolist(), sessions["seed"].tolist(), strict=True))
    for seed, method in itertools.product(range(first, first + count), method_names(options)):
        if (method, seed) not in played:
            raise UserError(f"{path} is unfinished: {method} was not played with seed {seed}; {_CONTINUE}")


_CONTINUE = "start the run's command again, which continues it"


def columns() -> pd.DataFrame:
    """Every column of ``sessions.parquet``, ``summary.csv``, ...: ``file, column, unit, meaning``.

    They are the columns of ``run.sessions``, ``run.summary`` and ``run.training`` of ``run = analysis.load(RUN)``.
    """
    rows = [(file, one.name, one.unit, one.meaning) for file, listed in schema.FILES.items() for one in listed]
    return pd.DataFrame(rows, columns=["file", "column", "unit", "meaning"])
