"""A finished run, as pandas frames."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from analysis.summary import summarise
from core.errors import UserError
from core.run_folder import read_config, read_sessions

SESSION_COLUMNS = {
    "seed": "seed of training and of the devices' draws",
    "device": "number of the device, from 0",
    "method": "name of the method, as on the command line",
    "session": "number of the session, from 0",
    "events": "interactions of the session, each of them predicted",
    "hits": "events whose item was among the first 10, counted",
    "ndcg": "NDCG at cut-off 10, summed over the events",
    "requested": "whether the device asked the cloud for a network before the session",
    "path": "bit mask of the blocks that the device ran; bit 0 is the first block",
    "blocks": "number of blocks that the device ran",
    "macs": "multiply-accumulates of one inference, counted from the layers that ran",
    "macs_paper": "multiply-accumulates of one inference, counted as the paper does",
    "macs_session": "multiply-accumulates of the device in a session: predictions, extractors, own training",
    "param_bits": "bits of the weights of the network that the device ran (32 a weight)",
    "bits_down": "bits from the cloud to the device",
    "bits_up": "bits from the device to the cloud",
    "seconds_adapt": "seconds until the device had its network (simulated clock)",
    "seconds_wait": "of them, seconds that the request waited in the cloud's queue",
    "seconds_inference": "seconds of one inference (simulated clock)",
    "joules": "energy of the device over the whole session (simulated)",
    "budget_macs": "multiply-accumulates of one inference that the device could afford; infinite without a ceiling",
    "served": "whether the device could run the method's network; if not, it ranked by popularity",
    "status": "what became of the device: ok, dropped (no answer), late (request after the deadline), vanished (left "
    "in mid-session), rejected (broke the protocol)",
    "tier": "kind of device",
    "phase": "stationary, or before, during or after the device's change of interest",
    "adapted": "whether the device got or made a network for this session",
}
"""Of ``Run.sessions``: one row per seed, method, device and session."""

EXTRA_COLUMNS = {
    "hits_stale": "with --compare-stale: hits with the network of the last adaptation",
    "ndcg_stale": "with --compare-stale: NDCG, summed over the events, with the network of the last adaptation",
    "hits_fresh": "with --compare-stale: hits with the network that an adaptation before this session gives",
    "ndcg_fresh": "with --compare-stale: NDCG, summed over the events, with the network that an adaptation gives",
}
"""Further ones that ``Run.sessions`` has where the run has them."""

ADDED_LATER = {
    "macs_session": float("nan"),
    "seconds_wait": 0.0,
    "status": "ok",
    "adapted": False,
    "budget_macs": float("inf"),
}
"""What stands in for a column that a run was written without; before there was ``adapted``, no policy decided."""

TRAINING_COLUMNS = {
    "method": "whose cloud model was trained",
    "seed": "seed of the training",
    "epoch": "number of the epoch, from 1",
    "loss": "training loss, mean over the epoch",
    "valid_ndcg@10": "NDCG@10 on the devices' validation items, against all items",
    "valid_hit@10": "Hit@10 on the devices' validation items, against all items",
    "seconds": "seconds that the epoch took (measured)",
    "best": "whether this epoch's weights were kept",
}
"""Of ``Run.training``: one row per trained cloud model, seed and epoch."""


@dataclass(frozen=True)
class Run:
    """What a finished run left behind."""

    path: Path
    """The run folder."""
    config: dict[str, Any]
    """``config.toml``: the tables ``run`` (options as resolved), ``data`` (sizes) and ``versions``."""
    sessions: pd.DataFrame
    """One row per seed, method, device and session; see :data:`SESSION_COLUMNS`."""
    training: pd.DataFrame
    """One row per trained model and epoch; see :data:`TRAINING_COLUMNS`; empty if nothing was recorded."""

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
    def seeds(self) -> list[int]:
        """The seeds that were played, ascending."""
        return sorted(int(seed) for seed in self.sessions["seed"].unique())

    @property
    def tiers(self) -> list[str]:
        """The kinds of devices, the slowest first."""
        return slowest_first(self.sessions)

    @cached_property
    def summary(self) -> pd.DataFrame:
        """One row per method, as in ``summary.csv``; see :data:`analysis.summary.SUMMARY_COLUMNS`."""
        return summarise(self.sessions, self.methods)


def slowest_first(sessions: pd.DataFrame) -> list[str]:
    """The kinds of devices, by simulated seconds per multiply-accumulate, then by name."""
    ran = sessions[sessions["macs"] > 0]
    pace = (ran["seconds_inference"] / ran["macs"]).groupby(ran["tier"]).mean()
    names = sorted(sessions["tier"].unique().tolist())
    return sorted(names, key=lambda name: -float(pace.get(name, float("inf"))))


def load(run: str | Path) -> Run:
    """Read a finished run folder.

    Raises :class:`UserError` if ``run`` is no run folder, is unfinished, or does not hold what a run holds.
    """
    path = Path(run).expanduser()
    config = read_config(path)
    sessions = _sessions(path)
    training = _training(path)
    _check_finished(path, config, sessions)
    return Run(path, config, sessions, training)


def method_names(options: dict[str, Any]) -> list[str]:
    """The option ``methods``, a list or names separated by commas."""
    given = options.get("methods", [])
    names = given.split(",") if isinstance(given, str) else given
    return [str(name).strip() for name in names if str(name).strip()]


def _sessions(path: Path) -> pd.DataFrame:
    file = path / "sessions.parquet"
    frame: Any = read_sessions(path)
    frame = frame.assign(**{name: value for name, value in ADDED_LATER.items() if name not in frame.columns})
    missing = [name for name in SESSION_COLUMNS if name not in frame.columns]
    if missing:
        raise UserError(f"{file} lacks the columns {', '.join(missing)}; was it written by another version?")
    if frame.empty:
        raise UserError(f"{path} is unfinished: its sessions.parquet has no rows; {_CONTINUE}")
    return frame


def _training(path: Path) -> pd.DataFrame:
    file = path / "training.csv"
    if not file.is_file():
        return pd.DataFrame(columns=list(TRAINING_COLUMNS))
    try:
        frame = pd.read_csv(file)
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise UserError(f"{file} is damaged: {_first_line(error)}; delete it and do without") from error
    missing = [name for name in TRAINING_COLUMNS if name not in frame.columns]
    if missing:
        raise UserError(f"{file} lacks the columns {', '.join(missing)}; delete it and do without")
    return frame.astype({"best": bool})


def _check_finished(path: Path, config: dict[str, Any], sessions: pd.DataFrame) -> None:
    """Every method of the configuration has been played with every seed."""
    options = config["run"]
    first, count = int(options.get("seed", 0)), int(options.get("seeds", 1))
    played = set(zip(sessions["method"].tolist(), sessions["seed"].tolist(), strict=True))
    for seed in range(first, first + count):
        for method in method_names(options):
            if (method, seed) not in played:
                raise UserError(f"{path} is unfinished: {method} was not played with seed {seed}; {_CONTINUE}")


_CONTINUE = "start the run's command again, which continues it"


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
