"""How fast messages are exchanged on each backend: messages a second and seconds a round of Forward-OFA.

    python -m benchmarks.backends                             # 200 devices on each backend
    python -m benchmarks.backends --devices 1000 --supernodes 4 --backends deployment
    git worktree add ../before 13682da && python -m benchmarks.backends --before ../before --backends inprocess ray

Each backend plays the same made-up devices by the main command of the ``--tree``, with a method that sends two
messages a device-session: the request, and the network. A round is measured from the moment at which the rows of the
one before are filed to that at which its own are, so that starting, training and installing are no part of it.
With ``--before`` the sources of two trees are measured in turn, so that other work on the machine meets both.
"""

import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import tyro

from benchmarks.trees import HERE, checked, commit_of, environment, knows
from core.cli import run as run_command


@dataclass(frozen=True)
class Options:
    """Messages a second on each backend."""

    backends: tuple[str, ...] = ("inprocess", "ray", "deployment")
    """as in sim.run; the first is the one whose rows the others have to have"""
    devices: int = 200
    """devices that play"""
    supernodes: int | None = None
    """Flower's nodes (default: that of sim.run; a tree that knows no such option has one for each device)"""
    rounds: int = 3
    """rounds that are measured; one more is played"""
    repeats: int = 1
    """times that everything is played"""
    tree: Path = HERE
    """the sources to measure: this checkout, or one of another commit"""
    before: Path | None = None
    """a checkout of another commit, measured in turn with it"""
    out: Path | None = None
    """a CSV file, to which a row a run is appended"""
    runs: Path | None = None
    """where runs go, for a look at their logs (default: a temporary folder)"""


if __name__ == "__main__":  # a wrong option and --help need none of the imports below, which take seconds
    tyro.cli(Options, description=__doc__)


import numpy as np
import pandas as pd

METHOD, MESSAGES = "forward-ofa", 2
MOST_PROCESSES = 32
"""SuperNodes that a tree starts at most."""
PLAY = """
import sys
import analysis
from sim import run

analysis.build_report = lambda folder: folder
sys.exit(run.cli(run.main, "a run without its report"))
"""
POLL = 0.005
"""Seconds between two looks for rows."""


@dataclass(frozen=True)
class Measured:
    """What one backend took."""

    rows: pd.DataFrame
    start: float
    """Seconds until the rows of the first round were filed."""
    rounds: list[float]
    """Seconds of each round after it."""
    messages: int
    """In these rounds, both phases, to the devices."""

    @property
    def rate(self) -> float:
        """Messages a second."""
        return self.messages / sum(self.rounds)


def write_data(path: Path, devices: int, sessions: int) -> None:
    """Users with ``sessions`` live sessions of five interactions, and histories four times as long."""
    rng, count = np.random.default_rng(0), 25 * sessions
    items = rng.integers(0, 300, (devices, count))
    users, steps = np.indices(items.shape)
    rows = {"user": users.ravel(), "item": items.ravel(), "timestamp": 10**9 + 60 * steps.ravel()}
    pd.DataFrame(rows).to_csv(path, index=False)


def command(options: Options, tree: Path, backend: str, data: Path, out: Path) -> list[str]:
    """``sim.run`` of a tree, without the report at the end."""
    words = [sys.executable, "-c", PLAY, "--dataset", str(data), "--devices", str(options.devices)]
    words += ["--methods", METHOD, "--sessions", str(options.rounds + 1), "--session-length", "5"]
    words += ["--epochs", "1", "--patience", "1", "--backend", backend, "--out", str(out), "--quiet"]
    words += ["--references", "none"] if knows(tree, "references") else []
    words += ["--candidates", "all"] if knows(tree, "candidates") else []
    shared = options.supernodes is not None and knows(tree, "supernodes") and backend != "inprocess"
    return [*words, "--supernodes", str(options.supernodes)] if shared else words


