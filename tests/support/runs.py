"""Whole runs in tests: a small data set, what makes a run shorter, and how it is stopped."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import analysis


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
