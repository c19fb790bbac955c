"""Runs that a benchmark compares."""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

import analysis


def play(folder: Path, methods: Sequence[str], options: Sequence[str]) -> pd.DataFrame:
    """The device-sessions of ``sim.run`` with these options; a finished run is not played again."""
    command = [sys.executable, "-m", "sim.run", "--methods", ",".join(methods), "--out", str(folder), *options]
    subprocess.run(command, check=True)
    return analysis.load(folder).sessions
