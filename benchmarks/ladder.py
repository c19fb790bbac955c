"""Several sizes of DeviceRec on unequal devices, each device with the largest that it can run, against Forward-OFA+.

    python -m benchmarks.ladder --dataset ml1m --devices 1000 --out results/ladder

A DeviceRec of six blocks leaves weak devices with nothing but popularity. What a vendor would really do is to train one
for every size; this plays each of them by ``python -m sim.run`` with the same devices, streams and busy moments, takes
from every device-session the largest that was served, and compares that with one Forward-OFA+ that serves all. Writes
``ladder.csv``: the columns of a run's ``summary.csv`` for each device mix, differences from the DeviceRec that fits.
"""

import sys
from dataclasses import dataclass
from pathlib import Path

import tyro

from core.cli import run as run_command


@dataclass(frozen=True)
class Options:
    """One network for all, the largest that fits, and one that is cut to fit."""

    dataset: str = "ml1m"
    """as in sim.run"""
    devices: int = 1000
    """devices that play"""
    scenarios: tuple[str, ...] = ("phones", "phones-weaker")
    """device mixes, as in sim.run"""
    blocks: int = 6
    """L, the blocks of the largest network"""
    seeds: int = 1
    """train and play so many times"""
    epochs: int | None = None
    """most epochs of training (default: that of sim.run)"""
    runs: Path = Path("runs/ladder")
    """where the runs go"""
    out: Path = Path("results/ladder")
    """where the table goes"""


if __name__ == "__main__":  # a wrong option and --help need none of the imports below, which take seconds
    tyro.cli(Options, description=__doc__)


import pandas as pd

from analysis.summary import summarise
from benchmarks.runs import flags, play

ONE, LADDER, ADAPTIVE = "devicerec", "devicerec-that-fits", "forward-ofa-plus"
SESSION_KEY = ["seed", "device", "session"]


def largest_that_fits(sizes: list[pd.DataFrame]) -> pd.DataFrame:
    """The row with the most blocks of each device-session; where no size was served, that of the popularity ranking.

    ``sizes`` are the rows of ``sessions.parquet`` of one DeviceRec each, of the same devices and sessions.
    """
    rows = pd.concat(sizes).sort_values([*SESSION_KEY, "blocks"], kind="stable")
    return rows.groupby(SESSION_KEY, as_index=False).tail(1).assign(method=LADDER)


def main(options: Options) -> None:
    """Play what is missing, then write the table."""
    tables = []
    common = flags(options.dataset, options.devices, options.seeds, options.epochs)
    for scenario in options.scenarios:
        here = ["--scenario", scenario, *common]
        sizes = [
            play(options.runs / f"{scenario}-{k}", (ONE,), ["--blocks", str(k), *here])
            for k in range(1, options.blocks + 1)
        ]
        ours = play(options.runs / f"{scenario}-adaptive", (ADAPTIVE,), ["--blocks", str(options.blocks), *here])
        rows = pd.concat([sizes[-1], largest_that_fits(sizes), ours])
        table = summarise(rows, [ONE, LADDER, ADAPTIVE], baseline=LADDER)
        table.insert(0, "scenario", scenario)
        tables.append(table)
    table = pd.concat(tables, ignore_index=True)
    options.out.mkdir(parents=True, exist_ok=True)
    table.to_csv(options.out / "ladder.csv", index=False)
    shown = ["scenario", "method", "ndcg@10", "ndcg@10_delta", "ndcg@10_delta_low", "ndcg@10_delta_high"]
    print(table[[*shown, "blocks", "served"]].round(4).to_string(index=False))


if __name__ == "__main__":
    options = tyro.cli(Options, description=__doc__)
    sys.exit(run_command(lambda: main(options)))
