"""The paper's Table 6 beside ours: `python -m sim.data.statistics ml1m amazon-game [--data-dir DIR]`.

With `--csv FILE` also as a file: dataset (as it was asked for), name (that of the release found), quantity, ours.
"""

import argparse
import csv
import io
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from core import atomic, paper
from core.cli import run as run_command
from sim.data import DATASETS, load

if TYPE_CHECKING:
    from sim.data.interactions import Interactions

QUANTITIES: tuple[str, ...] = tuple(paper.read("table6")["quantities"])

TABLE_6: dict[str, tuple[float, ...]] = {name: tuple(row) for name, row in paper.read("table6")["datasets"].items()}
"""As printed, in the order of QUANTITIES."""

NOTES = {
    "ml1m": "the paper's items are ours and the padding id; it cuts the sparsity instead of rounding it",
    "ml10m": "the filter is the one that reproduces ml1m",
    "amazon-food": "the paper's filter is not known (see sim/data/amazon.py); its own counts give a sparsity of 99.96",
    "amazon-game": "the paper's filter is not known (see sim/data/amazon.py); its own counts give a sparsity of 99.97",
}


def quantities(interactions: "Interactions") -> tuple[float, ...]:
    """What Table 6 reports, in the order of QUANTITIES, rounded as it rounds."""
    return (
        interactions.num_users,
        interactions.num_items,
        interactions.num_interactions,
        round(interactions.mean_length, 2),
        round(100 * interactions.sparsity, 2),
    )


def table(dataset: str, interactions: "Interactions") -> str:
    """One data set's lines: quantity, the paper's number (- where it has none), ours, the difference."""
    lines = [f"{interactions.name:<24}{'paper':>12}{'ours':>12}{'difference':>12}"]
    printed = TABLE_6.get(dataset)
    for index, (quantity, ours) in enumerate(zip(QUANTITIES, quantities(interactions), strict=True)):
        kind = ",.2f" if isinstance(ours, float) else ",d"
        theirs, difference = "-", "-"
        if printed is not None:
            theirs, difference = format(printed[index], kind), format(ours - printed[index], "+" + kind)
        lines.append(f"  {quantity:<22}{theirs:>12}{format(ours, kind):>12}{difference:>12}")
    if dataset in NOTES:
        lines.append(f"  {NOTES[dataset]}")
    return "\n".join(lines)


def write_csv(path: Path, found: "dict[str, Interactions]") -> None:
    """One row per data set and quantity; the file appears whole or not at all."""
    text = io.StringIO()
    rows = csv.writer(text)
    rows.writerow(("dataset", "name", "quantity", "ours"))
    for dataset, interactions in found.items():
        for quantity, ours in zip(QUANTITIES, quantities(interactions), strict=True):
            rows.writerow((dataset, interactions.name, quantity, ours))
    atomic.write(path, text.getvalue())


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the tables; returns the exit status, 2 if a data set cannot be had."""
    parser = argparse.ArgumentParser(prog="python -m sim.data.statistics", description="Table 6 beside ours.")
    parser.add_argument("datasets", nargs="+", help=f"{', '.join(DATASETS)}, or the path of a table of interactions")
    parser.add_argument("--columns", help="of such a file: user=NAME,item=NAME,time=NAME, or indices from 0")
    parser.add_argument("--data-dir", type=Path, help="folder that is searched for raw files first")
    parser.add_argument("--csv", type=Path, help="also write our numbers to this file")
    options = parser.parse_args(arguments)
    return run_command(lambda: _run(options))


def _run(options: argparse.Namespace) -> None:
    found = {dataset: load(dataset, options.data_dir, columns=options.columns) for dataset in options.datasets}
    for dataset, interactions in found.items():
        print(table(dataset, interactions), end="\n\n")
    if options.csv is not None:
        write_csv(options.csv, found)


if __name__ == "__main__":
    sys.exit(main())
