"""How far seconds are from multiply-accumulates: times real networks on this machine.

    python -m replay.calibrate [--backbone sasrec|nextitnet] [--blocks L] [--context N] [--items I] [--out DIR]

Assembles the networks of 1 to L blocks, runs each at batch 1 with one thread, and fits time against MACs: the model by
which the simulation turns counts into seconds has a line through the origin, so both that and a line with an offset are
fitted. Prints a table, writes ``calibration.csv`` and ``calibration.png``. Weights are random: time does not depend on
them.

Everything else in this package reads files; this command measures, and so imports ``models`` (pure PyTorch) for the
networks. The weights, the devices and their messages are none of its business.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from core.cli import run as run_command
from core.errors import UserError
from sim.config import DEFAULT_BLOCKS


def parser() -> argparse.ArgumentParser:
    """The options of the command."""
    found = argparse.ArgumentParser(
        prog="python -m replay.calibrate",
        description="Time networks of 1 to L blocks here and fit time against MACs.",
    )
    found.add_argument("--backbone", choices=sorted(DEFAULT_BLOCKS), default="sasrec")
    found.add_argument("--blocks", type=int, help="most blocks (default: 6 for sasrec, 12 for nextitnet)")
    found.add_argument("--context", type=int, default=10, help="items that one prediction reads (default: 10)")
    found.add_argument("--items", type=int, default=3011, help="items that are scored (default: 3011, MovieLens-1M)")
    found.add_argument("--repeats", type=int, default=300, help="runs of each network (default: 300)")
    found.add_argument("--out", type=Path, default=Path("calibration"), help="folder to write to")
    return found


if __name__ == "__main__":  # a wrong option and --help need none of the imports below, which take seconds
    parser().parse_args()


import numpy as np
import pandas as pd
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from rich import box
from rich.table import Table

from analysis import style
from analysis.style import Panel
from analysis.tables import console
from analysis.text import number, percent
from core import atomic
from core.threads import one_thread
from models.checkpoint import Sizes
from models.standalone import fresh
from replay.timing import durations


@dataclass(frozen=True)
class Fit:
    """Seconds as ``offset + macs / pace``."""

    offset: float
    """Seconds."""
    pace: float
    """Multiply-accumulates a second."""
    largest: float
    """Relative error of the measured networks, at most."""
    mean: float
    """The same on average."""
    r2: float
    """Of the measured seconds' variance, the share that the fit explains."""

    @property
    def gflops(self) -> float:
        """Effective compute, two operations for a multiply-accumulate: what a device profile holds as ``gflops`` times
        ``efficiency``."""
        return 2 * self.pace / 1e9

    def seconds(self, macs: np.ndarray) -> np.ndarray:
        """By the fit."""
        return np.asarray(self.offset + macs / self.pace)


def fit(macs: np.ndarray, seconds: np.ndarray, *, through_origin: bool) -> Fit:
    """Least squares of the *relative* errors, so that small networks count as much as large ones.

    Without ``through_origin`` there has to be more than one network.
    """
    columns = [macs / seconds] if through_origin else [macs / seconds, 1 / seconds]
    found = np.linalg.lstsq(np.stack(columns, axis=1), np.ones(len(seconds)), rcond=None)[0]
    offset, slope = (0.0, found[0]) if through_origin else (found[1], found[0])
    errors = np.abs(offset + slope * macs - seconds) / seconds
    unexplained = float(((offset + slope * macs - seconds) ** 2).sum())
    spread = float(((seconds - seconds.mean()) ** 2).sum())
    r2 = 1 - unexplained / spread if spread else float("nan")
    return Fit(float(offset), float(1 / slope), float(errors.max()), float(errors.mean()), r2)


def measure(backbone: str, blocks: int, context: int, items: int, repeats: int) -> pd.DataFrame:
    """One row for each network of 1 to ``blocks`` blocks: ``blocks, macs, seconds`` (median), ``seconds_p95``."""
    generator = torch.Generator().manual_seed(0)
    built = Sizes(backbone, items, blocks, context).build(generator)
    window = torch.randint(1, items + 1, (1, context), generator=generator)
    networks = {str(count): fresh(built, count, generator) for count in range(1, blocks + 1)}
    with one_thread(), torch.inference_mode():
        taken = durations({name: partial(network, window) for name, network in networks.items()}, repeats)
    rows = [
        (int(name), built.inference_macs(context, int(name)), np.median(times), np.percentile(times, 95))
        for name, times in taken.items()
    ]
    return pd.DataFrame(rows, columns=["blocks", "macs", "seconds", "seconds_p95"])


