"""How fast the methods train, beside the limit of this machine and the SASRec of RecBole and of RecTools.

python -m benchmarks.training                        # contexts 10 and 20, one thread and all
python -m benchmarks.training --threads 1 --contexts 20 --methods devicerec,forward-ofa
python -m benchmarks.training --out training.csv     # the table as a file too
python -m benchmarks.training --before ../before     # in turn with the sources of another commit, each in its processes

One step is what :class:`strategies.training.step.Stepper` does on the next batch, cutting the windows included. The
limit is the rate of one large fp32 matrix product in the same round, divided by the multiply-accumulates that a target
takes: forward as the models count them, times three. RecBole is measured as it comes, with the anomaly detection that
it always switches on, and ``unchecked``, without. Contenders take turns, every ratio is taken within a round, and the
median over the rounds is reported; seconds are not, they are another machine's tomorrow. CPU only. The steps are timed
here and not by ``torch.utils.benchmark``, which measures one statement until it is done and takes no turns.
"""

import shlex
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from tempfile import TemporaryDirectory

import tyro

from benchmarks.trees import HERE, check_places, commit_of, run_in
from core.cli import run as run_command
from core.errors import UserError, unknown
from strategies.registry import METHODS


@dataclass(frozen=True)
class Options:
    """Measure how fast the methods train, beside this machine's limit and the SASRec of RecBole and of RecTools."""

    methods: str = "devicerec,duet,forward-ofa,duet-plus,forward-ofa-plus"
    """which methods to measure, separated by commas"""
    contexts: tuple[int, ...] = (10, 20)
    """items that the backbone reads, and targets of a window"""
    threads: tuple[int, ...] = (1, 0)
    """how many threads; 0: as many as there are processors"""
    blocks: int = 6
    """of the backbone, SASRec"""
    users: int = 1000
    """whose histories are trained on"""
    rounds: int = 3
    """in each of which everything is measured once"""
    seconds: float = 1.5
    """least time of one measurement"""
    seed: int = 0
    """of everything that is random"""
    data_dir: Path | None = None
    """folder with MovieLens-1M, in place of $SIM_DATA_DIR; with neither, made-up histories of the same sizes"""
    before: Path | None = None
    """a checkout of another commit, whose own benchmarks.training is measured in turn with this one"""
    out: Path | None = None
    """write the table to this CSV file too"""

    @property
    def method_names(self) -> list[str]:
        """The methods, in the order given."""
        return [name.strip() for name in self.methods.split(",") if name.strip()]

    @property
    def thread_counts(self) -> list[int]:
        """Each number of threads once."""
        return list(dict.fromkeys(count or cores() for count in self.threads))

    def check(self) -> "Options":
        """Raise :class:`UserError` for the first option that cannot be."""
        for name in self.method_names:
            if name not in METHODS:
                raise UserError(unknown("method", name, METHODS))
        for option in ("blocks", "users", "rounds", "contexts"):
            value = getattr(self, option)
            if min(value if isinstance(value, tuple) else (value,)) < 1:
                raise UserError(f"--{option} is {value}; it must be at least 1")
        if min(self.threads) < 0:
            raise UserError(f"--threads is {self.threads}; it must be at least 0")
        check_places(self.out, self.before)
        return self


if __name__ == "__main__":  # a wrong option and --help need none of the imports below, which take seconds
    tyro.cli(Options)


import pandas as pd
import torch
from rich.console import Console
from rich.table import Table

from analysis.reproduce.runs import processor
from benchmarks.contenders import Contender, Ours
from benchmarks.data import histories
from benchmarks.machine import cores, product_rate
from benchmarks.peers import peers
from models.checkpoint import Sizes
from models.kernels.precision import product_type
from strategies.training.learner import Recipe
from strategies.training.loop import keep_freed_memory

WARM_UP = 2
"""Steps before the first round."""
WIDTH = 100
"""Columns of the table, also where the output is a file."""