def measure(options: Options, tree: Path, backend: str, data: Path, folder: Path) -> Measured:
    """Play once; raises CalledProcessError if the run fails."""
    out, log = folder / backend, folder / f"{backend}.txt"
    words = command(options, tree, backend, data, out)
    surroundings = environment(tree, SIM_CACHE_DIR=str(folder / "cache"))
    began, filed = time.perf_counter(), list[float]()
    with log.open("wb") as file:
        process = subprocess.Popen(words, cwd=tree, env=surroundings, stdout=file, stderr=file)
        while process.poll() is None:
            there = (out / "parts" / f"0-{METHOD}-{len(filed) + 1:05d}.parquet").exists()
            if there:
                filed.append(time.perf_counter())
            else:
                time.sleep(POLL)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, words, stderr=log.read_text(errors="replace")[-2000:])
    rows = pd.read_parquet(out / "sessions.parquet")
    if len(filed) < options.rounds + 1:
        raise RuntimeError(f"{backend}: {len(filed)} of {options.rounds + 1} rounds were seen; see {log}")
    later = rows[rows["session"] > 0]
    took = np.diff(filed[: options.rounds + 1]).tolist()
    return Measured(rows, filed[0] - began, took, MESSAGES * len(later))


def main(options: Options) -> None:
    """Measure each backend and print one line for it."""
    print(f"{options.devices} devices, {options.rounds} rounds, {os.cpu_count()} processors", flush=True)
    heading = f"{'tree':<9}{'backend':<12}{'messages/s':>12}{'s a round':>12}{'s before':>10}{'load':>6}  rows"
    print(heading, flush=True)
    trees = [checked("tree", options.tree)]
    trees += [] if options.before is None else [checked("before", options.before)]
    first: dict[Path, Measured] = {}
    with tempfile.TemporaryDirectory(prefix="backends-") as temporary:
        folder = (options.runs or Path(temporary)).absolute()
        folder.mkdir(parents=True, exist_ok=True)
        data = folder / "data.csv"
        write_data(data, options.devices, options.rounds + 1)
        for repeat, backend, tree in product(range(options.repeats), options.backends, trees):
            commit = commit_of(tree)
            if backend == "deployment" and _one_each(options, tree):
                print(f"{commit:<9}{backend:<12}one process a device: at most {MOST_PROCESSES}, not {options.devices}")
                continue
            load = os.getloadavg()[0]
            mine = folder / str(repeat) / commit
            mine.mkdir(parents=True, exist_ok=True)
            found = measure(options, tree, backend, data, mine)
            same = "equal" if found.rows.equals(first.setdefault(tree, found).rows) else "DIFFERENT"
            numbers = f"{found.rate:>12.1f}{np.median(found.rounds):>12.2f}{found.start:>10.0f}{load:>6.1f}"
            print(f"{commit:<9}{backend:<12}{numbers}  {len(found.rows)}, {same}", flush=True)
            if options.out is not None:
                nodes = options.supernodes if "--supernodes" in command(options, tree, backend, data, mine) else None
                row = {
                    "commit": commit, "backend": backend, "devices": options.devices, "supernodes": nodes,
                    "repeat": repeat, "messages_per_s": found.rate, "round_s": np.median(found.rounds),
                    "before_s": found.start, "load": load, "rows": len(found.rows), "same_rows": same == "equal",
                }  # fmt: skip
                options.out.parent.mkdir(parents=True, exist_ok=True)
                pd.DataFrame([row]).round(4).to_csv(options.out, mode="a", header=not options.out.exists(), index=False)


def _one_each(options: Options, tree: Path) -> bool:
    """Whether the tree would start more SuperNodes than it can, one for each device."""
    return not knows(tree, "supernodes") and options.devices > MOST_PROCESSES


if __name__ == "__main__":
    sys.exit(run_command(lambda: main(tyro.cli(Options, description=__doc__))))
