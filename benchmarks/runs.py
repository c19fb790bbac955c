"""Runs that a benchmark compares."""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

import analysis


def flags(dataset: str, devices: int, seeds: int, epochs: int | None) -> list[str]:
    """What all runs of a benchmark share, as options of ``sim.run``; ``epochs`` None: its own default."""
    shared = ["--dataset", dataset, "--devices", str(devices), "--seeds", str(seeds)]
    return shared if epochs is None else [*shared, "--epochs", str(epochs)]


def play(folder: Path, methods: Sequence[str], options: Sequence[str]) -> pd.DataFrame:
    """The device-sessions of ``sim.run`` with these options; a finished run is not played again."""
    command = [sys.executable, "-m", "sim.run", "--methods", ",".join(methods), "--out", str(folder), *options]
    subprocess.run(command, check=True)
    return analysis.load(folder).sessions
