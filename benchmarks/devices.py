"""How many devices play: device-sessions a second and peak memory by their number, beside other engines.

    python -m benchmarks.devices
    python -m benchmarks.devices --sizes 1000,10000 --methods devicerec --repeats 1 --ray 0 --out devices.csv
    git worktree add ../before 13682da && python -m benchmarks.devices --sizes 1000 --before ../before

Each measurement is a run of its own in a process of its own: the embedded data set with so many users, untrained models
(speed depends on sizes alone), and the run's own loop. What is timed is the playing. A line appears once it is
measured, and the file holds all lines so far, so that Ctrl-C loses one measurement. Beside it Flower's Simulation
Engine (`--backend ray`) plays the same apps at a size that it can do, and pfl-research evaluates DeviceRec on the same
device-sessions (:mod:`benchmarks.rounds_in_pfl`). With ``--before`` the sources of another commit play the same file
of generated interactions in turn with these (:mod:`benchmarks.playing`), one thread a process and all items candidates.
"""

import concurrent.futures
import json
import multiprocessing
import sys
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from unittest.mock import patch

import tyro

from benchmarks.trees import HERE, check_places, run_in
from core.cli import run as run_command
from core.errors import UserError, unknown
from sim.config import Config
from strategies.registry import METHODS


@dataclass(frozen=True)
class Options:
    """Measure how fast devices play, and in how much memory."""

    sizes: str = "1000,10000,100000,1000000"
    """numbers of devices, separated by commas"""
    methods: str = "devicerec,forward-ofa-plus"
    """as in sim.run"""
    sessions: int = 2
    """most sessions of each device"""
    repeats: int = 3
    """times that each is measured; the table has medians. Half a million devices and more are measured once"""
    ray: int = 200
    """devices that Flower's own engine plays, and this one beside it; 0: none"""
    pfl: int = 1000
    """devices on which pfl-research evaluates DeviceRec, and this one in one process beside it; 0: none"""
    before: Path | None = None
    """a checkout of another commit, measured in turn with these sources"""
    before_devices: int = 4_000
    """devices that both play"""
    out: Path | None = None
    """CSV file with a line for each measurement"""

    @property
    def device_counts(self) -> list[int]:
        """The sizes."""
        return [int(size) for size in self.sizes.split(",")]

    @property
    def method_names(self) -> list[str]:
        """The methods."""
        return [name.strip() for name in self.methods.split(",")]

    def check(self) -> "Options":
        """Raise :class:`UserError` for the first option that cannot be."""
        for name in self.method_names:
            if name not in METHODS:
                raise UserError(unknown("method", name, METHODS))
        for size in self.sizes.split(","):
            if not size.strip().isdigit() or int(size) < 1:
                raise UserError(f"--sizes {self.sizes}: {size!r} is no number of devices")
        for option in ("sessions", "repeats"):
            if getattr(self, option) < 1:
                raise UserError(f"--{option} is {getattr(self, option)}; it must be at least 1")
        check_places(self.out, self.before)
        return self


if __name__ == "__main__":  # a wrong option and --help need none of the imports below, which take seconds
    tyro.cli(Options, description=__doc__)


import numpy as np
import pandas as pd

import sim.play
from benchmarks import playing
from benchmarks.playing import MEGABYTE
from benchmarks.rounds_in_pfl import PFL_MISSING, evaluation
from core.threads import processors
from models.checkpoint import load_device
from sim.data.synthetic import load_synthetic

PFL_METHOD = "devicerec"
"""The method that pfl can play: one network for all devices, and nothing that the cloud makes for each of them."""
ONE_PROCESS, PFL, NOW, BEFORE = "one process", "pfl", "now", "before"
"""Rows beside those of the backends: our own grid in as many processes as pfl has, and pfl; these sources on the
in-process grid, and those of another commit."""
ONCE = 500_000
"""Devices from which on one measurement is enough: it is so long that what disturbs it for a moment does not count."""
FLIPPED = 1e-4
"""Share of the predictions whose rank may be another one in pfl: networks that are multiplied in other batches are
rounded otherwise."""


def measure(options: Options, method: str, devices: int, backend: str) -> dict[str, Any]:
    """One row; has to be called in a process of its own, for the sake of its peak memory."""

    def in_pfl(strategy: Any, streams: Any) -> Callable[[], dict[str, float]]:
        installed, candidates = load_device(strategy.model), Config().resolved_candidates
        return evaluation(installed, streams, list(strategy.device_sessions.values()), candidates)

    one = backend in (ONE_PROCESS, PFL)
    with patch.object(sim.play, "processors", (lambda: 1) if one else processors):
        engine = "ray" if backend == "ray" else "inprocess"
        found = playing.measure(method, devices, options.sessions, engine, instead=in_pfl if backend == PFL else None)
    return {"method": method, "backend": backend, "devices": devices, **found}


