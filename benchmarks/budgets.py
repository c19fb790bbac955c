"""One model for every budget, against networks trained for exactly one.

    python -m benchmarks.budgets --dataset ml1m --devices 1000 --out results/budgets

For every budget of 1 to L blocks: Forward-OFA+ whose devices may hold so many blocks and no more (a device mix with a
ceiling on the model's size), the same with random, first and last blocks (the choices of the paper's Table 3), and a
DeviceRec trained with ``--blocks k``. Everything is played by ``python -m sim.run`` with the same devices and streams;
what an earlier call has finished is not played again. Writes ``budgets.csv`` and ``budgets.png``; the columns
``ndcg@10_delta...`` are differences from the DeviceRec of the same budget, paired over devices.
"""

import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import tyro

from core.cli import run as run_command
from strategies.registry import METHODS


@dataclass(frozen=True)
class Options:
    """Quality at every budget of blocks."""

    dataset: str = "ml1m"
    """as in sim.run"""
    devices: int = 1000
    """devices that play"""
    blocks: int = 6
    """L, the blocks of the whole network"""
    seeds: int = 1
    """train and play so many times"""
    cloud_users: str = "simulated"
    """whose histories the cloud trains on, as in sim.run"""
    epochs: int | None = None
    """most epochs of training (default: that of sim.run)"""
    runs: Path = Path("runs/budgets")
    """where the runs go"""
    out: Path = Path("results/budgets")
    """where the table and the figure go"""


if __name__ == "__main__":  # a wrong option and --help need none of the imports below, which take seconds
    tyro.cli(Options, description=__doc__)


import pandas as pd
from matplotlib.axes import Axes

from analysis import style
from analysis.style import Panel
from analysis.summary import summarise
from benchmarks.runs import flags, play
from models.backbones.sasrec import SASRec

CHOSEN = ("forward-ofa-plus", "forward-ofa-plus-random", "forward-ofa-plus-first", "forward-ofa-plus-last")
DEDICATED = "devicerec"


def main(options: Options) -> None:
    """Play what is missing, then write table and figure."""
    frames = []
    for k in range(1, options.blocks + 1):
        mix = _mix(options.runs, k)
        chosen = _play(options, f"chosen-{k}", CHOSEN, ["--scenario", str(mix), "--blocks", str(options.blocks)])
        dedicated = _play(options, f"dedicated-{k}", (DEDICATED,), ["--blocks", str(k)])
        summary = summarise(pd.concat([chosen, dedicated]), [*CHOSEN, DEDICATED])
        summary.insert(0, "budget", k)
        frames.append(summary)
    table = pd.concat(frames, ignore_index=True)
    options.out.mkdir(parents=True, exist_ok=True)
    table.to_csv(options.out / "budgets.csv", index=False)
    _draw(table, options)
    print(table.pivot(index="budget", columns="method", values="ndcg@10").round(4).to_string())
    ours = table[table["method"] == CHOSEN[0]].set_index("budget")
    shares = ours[["ndcg@10_delta", "ndcg@10_delta_low", "ndcg@10_delta_high"]]
    print("\nForward-OFA+ to the DeviceRec of the same budget, % (95 % interval)")
    for budget, (delta, low, high) in shares.div(ours["ndcg@10"] - ours["ndcg@10_delta"], axis=0).mul(100).iterrows():
        print(f"{budget}  {delta:+.1f} ({low:+.1f} to {high:+.1f})")


def _mix(folder: Path, blocks: int) -> Path:
    """A device mix whose devices have room for so many blocks and no more."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{blocks}-blocks.toml"
    mbyte = (blocks + 0.5) * SASRec.block_size * 4 / 1e6
    path.write_text(
        f'base = "paper-device"\ndescription = "the paper\'s device with room for {blocks} blocks"\n\n'
        f"[budget]\nmodel_mbyte = {mbyte:.6f}\n",
        encoding="utf-8",
    )
    return path


def _play(options: Options, name: str, methods: tuple[str, ...], extra: list[str]) -> pd.DataFrame:
    """Its device-sessions."""
    shared = flags(options.dataset, options.devices, options.seeds, options.epochs)
    return play(options.runs / name, methods, [*shared, "--cloud-users", options.cloud_users, *extra])


def _draw(table: pd.DataFrame, options: Options) -> None:
    methods = [DEDICATED, *CHOSEN]
    # In the legend it must be said whose blocks are random, first or last.
    titles = {name: str(METHODS[name].title).replace("+ ", "Forward-OFA+, ", 1) for name in methods}
    sheet = style.Sheet(methods, titles)
    table = table.set_index("method").loc[methods].reset_index().sort_values("budget", kind="stable")

    def lines(across: str, axis: Axes) -> None:
        for _, mine, arguments in sheet.each(table):
            axis.plot(mine[across], mine["ndcg@10"], **arguments)
        if across == "budget":
            style.whole_numbers(axis)

    panels = [
        Panel("One model, or one for each", partial(lines, "budget"), "blocks that a device has room for", "NDCG@10"),
        Panel("What it costs", partial(lines, "macs_m"), "million MACs of one inference"),
    ]
    with style.use():
        style.save(sheet.figure(panels), options.out / "budgets")


if __name__ == "__main__":
    options = tyro.cli(Options, description=__doc__)
    sys.exit(run_command(lambda: main(options)))
