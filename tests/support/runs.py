"""Whole runs in tests: a small data set and configuration, what makes a run shorter, and how it is stopped."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import analysis
from sim import run
from sim.config import Config


def own_cache(folder: Path, patch: pytest.MonkeyPatch) -> None:
    """Runs find no model that another test has trained, and draw no figures."""
    patch.setenv("SIM_CACHE_DIR", str(folder / "cache"))
    without_report(patch)


def small_config(folder: Path, **options: Any) -> Config:
    """A run of seconds in ``folder``: the paper's four methods on the data of :func:`write_csv`, no references.

    ``options`` come on top.
    """
    small: dict[str, Any] = {
        "methods": "devicerec,finetune,duet,forward-ofa",
        "references": "none",
        "candidates": "all",
        "dataset": str(write_csv(folder / "tiny.csv")),
        "blocks": 2,
        "context": 5,
        "memory": 8,
        "epochs": 2,
        "session_length": 4,
        "quiet": True,
        "out": folder / "run",
    }
    return Config(**{**small, **options}).absolute()


def call(arguments: list[str], patch: pytest.MonkeyPatch) -> int:
    """``python -m sim.run`` in this process; its exit status."""
    patch.setattr(sys, "argv", ["sim.run", *arguments])
    return run.cli(run.main, "test", run.play_sweep)


def without_report(patch: pytest.MonkeyPatch) -> None:
    """Whole runs draw no figures: they take longer than so small a run."""
    patch.setattr(analysis, "build_report", lambda folder: folder)


def write_csv(path: Path) -> Path:
    """Interactions of 15 users with 30 items, in sessions."""
    rng = np.random.default_rng(0)
    rows = []
    for user in range(15):
        length = int(rng.integers(20, 45))
        items = (np.cumsum(rng.integers(1, 4, size=length)) + user) % 30
        times = np.cumsum(rng.choice([20, 40, 4000], p=[0.5, 0.3, 0.2], size=length))
        rows += [(f"u{user}", f"i{item}", 10**9 + t) for item, t in zip(items, times, strict=True)]
    pd.DataFrame(rows, columns=["user", "item", "timestamp"]).to_csv(path, index=False)
    return path


def sessions(folder: Path) -> pd.DataFrame:
    """The rows of a finished run."""
    return pd.read_parquet(folder / "sessions.parquet")


class Stopped(KeyboardInterrupt):
    """The user, or the machine, ends the run."""


def stop_after(calls: int, monkeypatch: pytest.MonkeyPatch, owner: object, name: str) -> None:
    """``owner.name`` may be called that often; the next call ends the run."""
    real: Callable[..., object] = getattr(owner, name)
    count = [0]

    def counted(*args: object, **kwargs: object) -> object:
        count[0] += 1
        if count[0] > calls:
            raise Stopped
        return real(*args, **kwargs)

    monkeypatch.setattr(owner, name, counted)