def benchmark(options: Options) -> pd.DataFrame:
    """All measurements, one row each, which are printed and written as they come."""
    plan = [(method, devices, "inprocess") for devices in options.device_counts for method in options.method_names]
    plan = [row for row in plan for _ in range(options.repeats if row[1] < ONCE else 1)]
    beside = [(method, options.ray, backend) for method in options.method_names for backend in ("inprocess", "ray")]
    if options.pfl and PFL_METHOD in options.method_names and find_spec("pfl") is None:
        print(PFL_MISSING, flush=True)
    elif options.pfl and PFL_METHOD in options.method_names:
        plan = [(PFL_METHOD, options.pfl, backend) for backend in (ONE_PROCESS, PFL)] * options.repeats + plan
    if options.ray:
        plan = beside * options.repeats + plan
    if options.before is not None:
        turns = [(method, options.before_devices, tree) for method in options.method_names for tree in (BEFORE, NOW)]
        plan = turns * options.repeats + plan
    rows: list[dict[str, Any]] = []
    try:
        with ExitStack() as stack:
            file = None
            if options.before is not None:
                folder = stack.enter_context(tempfile.TemporaryDirectory())
                file = write_data(Path(folder) / "rows.csv", options.before_devices)
            for method, devices, backend in plan:
                if file is not None and backend in (BEFORE, NOW):
                    rows.append(_in_a_tree(options, method, file, backend))
                    if backend == NOW:
                        rows[-1]["times_before"] = rows[-1]["per_second"] / rows[-2]["per_second"]
                else:
                    rows.append(_in_a_process(options, method, devices, backend))
                print(_line(rows[-1]), flush=True)
                if options.out is not None:
                    pd.DataFrame(rows).to_csv(options.out, index=False, float_format="%.5g")
    except KeyboardInterrupt:
        if not rows:
            raise
        print("interrupted; the table has what was measured", file=sys.stderr)
    return pd.DataFrame(rows)


def write_data(path: Path, users: int) -> str:
    """Write the embedded data set of so many users, in a form that every commit reads; the path."""
    made = load_synthetic(users=users)
    owners = np.repeat(np.arange(made.num_users), np.diff(made.offsets))
    pd.DataFrame({"user": owners, "item": made.items, "timestamp": made.times}).to_csv(path, index=False)
    return str(path)


def _in_a_tree(options: Options, method: str, file: str, tree: str) -> dict[str, Any]:
    asked = {
        "method": method,
        "devices": options.before_devices,
        "sessions": options.sessions,
        "dataset": file,
        "candidates": "all",
    }
    sources = HERE if tree == NOW or options.before is None else options.before.resolve()
    said = run_in(sources, ["-P", str(HERE / "benchmarks" / "playing.py"), json.dumps(asked)], OMP_NUM_THREADS="1")
    return {"method": method, "backend": tree, "devices": options.before_devices, **json.loads(said.splitlines()[-1])}


def void(found: pd.DataFrame) -> list[str]:
    """A line where pfl and this simulator did not measure the same, so that their speeds say nothing."""
    wrong = found[found["backend"].eq(ONE_PROCESS) & found["times_pfl"].isna()]
    return [
        f"{row.method}, {row.devices:,} devices: the comparison with pfl is void: they do not agree on predictions, "
        "hits and NDCG"
        for row in wrong.itertuples()
    ]


def _in_a_process(options: Options, method: str, devices: int, backend: str) -> dict[str, Any]:
    with concurrent.futures.ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(measure, options, method, devices, backend).result()


def _line(row: dict[str, Any]) -> str:
    return (
        f"{row['method']}, {row['backend']}, {row['devices']:,} devices: {row['device_sessions']:,} device-sessions, "
        f"{row['per_second']:,.0f} a second, {row['per_processor_second']:,.0f} a processor second, "
        f"{row['start_mb']:,.0f} MB before, {row['peak_mb']:,.0f} MB at most"
    )


def summary(rows: pd.DataFrame) -> pd.DataFrame:
    """Medians over the repeats, and how many times as fast each backend is as Ray and as pfl at the size of both.

    Without the same predictions, hits and NDCG, all but for :data:`FLIPPED`, pfl has done something else, and
    ``times_pfl`` is NaN.
    """
    keys = ["method", "backend", "devices"]
    found = rows.groupby(keys, sort=False).median().reset_index()
    places = pd.MultiIndex.from_frame(found[["method", "devices"]])
    peers = {name: found[found["backend"] == name].set_index(["method", "devices"]) for name in ("ray", PFL)}
    ray, pfl = (peer.reindex(places).reset_index() for peer in peers.values())
    apart = (found[["hits", "ndcg"]] - pfl[["hits", "ndcg"]]).abs().max(axis=1)
    same = (found["predictions"] == pfl["predictions"]) & (apart <= FLIPPED * found["predictions"])
    return found.assign(
        times_ray=found["per_second"] / ray["per_second"],
        times_pfl=(found["per_second"] / pfl["per_second"]).where(same),
    )


def fits(found: pd.DataFrame) -> list[str]:
    """For each method how time grows with the device-sessions, and memory with the devices."""
    lines = []
    for method, mine in found[found["backend"] == "inprocess"].groupby("method", sort=False):
        mine = mine.drop_duplicates("devices").sort_values("devices")
        if len(mine) < 2:
            continue
        sessions = np.log(mine["device_sessions"])
        wall, busy = (np.polyfit(sessions, np.log(mine[name]), 1)[0] for name in ("seconds", "processor_seconds"))
        slope = np.polyfit(mine["devices"], (mine["peak_mb"] - mine["start_mb"]) * MEGABYTE, 1)[0]
        lines.append(
            f"{method}: seconds grow with the device-sessions to the power of {wall:.2f} (processor seconds "
            f"{busy:.2f}); memory beyond data and models by {slope:,.0f} bytes a device"
        )
    return lines


def main() -> int:
    """Exit status: 0 done, 2 for what the user can mend."""
    options = tyro.cli(Options, description=__doc__)
    return run_command(lambda: _run(options.check()))


def _run(options: Options) -> None:
    found = summary(benchmark(options))
    print(found.to_string(index=False, float_format="{:,.1f}".format))
    print(*fits(found), *void(found), sep="\n")


if __name__ == "__main__":
    sys.exit(main())
