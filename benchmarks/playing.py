"""One run that is measured while it plays, with untrained models: speed depends on sizes alone.

It runs the sources that Python finds first, these or those of another commit (:mod:`benchmarks.trees`), as

    python -P benchmarks/playing.py '{"method": "devicerec", "devices": 100, "sessions": 2, "dataset": "rows.csv"}'

and prints what it measured as JSON. So it imports no other benchmark, and says for each name that has moved since
commit 13682da where it stood then.
"""

import importlib
import json
import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import fields, replace
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest.mock import patch

import numpy as np
import pandas as pd
from torch import nn

import analysis
from sim import experiment
from sim.config import Config

MEGABYTE = 2**20
SUMS = {"predictions": "events", "hits": "hits", "ndcg": "ndcg"}
"""What is summed over a run, and the column of its rows."""
Instead = Callable[[Any, Any], Callable[[], dict[str, float]]]
"""Of the strategy and the streams: what is timed in place of the playing, and gives the sums itself."""


def either(now: str, before: str) -> ModuleType:
    """A module of these sources by its name now, or else by the one that it had.

    Looked for by its file: what is installed in the environment may be another commit, and would be found too.
    """
    sources = Path(experiment.__file__).parents[1]
    return importlib.import_module(now if (sources / f"{now.replace('.', '/')}.py").exists() else before)


cache = either("sim.model_cache", "sim.cloud")
launch = either("sim.backends.launch", "sim.backends")
loop = either("strategies.training.loop", "strategies.training")


def measure(
    method: str,
    devices: int,
    sessions: int,
    backend: str = "inprocess",
    dataset: str = "synthetic",
    candidates: str | None = None,
    instead: Instead | None = None,
) -> dict[str, Any]:
    """Play a run and measure its playing; has to be called in a process of its own, for the sake of its peak memory."""
    found: dict[str, Any] = {}
    real = experiment.play

    def timed(strategy: Any, *rest: Any, **named: Any) -> None:
        rounds = strategy.device_sessions if hasattr(strategy, "device_sessions") else strategy.seats
        work = None if instead is None else instead(strategy, rest[-1].fleet.streams)
        before = _memory("VmRSS")
        _forget_peak()
        started, busy = time.perf_counter(), _processor_seconds()
        sums = work() if work is not None else real(strategy, *rest, **named) or {}
        seconds, busy = time.perf_counter() - started, _processor_seconds() - busy
        peak, child = _memory("VmHWM"), resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
        if work is not None:
            real(strategy, *rest, **named)  # not timed: a run ends with rows
        count = sum(map(len, rounds.values()))
        inside = backend != "ray"
        found.update(
            sums,
            device_sessions=count,
            seconds=seconds,
            per_second=count / seconds,
            processor_seconds=busy if inside else np.nan,  # Ray's processes are not children of this one
            per_processor_second=count / busy if inside else np.nan,
            start_mb=before / MEGABYTE,
            peak_mb=peak / MEGABYTE,
            worker_peak_mb=child / MEGABYTE if inside else np.nan,
            bytes_a_device=(peak - before) / devices,
        )

    with tempfile.TemporaryDirectory() as scratch, ExitStack() as patches:
        os.environ["SIM_CACHE_DIR"] = f"{scratch}/cache"  # untrained models are for nobody else
        newer: dict[str, Any] = {"references": "none", "candidates": candidates}
        known = {field.name for field in fields(Config)}
        config = Config(
            dataset=dataset,
            devices=devices,
            methods=method,
            sessions=sessions,
            epochs=1,
            backend="ray" if backend == "ray" else "inprocess",
            quiet=True,
            out=Path(scratch) / "run",
            **{name: value for name, value in newer.items() if name in known},
        )
        patches.enter_context(patch.object(experiment, "play", timed))
        patches.enter_context(patch.object(cache, "train", untrained))
        patches.enter_context(patch.object(analysis, "build_report"))
        if hasattr(experiment, "save_coverage"):
            patches.enter_context(patch.object(experiment, "save_coverage"))
        _play(config, Path(scratch))
        rows = pd.read_parquet(config.out / "sessions.parquet")  # type: ignore[operator]
    return {name: float(rows[column].sum()) for name, column in SUMS.items()} | found


def _play(config: Config, scratch: Path) -> None:
    common: dict[str, Any] = {"seed": config.seed, "log_file": scratch / "log"}
    apps = config.backend, "sim.server:app", "clients.app:app"
    if hasattr(config, "nodes"):
        settings = replace(config, supernodes=config.nodes).to_flat()
        nodes = config.nodes or config.devices
        launch.run_apps(*apps, num_nodes=nodes, run_config=settings, device_dir=scratch / "devices", **common)
    else:
        (scratch / "run").mkdir()
        launch.run_apps(*apps, num_devices=config.devices, run_config=config.to_flat(), **common)


def untrained(learner: Any, model: nn.Module, data: Any, recipe: Any, *, checkpoint: Path, **rest: object) -> Any:
    """Stand in for ``train`` of the strategies: the model stays as it was built; ``rest`` is not needed."""
    checkpoint.parent.mkdir(parents=True, exist_ok=True)
    model.eval()
    model.device_part.popularity.copy_(loop.popularity_ranks(data))  # type: ignore[union-attr, operator]
    return loop.Trained([loop.EpochRecord(1, 0.0, 0.0, 0.0, 0.0)], best_epoch=1)


def _processor_seconds() -> float:
    """Of this process and of those that it has waited for."""
    both = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    return sum(one.ru_utime + one.ru_stime for one in both)


def _memory(name: str) -> float:
    """Bytes of this process, by the name of the line in Linux's table; NaN on other systems."""
    status = Path("/proc/self/status")
    if not status.exists():
        return float("nan")
    (line,) = (line for line in status.read_text().splitlines() if line.startswith(f"{name}:"))
    return int(line.split()[1]) * 1024


def _forget_peak() -> None:
    """Let the peak begin anew: what loading the data took for a moment is not the devices'."""
    place = Path("/proc/self/clear_refs")
    if place.exists():
        place.write_text("5")


if __name__ == "__main__":
    print(json.dumps(measure(**json.loads(sys.argv[1]))))
