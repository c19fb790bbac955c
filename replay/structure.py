"""Whether the choice of blocks means anything: own paths against dealt-out ones, all blocks, and others' networks.

    python -m replay.structure RUN [--method forward-ofa-plus] [--out DIR]

Plays the sessions of a finished run again (see :mod:`replay.counterfactual`), prints a table and writes
``structure-METHOD.csv`` (the table) and ``structure-METHOD-blocks.csv`` (how often each block runs, and how many
different paths there are) to the run folder. Differences are paired over devices, which are drawn together over seeds.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from core.cli import run as run_command

METHODS = ("forward-ofa", "forward-ofa-plus")


def parser() -> argparse.ArgumentParser:
    """The options of the command."""
    found = argparse.ArgumentParser(
        prog="python -m replay.structure", description="Does the choice of blocks mean anything?"
    )
    found.add_argument("run", type=Path, help="folder of a finished run that played the method")
    found.add_argument("--method", choices=METHODS, help="(default: the last of them that the run has)")
    found.add_argument("--out", type=Path, help="where the two CSV files go (default: the run folder)")
    return found


if __name__ == "__main__":  # a wrong option and --help need none of the imports below, which take seconds
    parser().parse_args()


import numpy as np
import pandas as pd
from rich import box
from rich.table import Table

from analysis import load
from analysis.stats import paired
from analysis.tables import console
from core import atomic
from replay.counterfactual import NETWORKS, replay

MEANINGS = {
    "own": "the path it chooses",
    "swapped": "another device's path, weights made for it",
    "all-blocks": "all blocks, weights made for it",
    "other": "another device's path and weights",
}


def compare(rows: pd.DataFrame) -> pd.DataFrame:
    """One row a network: quality, blocks, and the difference to ``own`` with its 95 % interval over devices.

    ``rows`` as :func:`replay.counterfactual.replay` gives them, of one seed or several.
    """
    sums = rows.groupby(["network", "device"])[["ndcg", "hits", "events"]].sum().unstack("network")
    base = sums["ndcg", "own"].sum() / sums["events", "own"].sum()
    out = []
    for network in NETWORKS:
        mine = rows[rows["network"] == network]
        found = paired(
            (sums["ndcg", "own"].to_numpy(float), sums["ndcg", network].to_numpy(float)),
            (sums["events", "own"].to_numpy(float), sums["events", network].to_numpy(float)),
        )
        out.append(
            {
                "network": network,
                "ndcg@10": mine["ndcg"].sum() / mine["events"].sum(),
                "hit@10": mine["hits"].sum() / mine["events"].sum(),
                "blocks": float(mine["blocks"].mean()),
                "to_own_percent": 100 * found.delta / base,
                "low_percent": 100 * found.low / base,
                "high_percent": 100 * found.high / base,
                "p": found.p,
            }
        )
    return pd.DataFrame(out)


def usage(rows: pd.DataFrame, blocks: int) -> pd.DataFrame:
    """For first sessions and for all: the share of device-sessions that run each block, and how many paths there are.

    With several seeds, their mean; each has its own paths.
    """
    own = rows[rows["network"] == "own"]
    out = []
    for name, some in (("first", own[own["session"] == 0]), ("all", own)):
        per_seed = [
            [part["path"].nunique(), *(float((part["path"].to_numpy() >> k & 1).mean()) for k in range(blocks))]
            for _, part in some.groupby("seed")
        ]
        mean = np.mean(per_seed, axis=0)
        out.append({"sessions": name, "paths": mean[0], **{f"block_{k + 1}": mean[k + 1] for k in range(blocks)}})
    return pd.DataFrame(out)


def show(table: pd.DataFrame, used: pd.DataFrame, heading: str) -> list[Table]:
    """Both tables for the terminal."""
    first = Table(title=heading, box=box.SIMPLE, title_justify="left")
    for name in ("network", "NDCG@10", "Hit@10", "blocks", "to its own, % (95 % interval)"):
        first.add_column(name, justify="left" if name == "network" else "right")
    for row in table.to_dict("records"):
        difference = f"{row['to_own_percent']:+.1f} ({row['low_percent']:+.1f} to {row['high_percent']:+.1f})"
        first.add_row(
            MEANINGS[row["network"]],
            f"{row['ndcg@10']:.4f}",
            f"{row['hit@10']:.4f}",
            f"{row['blocks']:.2f}",
            "" if row["network"] == "own" else difference,
        )
    second = Table(title="Share of the device-sessions that run each block, in percent", box=box.SIMPLE)
    for name in used.columns:
        second.add_column(name.replace("_", " "), justify="left" if name == "sessions" else "right")
    for values in used.itertuples(index=False):
        second.add_row(values[0], f"{values[1]:.0f}", *(f"{100 * share:.0f}" for share in values[2:]))
    return [first, second]


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status, 2 for what the user can mend."""
    given = parser().parse_args(arguments)
    return run_command(lambda: _run(given))


def _run(given: argparse.Namespace) -> None:
    run = load(given.run)
    method = given.method or next((name for name in reversed(METHODS) if name in run.methods), METHODS[-1])
    rows = pd.concat([replay(given.run, method, seed).assign(seed=seed) for seed in run.seeds], ignore_index=True)
    blocks = int(run.options["blocks"])
    table, used = compare(rows), usage(rows, blocks)
    folder = given.out or given.run
    folder.mkdir(parents=True, exist_ok=True)
    atomic.write(folder / f"structure-{method}.csv", table.to_csv(index=False, float_format="%.6g"))
    atomic.write(folder / f"structure-{method}-blocks.csv", used.to_csv(index=False, float_format="%.6g"))
    shown = console()
    for one in show(table, used, f"{run.title(method)}: {rows['device'].nunique():,} devices, seeds {run.seeds}"):
        shown.print(one)
    played, again = (run.sessions["method"] == method).sum(), (rows["network"] == "own").sum()
    if again < played:
        why = "their version of the model has no others to swap with"
        shown.print(f"{played - again:,} of {played:,} sessions are left out: {why}")


if __name__ == "__main__":
    sys.exit(main())