def run_round(contenders: Sequence[Contender], seconds: float) -> pd.DataFrame:
    """Measure the limit and every contender once: one row a contender."""
    single = product_rate(torch.float32, seconds / 3)
    short = product_type(torch.device("cpu"))
    half = product_rate(short, seconds / 3) if short != torch.float32 else float("nan")
    rows = []
    for contender in contenders:
        targets, macs, spent = 0, 0, 0.0
        with contender.working():
            contender.step()  # threads have just started
            while spent < seconds:
                started = time.perf_counter()
                work = contender.step()
                spent += time.perf_counter() - started
                targets, macs = targets + work.targets, macs + work.macs
        rows.append(
            {
                "method": contender.title,
                "targets_per_s": targets / spent,
                "mmacs_per_target": macs / targets / 1e6,
                "of_fp32_limit": macs / spent / single,
                "of_bf16_limit": macs / spent / half,
                "fp32_gflops": 2 * single / 1e9,
                "bf16_gflops": 2 * half / 1e9,
            }
        )
    frame = pd.DataFrame(rows)
    rates = dict(zip(frame["method"], frame["targets_per_s"], strict=True))
    frame["times_recbole"] = frame["targets_per_s"] / rates.get("RecBole SASRec", float("nan"))
    frame["times_unchecked"] = frame["targets_per_s"] / rates.get("RecBole unchecked", float("nan"))
    frame["times_rectools"] = frame["targets_per_s"] / rates.get("RecTools SASRec", float("nan"))
    return frame


def measure(contenders: Sequence[Contender], rounds: int, seconds: float) -> pd.DataFrame:
    """One row a contender: medians over the rounds, and how far apart the rounds were (largest over smallest)."""
    for contender in contenders:
        for _ in range(WARM_UP):
            contender.step()
    every = pd.concat([run_round(contenders, seconds) for _ in range(rounds)])
    groups = every.groupby("method", sort=False)
    frame = groups.median()
    frame["largest_over_smallest"] = groups["of_fp32_limit"].max() / groups["of_fp32_limit"].min()
    return frame.reset_index()


def benchmark(options: Options, console: Console) -> pd.DataFrame:
    """All measurements, one row for each number of threads, context and contender."""
    keep_freed_memory()
    name, data = histories(options.data_dir, options.users, options.seed)
    console.print(f"{name}: {options.users} users, {data.num_items} items, {data.targets} targets an epoch")
    torch.manual_seed(options.seed)
    frames = []
    for context in options.contexts:
        sizes, recipe = Sizes("sasrec", data.num_items, options.blocks, context), Recipe()
        contenders: list[Contender] = [
            Ours(method, data, sizes, recipe, options.seed) for method in options.method_names
        ]
        say = partial(console.print, style="yellow", markup=False, soft_wrap=True)
        contenders[:0] = peers(data, sizes, recipe, options.seed, say)
        for threads in options.thread_counts:
            torch.set_num_threads(threads)
            frame = measure(contenders, options.rounds, options.seconds)
            frame.insert(0, "context", context)
            frame.insert(0, "threads", threads)
            console.print(table(frame))
            frames.append(frame)
    out = pd.concat(frames, ignore_index=True)
    facts: dict[str, str | int] = {
        "dataset": name,
        "processor": processor(),
        "cores": cores(),
        "torch": torch.__version__,
        "recbole": version_of("recbole"),
        "rectools": version_of("rectools"),
        "command": this_command(),
    }
    return out.assign(**facts)


KEYS = ["threads", "context", "method"]
"""What a row of the table is of."""
COMPARED = ["targets_per_s", "of_fp32_limit", "mmacs_per_target"]
"""Columns of both commits in the table of a comparison."""