def calibrate(
    backbone: str, blocks: int, context: int, items: int, repeats: int, out: Path
) -> tuple[pd.DataFrame, dict[str, Fit]]:
    """Measure, fit, and write the files; gives the rows with what each fit says, and the fits."""
    frame = measure(backbone, blocks, context, items, repeats)
    macs, seconds = frame["macs"].to_numpy(float), frame["seconds"].to_numpy(float)
    fits = {"through the origin": fit(macs, seconds, through_origin=True)}
    if blocks > 1:
        fits["with an offset"] = fit(macs, seconds, through_origin=False)
    for name, found in fits.items():
        frame[f"seconds {name}"] = found.seconds(macs)
        frame[f"error {name}"] = found.seconds(macs) / seconds - 1
    out.mkdir(parents=True, exist_ok=True)
    atomic.write(out / "calibration.csv", frame.to_csv(index=False))
    with style.use():
        style.save(style.settle(draw(frame, style.Sheet())), out / "calibration")
    return frame, fits


def draw(frame: pd.DataFrame, sheet: style.Sheet) -> Figure:
    """One panel of times and the lines that were fitted, one of the lines' relative errors."""
    macs, colours = frame["macs"] / 1e6, [style.LOOKS[method].colour for method in ("forward-ofa", "duet")]
    names = [str(name) for name in frame if str(name).startswith("error ")]
    fits = list(zip(names, colours, ("-", "--"), strict=False))

    def times(axis: Axes) -> None:
        dots: dict[str, Any] = {"color": style.LIGHT.ink, "marker": "o", "linestyle": "none", "elinewidth": 1}
        bars = [0 * macs, 1e6 * (frame["seconds_p95"] - frame["seconds"])]
        label = "measured: median, up to the 95th percentile"
        axis.errorbar(macs, 1e6 * frame["seconds"], yerr=bars, label=label, **dots)
        for name, colour, dashes in fits:
            line = 1e6 * frame[name.replace("error", "seconds")]
            axis.plot(macs, line, color=colour, linestyle=dashes, label=name.replace("error", "line"))
        axis.set_ylim(bottom=0)

    def errors(axis: Axes) -> None:
        for name, colour, dashes in fits:
            axis.plot(macs, 100 * frame[name], color=colour, linestyle=dashes, marker="o")
        style.zero_line(axis)

    across = "million MACs of one inference"
    panels = [
        Panel("Time on this machine", times, across, "microseconds"),
        Panel("How far a line is off", errors, across, "error of the line, %"),
    ]
    return sheet.figure(panels, legend=3)


def table(frame: pd.DataFrame, fits: dict[str, Fit], title: str) -> Table:
    """What was measured and what each fit says, for the terminal."""
    lines = [
        f"{name}: {number(found.gflops)} GFLOP/s effective"
        + (f", {number(1e6 * found.offset)} µs before the first block" if found.offset else "")
        + f"; off by {percent(found.mean)} on average, {percent(found.largest)} at most; R² {found.r2:.4f}"
        for name, found in fits.items()
    ]
    profile = f"For a device profile: gflops = {number(fits['through the origin'].gflops)}, efficiency = 1.0"
    shown = Table(title=title, caption="\n".join([*lines, profile]), caption_justify="left", box=box.SIMPLE_HEAD)
    for header in ("blocks", "MACs M", "median µs", "95 % µs", *(f"{name}\nerror" for name in fits)):
        shown.add_column(header, justify="right")
    for row in frame.to_dict("records"):
        shown.add_row(
            str(row["blocks"]),
            number(row["macs"] / 1e6),
            number(1e6 * row["seconds"]),
            number(1e6 * row["seconds_p95"]),
            *(f"{100 * row[f'error {name}']:+.1f} %" for name in fits),
        )
    return shown


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    given = parser().parse_args(arguments)
    return run_command(lambda: _run(given))


def _run(given: argparse.Namespace) -> None:
    blocks = given.blocks if given.blocks is not None else DEFAULT_BLOCKS[given.backbone]
    for name, value in (("blocks", blocks), *((n, getattr(given, n)) for n in ("context", "items", "repeats"))):
        if value < 1:
            raise UserError(f"--{name} is {value}; it must be at least 1")
    if given.out.exists() and not given.out.is_dir():
        raise UserError(f"--out {given.out} is a file; name a folder")
    frame, fits = calibrate(given.backbone, blocks, given.context, given.items, given.repeats, given.out)
    title = f"{given.backbone}, context {given.context}, {given.items:,} items: one inference, one thread, batch 1"
    console().print(table(frame, fits, title))
    print(given.out / "calibration.csv")


if __name__ == "__main__":
    sys.exit(main())
