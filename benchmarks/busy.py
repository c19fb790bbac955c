"""Playing beside other work: with one process and one thread, and with as many of either as there are processors.

    python -m benchmarks.busy
    python -m benchmarks.busy --devices 1000 --methods devicerec --out results/busy.csv

The same trained models play the same sessions, alone and beside one busy process a processor, in turns; the table gives
the median seconds of playing and their ratio to one process with one thread alone. Half of the machine is the
simulator's share beside so many. A run plays in processes of one thread each; threads are here to be compared with.
Rows that differ between any two of the runs end the benchmark.
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from unittest.mock import patch

import tyro

from core.interrupts import terminated_like_interrupted
from sim.config import Config


@dataclass(frozen=True)
class Options:
    """A small run that is played six ways."""

    dataset: str = "synthetic"
    """as in sim.run"""
    devices: int = 100
    """devices that play"""
    methods: str = "devicerec,forward-ofa"
    """as in sim.run"""
    sessions: int = 2
    """sessions of each device"""
    repeats: int = 3
    """times that each of the six ways is played"""
    out: Path | None = None
    """CSV file for the table"""


if __name__ == "__main__":  # a wrong option and --help need none of the imports below, which take seconds
    tyro.cli(Options, description=__doc__)


import pandas as pd
import torch

import analysis
from benchmarks.machine import cores
from sim import experiment
from sim import play as loop
from sim.backends.launch import run_apps


@contextmanager
def busy(processes: int) -> Iterator[None]:
    """Keep that many processors busy with a process each while the block runs."""
    with ExitStack() as running:
        for _ in range(processes):
            process = running.enter_context(subprocess.Popen([sys.executable, "-c", "while True: pass"]))
            running.callback(process.kill)
        yield


def play(config: Config, processes: int, threads: int) -> tuple[float, pd.DataFrame]:
    """Seconds of playing with so many processes or threads, and the rows; models are trained or in the cache before."""
    seconds = []

    @contextmanager
    def timed() -> Iterator[None]:
        torch.set_num_threads(threads)
        started = time.perf_counter()
        yield
        seconds.append(time.perf_counter() - started)

    with (
        patch.object(experiment, "one_thread", timed),  # it surrounds the playing
        patch.object(loop, "processors", lambda: processes),
        patch.object(loop, "WORTH_A_PROCESS", 1),  # however small the run is
        patch.object(analysis, "build_report"),
    ):
        run_apps(
            "inprocess",
            "sim.server:app",
            "clients.app:app",
            num_nodes=config.devices,
            run_config=config.to_flat(),
            seed=config.seed,
            log_file=config.folder.with_suffix(".log"),
        )
    return seconds[0], pd.read_parquet(config.folder / "sessions.parquet")


def measure(options: Options, scratch: Path) -> pd.DataFrame:
    """One row for each number of processes, of threads and of busy processes."""
    config = Config(
        dataset=options.dataset,
        devices=options.devices,
        methods=options.methods,
        references="none",
        sessions=options.sessions,
        epochs=1,
        quiet=True,
    )
    ours = dict.fromkeys([(1, 1), (1, cores()), (cores(), 1)])
    ways = [(*mine, others) for others in (0, cores()) for mine in ours]
    seconds: dict[tuple[int, int, int], list[float]] = {way: [] for way in ways}
    _, first = play(replace(config, out=scratch / "first"), 1, 1)  # trains
    for repeat in range(options.repeats):
        for processes, threads, others in ways:
            out = scratch / f"{processes}-{threads}-{others}-{repeat}"
            with busy(others):
                taken, rows = play(replace(config, out=out), processes, threads)
            seconds[processes, threads, others].append(taken)
            pd.testing.assert_frame_equal(rows, first, check_exact=True)
    medians = {way: statistics.median(taken) for way, taken in seconds.items()}
    return pd.DataFrame(
        {
            "processes": processes,
            "threads": threads,
            "busy_processes": others,
            "seconds": round(medians[processes, threads, others], 3),
            "device_sessions_per_second": round(len(first) / medians[processes, threads, others], 1),
            "times_one_thread_alone": round(medians[processes, threads, others] / medians[1, 1, 0], 2),
        }
        for processes, threads, others in ways
    )


def main(options: Options) -> None:
    """Print the table, and write it if there is a file to write."""
    with terminated_like_interrupted(), tempfile.TemporaryDirectory() as scratch:
        os.environ["SIM_CACHE_DIR"] = f"{scratch}/cache"
        table = measure(options, Path(scratch))
    print(table.to_string(index=False))
    if options.out is not None:
        table.to_csv(options.out, index=False)


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