def compare(options: Options, before: Path, console: Console) -> pd.DataFrame:
    """One row for each number of threads, context and method: medians of both commits, and of the ratios in a round.

    Each measurement is ``benchmarks.training`` of the sources, as they have it; what one of them lacks is left out.
    """
    rounds = []
    for number in range(options.rounds):
        turns = {suffix: one_round(options, tree) for suffix, tree in (("_before", before), ("", HERE))}
        both = pd.concat([turns[""], turns["_before"].add_suffix("_before")], axis=1, join="inner")
        both["times_before"] = both["targets_per_s"] / both["targets_per_s_before"]
        middle = both["times_before"].median()
        console.print(f"round {number + 1} of {options.rounds}: {middle:.2f} times as fast, in the middle of all rows")
        rounds.append(both)
    groups = pd.concat(rounds).groupby(level=KEYS, sort=False)
    frame = groups.median()
    ratios = groups["times_before"]
    frame["largest_over_smallest"] = ratios.max() / ratios.min()
    return frame.reset_index().assign(
        commit=commit_of(HERE), before=commit_of(before), processor=processor(), command=this_command()
    )


def one_round(options: Options, tree: Path) -> pd.DataFrame:
    """One round of a tree's own benchmark, in a process of its own."""
    with TemporaryDirectory() as folder:
        out = Path(folder) / "training.csv"
        words = ["-m", "benchmarks.training", "--rounds", "1", "--out", str(out), "--methods", options.methods]
        for name in ("blocks", "users", "seconds", "seed"):
            words += [f"--{name}", str(getattr(options, name))]
        for name in ("contexts", "threads"):
            words += [f"--{name}", *map(str, getattr(options, name))]
        words += [] if options.data_dir is None else ["--data-dir", str(options.data_dir.absolute())]
        run_in(tree, words)
        return pd.read_csv(out).set_index(KEYS)[COMPARED]


def this_command() -> str:
    """The command that runs, for its table: of a path that only this machine has, the name."""
    parts = [word.rpartition("=") for word in sys.argv[1:]]
    words = [
        flag + equals + (Path(value).name if Path(value).is_absolute() else value) for flag, equals, value in parts
    ]
    return shlex.join(["python", "-m", "benchmarks.training", *words])


def version_of(package: str) -> str:
    """The version of an installed package, or nothing."""
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def table(frame: pd.DataFrame) -> Table:
    """One number of threads and one context for the terminal."""
    first = frame.iloc[0]
    out = Table(
        title=f"{first['threads']} thread(s), context {first['context']}: matrix product "
        f"{first['fp32_gflops']:.0f} GFLOP/s in fp32, {first['bf16_gflops']:.0f} in bf16",
        box=None,
        padding=(0, 0, 0, 2),
        pad_edge=False,
    )
    out.add_column("method", no_wrap=True)
    for heading in ("targets/s", "M MACs", "of fp32", "of bf16", "x RecBole", "unchecked", "x RecTools", "spread"):
        out.add_column(heading, justify="right", no_wrap=True)
    for row in frame.itertuples():
        out.add_row(
            str(row.method),
            f"{row.targets_per_s:,.0f}",
            f"{row.mmacs_per_target:.2f}",
            f"{row.of_fp32_limit:.0%}",
            f"{row.of_bf16_limit:.0%}",
            f"{row.times_recbole:.1f}",
            f"{row.times_unchecked:.1f}",
            f"{row.times_rectools:.1f}",
            f"{row.largest_over_smallest:.2f}",
        )
    return out


def main() -> int:
    """Exit status: 0 done, 2 for what the user can mend."""
    options = tyro.cli(Options)
    return run_command(lambda: _run(options))


def _run(options: Options) -> None:
    options.check()
    console = Console(width=max(WIDTH, Console().width))
    if options.before is None:
        frame = benchmark(options, console)
    else:
        frame = compare(options, options.before, console)
        shown = frame.drop(columns=["processor", "command"])
        print(shown.to_string(index=False, float_format="{:,.2f}".format))
    if options.out is not None:
        frame.to_csv(options.out, index=False, float_format="%.5g")


if __name__ == "__main__":
    sys.exit(main())
